"""Drawings of graphs as SVG: nodes are links with words, states are words and patterns.

Belongs here: how a graph looks as markup. Not here: coordinates (layout.py), colours
(pages/assets/lineage.css), or which nodes are drawn (graph.py, traces.py).

Everything that a person wrote is escaped here. There are attributes and classes, and no styles, as
the policy of the site asks.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup, escape

from meshhouse.catalog import paths
from meshhouse.catalog.graph import Node, Part
from meshhouse.catalog.layout import Box, Line, layered
from meshhouse.catalog.pages.words import clean, iso, plural, short

_MOST = 28
"""Characters of a name in a node; its title has all of them."""
_EDGE, _BAND, _LINE = 12.0, 8.0, 17.0
_NARROWEST = 84.0
_MARGIN = 6.0
_PLAIN_STATES = ("", "fresh", "no promise")
"""States that need no word: nothing is wrong."""


@dataclass(frozen=True)
class Drawn:
    """A node as it is drawn."""

    key: str
    name: str
    note: str = ""
    """The second line."""
    word: str = ""
    """The third line, such as the state or how a column is made."""
    kind: str = "product"
    """A class: `product`, `topic`, `domain`, `model`, `seed` or `more`."""
    state: str = ""
    target: str = ""
    """The path of its page; empty if it has none."""
    about: str = ""
    """What it is, in full."""
    is_here: bool = False
    late_after: datetime | None = None
    """When the word `late` appears where scripts run."""
    has_key: bool = False
    """Whether a script may look for it; see lineage.js."""


@dataclass(frozen=True)
class Arrow:
    """An edge as it is drawn."""

    source: str
    target: str
    word: str = ""
    is_weak: bool = False
    """Dashed: it decides, and passes no value."""
    has_keys: bool = False
    """Whether a script may look for it."""


def picture(
    nodes: Sequence[Drawn],
    arrows: Iterable[Arrow],
    page: str,
    name: str,
    across: float = 56,
    from_end: bool = False,
) -> Markup:
    """A graph as SVG in a box that scrolls.

    Args:
        nodes: in the order in which equal ones are drawn.
        arrows: between them.
        page: the path of the page that shows it.
        name: what the drawing is, for screen readers.
        across: between layers.
        from_end: whether a narrow screen shows the right end first.
    """
    ways = {(each.source, each.target): each for each in arrows}
    # A text and its size must be found from the same characters.
    shown = {each.key: _lines(each) for each in nodes}
    count = max((len(each) for each in shown.values()), default=1)
    height = count * _LINE + _EDGE
    sizes = {
        each.key: (_width(shown[each.key], each.late_after is not None), height) for each in nodes
    }
    found = layered(sizes, ways, across)
    width, height = found.width + 2 * _MARGIN, found.height + 2 * _MARGIN
    lines = "".join(_line(each, ways[each.source, each.target]) for each in found.lines)
    boxes = "".join(_node(each, found.boxes[each.key], shown[each.key], page) for each in nodes)
    box = "drawing end" if from_end else "drawing"
    label = _escaped(short(name))
    return Markup(  # noqa: S704 - every part is a number, of this module, or escaped
        f'<div class="{box}" role="region" aria-label="{label}" tabindex="0">'
        f'<svg width="{width:g}" height="{height:g}"'
        f' viewBox="{-_MARGIN:g} {-_MARGIN:g} {width:g} {height:g}" role="group"'
        f' aria-label="{label}"><g class="lines" aria-hidden="true">{lines}</g>{boxes}</svg></div>'
    )


def part(found: Part, page: str, name: str) -> Markup:
    """A part of the graph of products, or the map of domains, as SVG; empty if it has no nodes."""
    if not found.nodes:
        return Markup()
    nodes = [_of(each, found.center) for each in found.nodes]
    return picture(nodes, (Arrow(*each, has_keys=True) for each in found.edges), page, name)


def _of(node: Node, center: str) -> Drawn:
    state = "" if node.state in _PLAIN_STATES else node.state
    if node.kind == "domain":
        note = plural(node.count, "product")
        target = paths.domain(node.key)
    elif node.kind == "topic":
        note, target = f"topic of {node.domain}", paths.topic(node.domain, node.name)
    elif node.kind == "more":
        note, target = "not drawn", paths.LINEAGE
    else:
        note, target = node.domain, paths.product(node.key)
    about = f"{node.key}: {node.kind}, {node.state or 'no state'}"
    about = f"{about}, owner {node.owner.name}" if node.owner.name else about
    if node.kind in ("topic", "more"):
        about = f"{node.key}: topic" if node.kind == "topic" else f"{node.name}, not drawn"
    return Drawn(
        node.key, node.name, note, state, node.kind, node.state, target, about,
        node.key == center, node.late_after, has_key=True,
    )  # fmt: skip


def _lines(node: Drawn) -> list[tuple[str, str]]:
    """The lines of a node, cut, each with its class."""
    lines = [("name", _cut(node.name)), ("note", _cut(node.note, _MOST + 6))]
    lines.append(("word", _cut(node.word)))
    return [each for each in lines if each[1]]


def _width(lines: Sequence[tuple[str, str]], soon: bool) -> float:
    sizes = [_length(text, 8.4 if kind == "name" else 6.9) for kind, text in lines]
    if soon:
        sizes.append(_length(f"{lines[-1][1]} late", 6.9) + 7)
    return round(max([*sizes, _NARROWEST - 2 * _EDGE]) + 2 * _EDGE)


def _cut(text: str, most: int = _MOST) -> str:
    line = " ".join(str(clean(text[: 8 * most])).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _length(text: str, each: float) -> float:
    """About the width of a text, so that wide letters find room."""
    if text.isascii():
        return each * len(text)
    return sum(2 * each if unicodedata.east_asian_width(c) in "WF" else each for c in text)


def _escaped(text: str) -> str:
    # `Markup.format` would take half of the time of a page with many drawings.
    return str(escape(clean(text)))


def _node(node: Drawn, box: Box, lines: Sequence[tuple[str, str]], page: str) -> str:
    x, y = box.x, box.y
    classes = f"node {node.kind}"
    if node.state and node.state not in _PLAIN_STATES:
        classes = f"{classes} {node.state.replace(' ', '-')}"
    if node.is_here:
        classes = f"{classes} here"
    inner = f"<title>{_escaped(short(node.about or node.name, 400))}</title>"
    inner += _rectangle("box", x, y, box.width, box.height, 9)
    if node.state in ("failed", "damaged"):
        inner += _rectangle("inner", x + 3, y + 3, box.width - 6, box.height - 6, 6)
    elif node.state == "late":
        inner += _stripes(box)
    first = box.middle - len(lines) * _LINE / 2 + 13
    for number, (kind, text) in enumerate(lines):
        soon = ""
        if kind == "note" and node.late_after is not None:
            # The script of every page writes the word when the time has come.
            soon = f'<tspan class="word soon" dx="7" data-late="{iso(node.late_after)}"></tspan>'
        inner += (
            f'<text class="{kind}" x="{x + _EDGE:g}" y="{first + number * _LINE:g}">'
            f"{_escaped(text)}{soon}</text>"
        )
    key = f' data-key="{_escaped(node.key[:500])}"' if node.has_key else ""
    if not node.target:
        return f'<g class="{_escaped(classes)}"{key}>{inner}</g>'
    link = _escaped(paths.relative(node.target, page))
    current = ' aria-current="true"' if node.is_here else ""
    return f'<a class="{_escaped(classes)}"{key} href="{link}"{current}>{inner}</a>'


def _rectangle(name: str, x: float, y: float, width: float, height: float, radius: float) -> str:
    return (
        f'<rect class="{name}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
        f' rx="{radius:g}"/>'
    )


def _stripes(box: Box) -> str:
    """A band of hatching along the left side, drawn line by line: a pattern would need an id."""
    step = 6.0
    ways = [
        f"M{box.x + 1.5:g} {box.y + 10 + number * step:g}l{_BAND - 2:g} -5"
        for number in range(int(box.height / step) - 1)
    ]
    return f'<path class="stripe" d="{"".join(ways)}"/>'


def _line(line: Line, arrow: Arrow) -> str:
    (x, y), *rest = line.points
    way = [f"M{x:g} {y:g}"]
    for to_x, to_y in rest:
        bend = (x + to_x) / 2
        # Through a lane the way is straight, between layers it is an S.
        way.append(
            f"H{to_x:g}" if to_y == y else f"C{bend:g} {y:g} {bend:g} {to_y:g} {to_x:g} {to_y:g}"
        )
        x, y = to_x, to_y
    if not line.is_turned:
        way.append(f"M{x - 7:g} {y - 4:g}L{x:g} {y:g}L{x - 7:g} {y + 4:g}")
    else:
        x, y = line.points[0]
        way.append(f"M{x + 7:g} {y - 4:g}L{x:g} {y:g}L{x + 7:g} {y + 4:g}")
    classes = "line weak" if arrow.is_weak else "line"
    ends = ""
    if arrow.has_keys:
        source, target = _escaped(line.source[:500]), _escaped(line.target[:500])
        ends = f' data-from="{source}" data-to="{target}"'
    drawn = f'<path class="{classes}"{ends} d="{"".join(way)}"/>'
    if not arrow.word:
        return drawn
    (ax, ay), (bx, by) = line.points[-2:]
    return (
        f'{drawn}<text class="way" x="{(ax + bx) / 2:g}" y="{(ay + by) / 2 - 5:g}"'
        f' text-anchor="middle">{_escaped(_cut(arrow.word))}</text>'
    )
