"""The pages of domains and their topics.

Belongs here: which products and topics each shows. Not here: markup (templates/).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial

from meshhouse.catalog import paths
from meshhouse.catalog.documents import DomainFacts, Mesh, ProductFacts, TopicFacts, is_listed
from meshhouse.catalog.drawing import part
from meshhouse.catalog.graph import Graph, Part
from meshhouse.catalog.page import Page
from meshhouse.catalog.pages.home import worst
from meshhouse.catalog.pages.render import html
from meshhouse.catalog.pages.words import late_after


def domain_pages(mesh: Mesh) -> Iterator[Page]:
    """One page for each domain."""
    products = {each.relation: each for each in mesh.products}
    names = {each.name for each in mesh.domains}
    graph = Graph.of(mesh)
    topics: dict[str, list[TopicFacts]] = {}
    for each in mesh.topics:
        topics.setdefault(each.domain, []).append(each)
    for domain in mesh.domains:
        if not is_listed(mesh, domain.name):
            continue
        own = [products[name] for name in domain.products if name in products]
        own.sort(key=lambda each: (worst(each.state), each.relation))
        linked = sorted({*domain.reads_from, *domain.read_by} & names)
        near = graph.of_domain(domain.name)
        inputs = (domain, own, topics.get(domain.name, []), linked, near)
        yield Page(paths.domain(domain.name), inputs, partial(_domain, *inputs))


def topic_pages(mesh: Mesh) -> Iterator[Page]:
    """One page for each topic."""
    products = {each.relation: each for each in mesh.products}
    for topic in mesh.topics:
        if not is_listed(mesh, topic.domain):
            continue
        built = [products[name] for name in topic.products if name in products]
        inputs = (topic, built, paths.topic_asset(topic.domain, topic.table))
        yield Page(paths.topic(topic.domain, topic.table), inputs, partial(_topic, *inputs))


def _domain(
    domain: DomainFacts,
    products: Sequence[ProductFacts],
    topics: Sequence[TopicFacts],
    linked: Sequence[str],
    near: Part,
) -> str:
    page = paths.domain(domain.name)
    return html(
        "domain.html",
        page,
        domain=domain,
        products=products,
        late_after=_late_after(domain, products),
        topics=topics,
        once=any(each.topics for each in products),
        lags=any(each.lag is not None for each in topics),
        domain_names=linked,
        picture=part(near, page, f"Products and topics of {domain.name}, and who reads them"),
    )


def _late_after(domain: DomainFacts, products: Sequence[ProductFacts]) -> datetime | None:
    """When the first product becomes late, if that is worse than the state of the domain."""
    ends = [end for each in products if (end := late_after(each)) is not None]
    return min(ends, default=None) if worst(domain.state) > worst("late") else None


def _topic(topic: TopicFacts, products: Sequence[ProductFacts], asset: str | None) -> str:
    page = paths.topic(topic.domain, topic.table)
    return html("topic.html", page, topic=topic, products=products, asset=asset)
