"""The graph of the mesh: which products and topics are read by which products.

Belongs here: nodes, edges, what is near a product, what is hit if it is late. Not here: columns
(traces.py), or how a graph looks (drawing.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from meshhouse.catalog.documents import STATES, Mesh, Owner
from meshhouse.catalog.pages.words import late_after

MOST_NEAR = 60
"""Nodes around one product: what a person takes in at a glance."""


@dataclass(frozen=True)
class Node:
    """A product, a topic, a domain, or a number of products that are not drawn one by one."""

    key: str
    """Relation of a product, `schema.table` of a topic, name of a domain."""
    kind: str
    """`product`, `topic`, `domain` or `more`."""
    name: str
    domain: str = ""
    state: str = ""
    classification: str = ""
    owner: Owner = field(default_factory=Owner)
    late_after: datetime | None = None
    """When it becomes late if nothing refreshes it."""
    count: int = 1
    """Products of a domain, or nodes that this one stands for."""


@dataclass(frozen=True)
class Part:
    """A part of the graph that is drawn."""

    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str], ...]
    center: str = ""
    """The product that it is about."""


@dataclass(frozen=True)
class Graph:
    """All products and topics. An edge goes from what is read to its reader."""

    nodes: Mapping[str, Node]
    edges: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, mesh: Mesh) -> Graph:
        """The graph of a mesh. What only a reader names, and no document, has no node."""
        nodes = {
            f"{each.domain}_raw.{each.table}": Node(
                f"{each.domain}_raw.{each.table}", "topic", each.table, each.domain
            )
            for each in mesh.topics
        }
        names: dict[str, str] = {}
        for product in mesh.products:
            name = product.relation.partition(".")[2]
            nodes[product.relation] = Node(
                product.relation, "product", name, product.domain, product.state,
                product.classification, product.owner, late_after(product),
            )  # fmt: skip
            if product.is_latest:
                names[f"{product.domain}.{product.model}".lower()] = product.relation
        names |= {key.lower(): key for key in nodes}
        found: dict[tuple[str, str], None] = {}
        for product in mesh.products:
            for each in product.inputs or (*product.topics, *product.reads):
                key = names.get(each.lower())
                if key is not None and key != product.relation:
                    found[key, product.relation] = None
        return cls(nodes, tuple(sorted(found)))

    @cached_property
    def before(self) -> Mapping[str, tuple[str, ...]]:
        """Node -> what it reads."""
        return _grouped((reader, read) for read, reader in self.edges)

    @cached_property
    def after(self) -> Mapping[str, tuple[str, ...]]:
        """Node -> its readers."""
        return _grouped(self.edges)

    def hit(self, key: str) -> list[Node]:
        """The products that get old data if a node is late, the nearest first."""
        return [self.nodes[name] for name, _ in _walk(key, self.after)]

    def hits(self, key: str) -> tuple[int, int]:
        """How many products get old data if a node is late, and of how many domains."""
        hit = self.hit(key)
        return len(hit), len({each.domain for each in hit})

    def behind(self, key: str) -> list[str]:
        """Everything that a node is built from, the nearest first."""
        return [name for name, _ in _walk(key, self.before)]

    def around(self, key: str, steps: int = 2, most: int = MOST_NEAR) -> Part:
        """What is at most so many steps before and after a product.

        Args:
            key: the product.
            steps: in each direction.
            most: nodes. Those that are left out are counted in one node for each distance.
        """
        if key not in self.nodes:
            return Part((), (), key)
        # One node for each distance may be needed to count the others.
        room = max(1, (most - 1) // 2 - steps)
        shown: dict[str, str] = {key: key}
        counted: dict[str, int] = {}
        for side, near in (("before", self.before), ("after", self.after)):
            found = [(name, far) for name, far in _walk(key, near, steps) if name not in shown]
            # The nearest first, then those with the most neighbours.
            found.sort(key=lambda each: (each[1], -self._degree(each[0]), each[0]))
            for place, (name, far) in enumerate(found):
                stand_in = f"{side} {far}"
                shown[name] = name if place < room else stand_in
                if place >= room:
                    counted[stand_in] = counted.get(stand_in, 0) + 1
        edges = {
            (shown[one], shown[other])
            for name in shown
            for one, other in (
                *((name, each) for each in self.after.get(name, ())),
                *((each, name) for each in self.before.get(name, ())),
            )
            if one in shown and other in shown and shown[one] != shown[other]
        }
        nodes = [self.nodes[name] for name, stand_in in shown.items() if name == stand_in]
        nodes += [
            Node(name, "more", f"{count:,} more", count=count) for name, count in counted.items()
        ]
        return Part(tuple(sorted(nodes, key=_place)), tuple(sorted(edges)), key)

    def _degree(self, key: str) -> int:
        return len(self.before.get(key, ())) + len(self.after.get(key, ()))

    def products(self) -> Part:
        """All products and topics."""
        return Part(tuple(sorted(self.nodes.values(), key=_place)), self.edges)

    def of_domain(self, domain: str, most: int = 2 * MOST_NEAR) -> Part:
        """The products and topics of a domain, what they read and who reads them.

        Args:
            domain: its name.
            most: nodes; neighbours that are left out are counted, and so are own products beyond.
        """
        own = [key for key, each in self.nodes.items() if each.domain == domain]
        own.sort(key=lambda key: (-self._degree(key), key))
        shown = {key: key if at < most // 2 else "own more" for at, key in enumerate(own)}
        for side, near in (("before", self.before), ("after", self.after)):
            others = sorted(
                {each for key in own for each in near.get(key, ()) if each not in shown}
            )
            room = most // 4
            shown |= {key: key if at < room else f"{side} more" for at, key in enumerate(others)}
        edges = {
            (shown[one], shown[other])
            for one, other in self.edges
            if one in shown and other in shown and shown[one] != shown[other]
            and domain in (self.nodes[one].domain, self.nodes[other].domain)
        }  # fmt: skip
        nodes = [self.nodes[key] for key, stand_in in shown.items() if key == stand_in]
        for stand_in in sorted({*shown.values()} - {each.key for each in nodes}):
            count = sum(each == stand_in for each in shown.values())
            nodes.append(Node(stand_in, "more", f"{count:,} more", count=count))
        return Part(tuple(sorted(nodes, key=_place)), tuple(sorted(edges)))


def nearby(graph: Graph, keys: Iterable[str], steps: int = 2) -> set[str]:
    """What has one of these nodes in its drawing, and the nodes themselves; see `Graph.around`."""
    found = {*keys}
    for near in (graph.before, graph.after):
        for key in keys:
            found.update(name for name, _ in _walk(key, near, steps))
    return found


def domains_of(mesh: Mesh, graph: Graph, most: int = 200) -> Part:
    """The domains, and which of them read which.

    Args:
        mesh: the documents.
        graph: of the same mesh.
        most: nodes. Domains with few neighbours beyond are counted in one node.
    """
    edges = {
        (graph.nodes[one].domain, graph.nodes[other].domain)
        for one, other in graph.edges
        if graph.nodes[one].domain != graph.nodes[other].domain
    }
    degree: dict[str, int] = {}
    for edge in edges:
        for each in edge:
            degree[each] = degree.get(each, 0) + 1
    states: dict[str, list[str]] = {}
    for product in mesh.products:
        states.setdefault(product.domain, []).append(product.state)
    ranked = sorted(mesh.domains, key=lambda each: (-degree.get(each.name, 0), each.name))
    shown = {each.name: each.name for each in ranked[: most if len(ranked) <= most else most - 1]}
    left_out = [each.name for each in ranked if each.name not in shown]
    shown |= dict.fromkeys(left_out, "more")
    nodes = [
        Node(
            each.name, "domain", each.name, each.name,
            min(states.get(each.name, [""]), key=_rank),
            owner=each.owner, count=len(states.get(each.name, ())),
        )
        for each in ranked
        if shown[each.name] == each.name
    ]  # fmt: skip
    if left_out:
        name = f"{len(left_out):,} more domains"
        nodes.append(Node("more", "more", name, count=len(left_out)))
    drawn = {
        (shown[one], shown[other])
        for one, other in edges
        if one in shown and other in shown and shown[one] != shown[other]
    }
    return Part(tuple(sorted(nodes, key=_place)), tuple(sorted(drawn)))


def _rank(state: str) -> int:
    return STATES.index(state) if state in STATES else len(STATES)


def _place(node: Node) -> tuple[str, str, bool, str]:
    return (node.domain or "~", node.kind, node.kind == "more", node.key)


def _walk(
    start: str, near: Mapping[str, tuple[str, ...]], steps: int | None = None
) -> list[tuple[str, int]]:
    """What can be reached, with its distance, the nearest first."""
    far = {start: 0}
    waiting = [start]
    for name in waiting:  # grows
        if steps is None or far[name] < steps:
            for each in near.get(name, ()):
                if each not in far:
                    far[each] = far[name] + 1
                    waiting.append(each)
    return [(name, far[name]) for name in waiting[1:]]


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for one, other in pairs:
        found.setdefault(one, []).append(other)
    return {key: tuple(sorted(each)) for key, each in found.items()}
