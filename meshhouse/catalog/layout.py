"""Where the nodes of a graph are drawn: in layers from left to right.

Belongs here: coordinates, from sizes and edges alone. Not here: how a node looks (drawing.py).

A node is one layer right of the last node that it depends on. Edges that cross layers have a place
in each of them, so that they pass between nodes. Nodes of a layer are ordered by the middle of
their neighbours, in several sweeps; the order with the fewest crossings counts. The same graph
always has the same layout.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

_SWEEPS = 8
_LANE = 10.0
"""Height that an edge has in a layer that it only passes."""
_MOST_LANES = 5_000
"""Edges over layers that are kept apart; in a larger graph, long edges are drawn straight."""

Size = tuple[float, float]
Point = tuple[float, float]
Edge = tuple[str, str]


@dataclass(frozen=True)
class Box:
    """The place of a node: its left upper corner and its size."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        """Half way down."""
        return self.y + self.height / 2


@dataclass(frozen=True)
class Line:
    """The way of an edge, from the right side of a node to the left side of a later one."""

    source: str
    target: str
    points: tuple[Point, ...]
    is_turned: bool = False
    """It closes a circle, so it is drawn against its direction: from its target to its source."""


@dataclass(frozen=True)
class Layout:
    """A graph with coordinates, all of them zero or more."""

    width: float
    height: float
    boxes: Mapping[str, Box]
    lines: tuple[Line, ...]


def layered(
    sizes: Mapping[str, Size], edges: Iterable[Edge], across: float = 48, down: float = 14
) -> Layout:
    """The layout of a graph.

    Args:
        sizes: node -> width and height, in the order in which equal nodes are drawn.
        edges: from, to. Edges of a node with itself and of unknown nodes are left out.
        across: between layers.
        down: between the nodes of a layer.
    """
    names = list(sizes)
    known = list(
        dict.fromkeys(
            (one, other) for one, other in edges if one in sizes and other in sizes and one != other
        )
    )
    turned = _turned(names, known)
    forward = list(
        dict.fromkeys((other, one) if (one, other) in turned else (one, other)
                      for one, other in known)
    )  # fmt: skip
    layer = _layers(names, forward)
    order, chains = _with_lanes(names, forward, layer)
    links = [pair for chain in chains.values() for pair in itertools.pairwise(chain)]
    order = _ordered(order, links)
    heights = {name: size[1] for name, size in sizes.items()}
    middles = _middles(order, links, heights, down)
    return _placed(sizes, known, turned, order, chains, middles, across)


def _turned(names: Sequence[str], edges: Sequence[Edge]) -> set[Edge]:
    """The edges that close a circle, found by walking from each node in turn."""
    after: dict[str, list[str]] = {name: [] for name in names}
    for one, other in edges:
        after[one].append(other)
    found: set[Edge] = set()
    done: set[str] = set()
    on_way: set[str] = set()
    for start in names:
        if start in done:
            continue
        on_way.add(start)
        way = [(start, iter(after[start]))]
        while way:
            name, rest = way[-1]
            for other in rest:
                if other in on_way:
                    found.add((name, other))
                elif other not in done:
                    on_way.add(other)
                    way.append((other, iter(after[other])))
                    break
            else:
                way.pop()
                on_way.discard(name)
                done.add(name)
    return found


def _layers(names: Sequence[str], edges: Sequence[Edge]) -> dict[str, int]:
    """The longest way to each node; a node that depends on none is beside its first reader."""
    before = dict.fromkeys(names, 0)
    after: dict[str, list[str]] = {name: [] for name in names}
    for one, other in edges:
        before[other] += 1
        after[one].append(other)
    sources = [name for name in names if not before[name]]
    layer = dict.fromkeys(names, 0)
    ready = deque(sources)
    while ready:
        name = ready.popleft()
        for other in after[name]:
            layer[other] = max(layer[other], layer[name] + 1)
            before[other] -= 1
            if not before[other]:
                ready.append(other)
    for name in sources:
        if after[name]:
            layer[name] = min(layer[other] for other in after[name]) - 1
    return layer


def _with_lanes(
    names: Sequence[str], edges: Sequence[Edge], layer: Mapping[str, int]
) -> tuple[list[list[str]], dict[Edge, list[str]]]:
    """The nodes of each layer, and each edge as a chain with a lane in the layers it passes."""
    rows: list[list[str]] = [[] for _ in range(1 + max(layer.values(), default=-1))]
    for name in names:
        rows[layer[name]].append(name)
    lanes = sum(layer[other] - layer[one] - 1 for one, other in edges)
    chains = {}
    for number, (one, other) in enumerate(edges):
        between = range(layer[one] + 1, layer[other]) if lanes <= _MOST_LANES else ()
        chain = [one]
        for place in between:
            lane = f"\0{number}.{place}"  # no node has such a name
            rows[place].append(lane)
            chain.append(lane)
        chains[one, other] = [*chain, other]
    return rows, chains


def _ordered(rows: list[list[str]], links: Sequence[Edge]) -> list[list[str]]:
    """The layers in the order with the fewest crossings that the sweeps find."""
    before, after = _neighbours(links)
    best, fewest = rows, _crossings(rows, after)
    rows = [list(row) for row in rows]
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        is_down = sweep % 2 == 0
        near = before if is_down else after
        for row in rows if is_down else reversed(rows):
            place = {name: index for each in rows for index, name in enumerate(each)}
            row.sort(key=lambda name, at=place: _middle(name, near, at))
        found = _crossings(rows, after)
        if found < fewest:
            best, fewest = [list(row) for row in rows], found
    return best


def _middle(name: str, near: Mapping[str, list[str]], place: Mapping[str, float]) -> float:
    neighbours = near.get(name)
    if not neighbours:
        return place[name]
    return sum(place[each] for each in neighbours) / len(neighbours)


def _neighbours(links: Sequence[Edge]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    before: dict[str, list[str]] = {}
    after: dict[str, list[str]] = {}
    for one, other in links:
        after.setdefault(one, []).append(other)
        before.setdefault(other, []).append(one)
    return before, after


def _crossings(rows: Sequence[Sequence[str]], after: Mapping[str, list[str]]) -> int:
    place = {name: index for row in rows for index, name in enumerate(row)}
    found = 0
    for row in rows:
        seen: list[int] = []
        for name in row:
            ends = sorted(place[other] for other in after.get(name, ()))
            found += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return found


def _middles(
    rows: Sequence[Sequence[str]], links: Sequence[Edge], heights: Mapping[str, float], down: float
) -> dict[str, float]:
    """The middle of each node and lane: as near to its neighbours as its layer allows."""
    before, after = _neighbours(links)
    middle: dict[str, float] = {}
    for row in rows:
        wanted = [0.0] * len(row)
        middle |= zip(row, _apart(row, wanted, heights, down), strict=True)
    for sweep in range(_SWEEPS):
        near = before if sweep % 2 == 0 else after
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wanted = [_middle(name, near, middle) for name in row]
            middle |= zip(row, _apart(row, wanted, heights, down), strict=True)
    return middle


def _apart(
    row: Sequence[str], wanted: Sequence[float], heights: Mapping[str, float], down: float
) -> list[float]:
    """The nearest places in this order without overlap.

    Each of the two passes keeps the distances, one by moving down and one by moving up, so their
    mean keeps them too.
    """
    if not row:
        return []
    space = [
        (heights.get(one, _LANE) + heights.get(other, _LANE)) / 2
        + (down if one in heights and other in heights else down / 2)
        for one, other in itertools.pairwise(row)
    ]
    lower = list(wanted)
    for index, each in enumerate(space):
        lower[index + 1] = max(lower[index + 1], lower[index] + each)
    upper = list(wanted)
    for index in range(len(space) - 1, -1, -1):
        upper[index] = min(upper[index], upper[index + 1] - space[index])
    return [(one + other) / 2 for one, other in zip(lower, upper, strict=True)]


def _placed(
    sizes: Mapping[str, Size],
    edges: Sequence[Edge],
    turned: set[Edge],
    rows: Sequence[Sequence[str]],
    chains: Mapping[Edge, Sequence[str]],
    middles: Mapping[str, float],
    across: float,
) -> Layout:
    top = min((middles[name] - size[1] / 2 for name, size in sizes.items()), default=0.0)
    top = min([top, *(middles[name] for name in middles if name not in sizes)])
    boxes: dict[str, Box] = {}
    lanes: dict[str, tuple[Point, Point]] = {}
    ends: dict[str, float] = {}
    left = 0.0
    for row in rows:
        width = max((sizes[name][0] for name in row if name in sizes), default=0.0)
        for name in row:
            middle = middles[name] - top
            if name in sizes:
                own = sizes[name]
                ends[name] = _r(left + width)
                boxes[name] = Box(_r(left), _r(middle - own[1] / 2), own[0], own[1])
            else:
                lanes[name] = ((_r(left), _r(middle)), (_r(left + width), _r(middle)))
        left += width + across
    lines = []
    for edge in edges:
        is_turned = edge in turned
        one, other = (edge[1], edge[0]) if is_turned else edge
        start, end = boxes[one], boxes[other]
        between = [point for lane in chains[one, other][1:-1] for point in lanes[lane]]
        first = [(_r(start.x + start.width), _r(start.middle))]
        if ends[one] > first[0][0]:
            # It leaves the layer before it bends, or it would pass behind a wider node.
            first.append((ends[one], first[0][1]))
        points = (*first, *between, (end.x, _r(end.middle)))
        lines.append(Line(*edge, points, is_turned))
    width = max((box.x + box.width for box in boxes.values()), default=0.0)
    heights = [box.y + box.height for box in boxes.values()]
    height = max([*heights, *(point[1] for line in lines for point in line.points)], default=0.0)
    ordered = {name: boxes[name] for name in sizes}
    return Layout(_r(width), _r(height), ordered, tuple(lines))


def _r(value: float) -> float:
    # -0.0 would be written with its sign.
    return round(value, 1) + 0.0
