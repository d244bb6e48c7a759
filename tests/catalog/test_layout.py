"""Layout of graphs: nothing overlaps, edges go forward, circles end, the result never varies."""

from itertools import pairwise
from time import process_time

from hypothesis import given, settings
from hypothesis import strategies as st

from meshhouse.catalog.layout import layered

SIZES = st.tuples(st.integers(1, 300), st.integers(1, 90))


@st.composite
def graphs(draw, has_circles=True):
    count = draw(st.integers(0, 25))
    nodes = {f"n{number}": draw(SIZES) for number in range(count)}
    ends = st.integers(0, max(0, count - 1))
    pairs = draw(st.lists(st.tuples(ends, ends), max_size=60)) if count else []
    edges = [
        (f"n{one}", f"n{other}") if has_circles else (f"n{min(one, other)}", f"n{max(one, other)}")
        for one, other in pairs
    ]
    return nodes, edges


def overlap(one, other):
    return (
        one.x < other.x + other.width
        and other.x < one.x + one.width
        and one.y < other.y + other.height
        and other.y < one.y + one.height
    )


@settings(deadline=None)
@given(graphs())
def test_no_nodes_overlap_and_all_are_inside(graph):
    nodes, edges = graph
    found = layered(nodes, edges)
    boxes = list(found.boxes.values())
    assert list(found.boxes) == list(nodes)
    assert not [1 for n, one in enumerate(boxes) for other in boxes[:n] if overlap(one, other)]
    for box in boxes:
        assert box.x >= 0
        assert box.y >= 0
        assert box.x + box.width <= found.width + 0.1
        assert box.y + box.height <= found.height + 0.1


@settings(deadline=None)
@given(graphs())
def test_every_line_goes_to_the_right_and_ends_at_its_nodes(graph):
    nodes, edges = graph
    found = layered(nodes, edges)
    assert {(each.source, each.target) for each in found.lines} == {
        (one, other) for one, other in edges if one != other
    }
    for line in found.lines:
        first, last = line.source, line.target
        if line.is_turned:
            first, last = last, first
        one, other = found.boxes[first], found.boxes[last]
        assert one.x + one.width < other.x
        assert line.points[0] == (round(one.x + one.width, 1), round(one.middle, 1))
        assert line.points[-1] == (other.x, round(other.middle, 1))
        assert all(before[0] <= after[0] for before, after in pairwise(line.points))


@settings(deadline=None)
@given(graphs(has_circles=False))
def test_without_circles_no_line_is_turned(graph):
    assert not any(each.is_turned for each in layered(*graph).lines)


@settings(deadline=None)
@given(graphs())
def test_the_same_graph_has_the_same_layout(graph):
    nodes, edges = graph
    assert layered(nodes, edges) == layered(dict(nodes), [*edges, *edges])


def test_edges_of_unknown_nodes_are_left_out():
    found = layered({"a": (10, 10)}, [("a", "b"), ("b", "a"), ("a", "a")])
    assert found.lines == ()
    assert layered({}, [("a", "b")]).boxes == {}


def test_a_long_edge_passes_between_the_nodes_of_other_layers():
    sizes = dict.fromkeys("abcd", (100, 40))
    found = layered(sizes, [("a", "b"), ("b", "c"), ("c", "d"), ("a", "d")])
    line = next(each for each in found.lines if (each.source, each.target) == ("a", "d"))
    for name in "bc":
        box = found.boxes[name]
        heights = [y for x, y in line.points if box.x <= x <= box.x + box.width]
        assert heights
        assert all(y <= box.y or y >= box.y + box.height for y in heights)


@settings(deadline=None)
@given(graphs())
def test_a_line_bends_between_layers_only(graph):
    nodes, edges = graph
    found = layered(nodes, edges)
    for line in found.lines:
        for (x, y), (to_x, to_y) in pairwise(line.points):
            if y != to_y:
                boxes = found.boxes.values()
                assert not [box for box in boxes if box.x < to_x and box.x + box.width > x]


def test_lines_do_not_cross_where_they_need_not():
    sizes = dict.fromkeys(["a", "b", "c", "x", "y", "z"], (50, 20))
    found = layered(sizes, [("a", "z"), ("b", "y"), ("c", "x")]).boxes
    order = [sorted(names, key=lambda name: found[name].y) for names in (["a", "b", "c"], "xyz")]
    assert [{"a": "z", "b": "y", "c": "x"}[each] for each in order[0]] == order[1]


def test_500_nodes_in_a_circle_and_200_in_a_web_take_well_under_a_second():
    began = process_time()
    names = [f"n{number}" for number in range(500)]
    layered(dict.fromkeys(names, (9, 9)), [*pairwise(names), (names[-1], names[0])])
    web = names[:200]
    edges = [(web[n], web[m]) for n in range(200) for m in range(n + 1, min(200, n + 6))]
    layered(dict.fromkeys(web, (9, 9)), edges)
    assert process_time() - began < 2
