"""Documents of domains.

Belongs here: what a domain owns and reads, and the worst state of its products. Not here: the
state of a product (history.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from meshhouse.catalog.documents import STATES, DomainFacts, ProductFacts, TopicFacts
from meshhouse.catalog.gather.known import Sources
from meshhouse.catalog.gather.products import as_owner
from meshhouse.repository import Domain
from meshhouse.repository.waivers import read_waivers


def domains_of(
    sources: Sources,
    products: Sequence[ProductFacts],
    topics: Sequence[TopicFacts],
    broken: Mapping[str, str],
) -> Iterator[DomainFacts]:
    """The document of each domain, those without a usable declaration included.

    Args:
        sources: what was read.
        products: documents of all products.
        topics: documents of all topics.
        broken: domains that no run can build, with the reason.
    """
    repository = sources.repository
    owned: dict[str, list[ProductFacts]] = {}
    for product in products:
        owned.setdefault(product.domain, []).append(product)
    read_by: dict[str, set[str]] = {}
    for domain in repository.readings:
        for other in domain.upstream:
            read_by.setdefault(other, set()).add(domain.name)
    known = {each.name for each in repository.readings}
    for domain in repository.readings:
        own = owned.get(domain.name, [])
        yield DomainFacts(
            name=domain.name,
            description=domain.description,
            owner=as_owner(domain.owner()),
            products=tuple(each.relation for each in own),
            topics=tuple(each.table for each in topics if each.domain == domain.name),
            reads_from=domain.upstream,
            read_by=tuple(sorted(read_by.get(domain.name, ()))),
            state=_worst(own),
            promises_kept_percent=_kept(own),
            waivers=_waivers(domain, sources, own),
            problem=broken.get(domain.name, ""),
        )
    # Its folder is gone, and consumers still read what it published.
    for name in sorted(owned.keys() - known):
        yield DomainFacts(
            name=name,
            description="",
            owner=owned[name][0].owner,
            products=tuple(each.relation for each in owned[name]),
            topics=(),
            reads_from=(),
            read_by=tuple(sorted({each.domain for one in owned[name] for each in one.readers})),
            state=_worst(owned[name]),
            problem="This domain was removed. Consumers can still read its products.",
            is_removed=True,
        )


def domain_again(domain: DomainFacts, products: Sequence[ProductFacts]) -> DomainFacts:
    """The document of a domain with the states of its products now.

    Args:
        domain: its document, made from the same declarations on the same day.
        products: documents of its products.
    """
    kept = domain.promises_kept_percent if domain.is_removed else _kept(products)
    return replace(domain, state=_worst(products), promises_kept_percent=kept)


def _worst(products: Sequence[ProductFacts]) -> str:
    return min((each.state for each in products), key=STATES.index, default="no products")


def _kept(products: Sequence[ProductFacts]) -> float | None:
    measured = [each.met for one in products for each in one.promises if each.met is not None]
    return round(100.0 * sum(measured) / len(measured), 1) if measured else None


def _waivers(domain: Domain, sources: Sources, products: Sequence[ProductFacts]) -> tuple[str, ...]:
    """Waivers that hold today.

    A change is named by its kind and column. Its subject can also be the name of a check, which
    can hold values.
    """
    today = sources.now.date()
    columns = {column.name for product in products for column in product.columns}

    def named(change: str) -> str:
        row, _, subject = change.partition(":")
        return change if subject in columns else row

    return tuple(
        f"{each.product}: {named(each.change) or each.policy} is allowed until {each.until}, "
        f"because {each.why} ({each.owner})"
        for each in read_waivers(domain.path).waivers
        if each.until >= today
    )
