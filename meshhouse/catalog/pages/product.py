"""The page of a product: what it means, whether it can be trusted today, how to read it.

Belongs here: what the page needs beside the product's document. Not here: markup
(templates/product.html), the blocks to copy (snippets.py), drawings of lineage.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from urllib.parse import quote

from meshhouse.catalog import paths
from meshhouse.catalog.documents import (
    CheckFacts,
    ConsumerFacts,
    Mesh,
    ProductFacts,
    PublicationFacts,
    is_listed,
)
from meshhouse.catalog.drawing import part
from meshhouse.catalog.graph import Graph, Part
from meshhouse.catalog.page import Page
from meshhouse.catalog.pages import words
from meshhouse.catalog.pages.lineage import MOST_LISTED
from meshhouse.catalog.pages.render import html
from meshhouse.catalog.pages.snippets import snippets

MOST_PUBLICATIONS = 90


def pages(mesh: Mesh) -> Iterator[Page]:
    """One page for each product and version."""
    relations = {each.relation for each in mesh.products}
    domains = {each.name for each in mesh.domains}
    topics = {(each.domain, each.table) for each in mesh.topics}
    graph = Graph.of(mesh)
    is_large = len(mesh.products) > MOST_LISTED
    for product in mesh.products:
        if not is_listed(mesh, product.domain):
            continue
        page = paths.product(product.relation)
        beside = (
            tuple((name, name in relations) for name in product.reads),
            tuple(_topic(product.domain, each, topics) for each in product.topics),
            frozenset({product.domain, *(each.domain for each in product.readers)}) & domains,
            product.relation in mesh.trace_digests,
            mesh.storage,
            graph.around(product.relation),
            graph.hits(product.relation),
            paths.product_asset(product.relation),
            is_large,
        )
        inputs = (product, *beside[:2], tuple(sorted(beside[2])), *beside[3:])
        yield Page(page, inputs, partial(_render, product, *beside))
    yield from _plain_pages(mesh, domains)


def _plain_pages(mesh: Mesh, domains: Collection[str]) -> Iterator[Page]:
    """A page under the name without version of each product that has versions.

    Links from elsewhere lead to it, from the time before the product had versions.
    """
    taken = {each.relation.lower() for each in mesh.products}
    versions: dict[str, list[ProductFacts]] = {}
    for product in mesh.products:
        plain = plain_name(product)
        if plain.lower() not in taken and is_listed(mesh, product.domain):
            versions.setdefault(plain, []).append(product)
    for plain, found in versions.items():
        found.sort(key=lambda each: -each.version)
        inputs = (plain, found, found[0].domain in domains)
        yield Page(paths.product(plain), inputs, partial(_render_versions, *inputs))


def plain_name(product: ProductFacts) -> str:
    """The name of a product without its version."""
    return f"{product.domain}.{product.model}"


def _render_versions(plain: str, versions: Sequence[ProductFacts], is_known: bool) -> str:
    return html(
        "versions.html",
        paths.product(plain),
        plain=plain,
        domain=versions[0].domain,
        is_known=is_known,
        versions=versions,
        latest=next((each for each in versions if each.is_latest), None),
    )


def _render(
    product: ProductFacts,
    reads: Sequence[tuple[str, bool]],
    topics: Sequence[tuple[str, str, bool]],
    domain_names: frozenset[str],
    traced: bool,
    storage: str,
    near: Part,
    hit: tuple[int, int],
    asset: str | None,
    is_large: bool,
) -> str:
    page = paths.product(product.relation)
    return html(
        "product.html",
        page,
        product=product,
        plain=plain_name(product),
        retired=_retired(product),
        reads=reads,
        topics=topics,
        domain_names=domain_names,
        traced=traced,
        asset=asset,
        snippets=snippets(product, storage),
        checks=_checks(product),
        passed=_passed(product),
        others=_others(product),
        about=_says_more(product),
        sections=_sections(product, len(near.nodes) > 1),
        trends=_trends(product),
        picture=part(near, page, f"What {product.relation} is built from, and who reads it"),
        hit=hit,
        hit_page=_hit_page(product, is_large),
    )


def _hit_page(product: ProductFacts, is_large: bool) -> str:
    """Where the products are listed that get old data if this one is late."""
    if is_large:
        return f"{paths.lineage(product.domain)}#{quote(product.relation)}"
    return f"{paths.LINEAGE}#late={quote(product.relation)}"


def _topic(
    domain: str, relation: str, topics: Collection[tuple[str, str]]
) -> tuple[str, str, bool]:
    """Arguments of the macro `topic_link` for `schema.table`: a topic that is gone has no page."""
    schema, _, table = relation.partition(".")
    owner = schema.removesuffix("_raw") or domain
    return owner, table, (owner, table) in topics


def _checks(product: ProductFacts) -> list[tuple[str, list[CheckFacts]]]:
    """Checks that need attention, and those that passed."""
    passed = [each for each in product.checks if each.result == "passed"]
    others = [each for each in product.checks if each.result != "passed"]
    return [("open", sorted(others, key=lambda each: each.result)), ("passed", passed)]


def _passed(product: ProductFacts) -> str:
    """How many checks passed, by who ran them."""
    passed = [each for each in product.checks if each.result == "passed"]
    of_dbt = sum(each.source == "dbt" for each in passed)
    if not of_dbt or of_dbt == len(passed):
        return words.plural(len(passed), "check") + " passed"
    return f"{len(passed)} checks passed: {len(passed) - of_dbt} of the audit, {of_dbt} of dbt's"


def _others(product: ProductFacts) -> list[ConsumerFacts]:
    """Readers that are not among the domains whose models read it."""
    domains = {each.domain for each in product.readers}
    return [each for each in (product.use.consumers if product.use else ())
            if each.name not in domains and each.name != product.domain]  # fmt: skip


def _retired(product: ProductFacts) -> PublicationFacts | None:
    """The entry that retired it."""
    if product.state != "retired":
        return None
    return next((each for each in product.publications if each.kind == "retire"), None)


def _says_more(product: ProductFacts) -> bool:
    """Whether the description says more than the page's first lines."""
    rest = " ".join(product.description[: words.MOST].split())
    for said in (product.sentence, product.grain_text):
        rest = rest.replace(said, "", 1)
    return bool(rest.strip(" ."))


def _sections(product: ProductFacts, is_drawn: bool) -> list[tuple[str, str]]:
    about = _says_more(product)
    lineage = bool(is_drawn or product.reads or product.topics)
    return [
        *([("Use it", "use")] if product.state != "retired" else []),
        *([("About", "about")] if about else []),
        ("Columns", "columns"),
        *([("Lineage", "lineage")] if lineage else []),
        ("Promises", "promises"),
        ("Checks", "checks"),
        ("History", "history"),
        ("Readers", "readers"),
        ("Versions", "versions"),
        ("Cost", "cost"),
    ]


def _trends(product: ProductFacts) -> list[tuple[str, list[float | None], str]]:
    """Name, values (oldest first) and newest value of each figure that has a history."""
    past = list(reversed(product.publications[:MOST_PUBLICATIONS]))
    if len(past) < 2:
        return []
    newest = past[-1]
    found = [
        ("Rows", [each.rows for each in past], words.count(newest.rows)),
        ("Size", [each.bytes for each in past], words.size(newest.bytes)),
        ("Score", [each.score for each in past], words.score(newest.score)),
    ]
    return [each for each in found if sum(value is not None for value in each[1]) > 1]
