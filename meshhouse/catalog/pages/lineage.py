"""The pages about lineage: which domains and products read which, and who is hit if one is late.

Belongs here: how much is drawn and listed. Not here: the graph (graph.py), drawings (drawing.py),
or markup (templates/lineage.html).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

from markupsafe import Markup

from meshhouse.catalog import paths
from meshhouse.catalog.documents import DomainFacts, Mesh, ProductFacts, is_listed
from meshhouse.catalog.drawing import part
from meshhouse.catalog.graph import Graph, Part, domains_of
from meshhouse.catalog.page import Page
from meshhouse.catalog.pages.render import html
from meshhouse.catalog.pages.words import late_after

MOST_DRAWN = 200
"""Products and topics that one drawing shows."""
MOST_LISTED = 1_000
"""Products in one table. A page of 5,000 would be 3 MB; beyond, each domain has a page."""
MOST_HIT = 30
"""Names of products that are hit, in one row."""


class Row(NamedTuple):
    """A product in the table.

    A tuple, because the digest of a tuple is that of its members, and the digest of a product is
    known although only an outline of it may be in memory.
    """

    product: ProductFacts
    reads: tuple[tuple[str, str], ...]
    """Name and page of each product and topic that it reads; no page if there is none."""
    readers: tuple[str, ...]
    hit: tuple[tuple[str, str], ...]
    """Relation and owner of the products that get old data if it is late."""
    hit_count: int
    hit_domains: int


def pages(mesh: Mesh) -> Iterator[Page]:
    """The lineage page; in a large mesh also one for each domain."""
    graph = Graph.of(mesh)
    count = len(mesh.products)
    domains = domains_of(mesh, graph)
    products = graph.products() if len(graph.nodes) <= MOST_DRAWN else None
    rows: list[Row] = []
    if count <= MOST_LISTED:
        most = MOST_HIT if count <= MOST_DRAWN else 0
        rows = [_row(each, graph, most) for each in _in_order(mesh.products)]
    listed = () if rows else tuple(mesh.domains)
    known = tuple(each.name for each in mesh.domains)
    inputs = (domains, products, rows, listed, known, count)
    yield Page(paths.LINEAGE, inputs, partial(_render, *inputs))
    if listed:
        yield from _domain_pages(mesh, graph)


def _domain_pages(mesh: Mesh, graph: Graph) -> Iterator[Page]:
    """The lineage of each domain: its products, what they read and who reads them."""
    own: dict[str, list[ProductFacts]] = {}
    for product in _in_order(mesh.products):
        own.setdefault(product.domain, []).append(product)
    for domain in mesh.domains:
        products = own.get(domain.name, [])
        if domain.products and products and is_listed(mesh, domain.name):
            near = graph.of_domain(domain.name, MOST_DRAWN)
            rows = [_row(each, graph, MOST_HIT) for each in products[:MOST_LISTED]]
            inputs = (domain, near, rows, len(products))
            yield Page(paths.lineage(domain.name), inputs, partial(_domain, *inputs))


def _domain(domain: DomainFacts, near: Part, rows: Sequence[Row], count: int) -> str:
    page = paths.lineage(domain.name)
    title = f"Products and topics of {domain.name}, what they read and who reads them"
    return html(
        "domain_lineage.html",
        page,
        domain=domain,
        picture=part(near, page, title),
        rows=rows,
        count=count,
    )


def _in_order(products: Sequence[ProductFacts]) -> list[ProductFacts]:
    return sorted(products, key=lambda each: each.relation)


def _row(product: ProductFacts, graph: Graph, most: int) -> Row:
    relation = product.relation
    hit = graph.hit(relation)
    return Row(
        product,
        tuple(_read(each, graph) for each in graph.before.get(relation, ())),
        graph.after.get(relation, ()),
        tuple((each.key, each.owner.name or each.owner.email) for each in hit[:most]),
        len(hit),
        len({each.domain for each in hit}),
    )


def _read(key: str, graph: Graph) -> tuple[str, str]:
    node = graph.nodes[key]
    if node.kind == "topic":
        return key, paths.topic(node.domain, node.name)
    return key, paths.product(key)


def _render(
    domains: Part,
    products: Part | None,
    rows: Sequence[Row],
    listed: Sequence[DomainFacts],
    domain_names: Sequence[str],
    count: int,
) -> str:
    page = paths.LINEAGE
    facts = [each.product for each in rows]
    return html(
        "lineage.html",
        page,
        domain_map=part(domains, page, "Domains, and which reads which"),
        product_map=part(products, page, "Products and topics, and which product reads which")
        if products is not None
        else Markup(),
        rows=rows,
        listed=listed,
        domain_names=frozenset(domain_names),
        count=count,
        choices=[*_choices(facts)],
    )


def _states(product: ProductFacts) -> list[str]:
    """The state of a product, and the one that the clock of a reader can make of it."""
    return [product.state] if late_after(product) is None else [product.state, "late"]


def _choices(products: Sequence[ProductFacts]) -> Iterator[tuple[str, str, list[str]]]:
    """Name, label and values of each choice; those that would change nothing are left out."""
    for name, label, values in (
        ("domain", "Domain", {each.domain for each in products}),
        ("state", "State", {each for one in products for each in _states(one)}),
        ("class", "Most protected class", {each.classification for each in products}),
    ):
        if len(values) > 1:
            yield name, label, sorted(values - {""})
