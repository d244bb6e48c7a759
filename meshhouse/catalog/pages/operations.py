"""The page of operations: what is late, failing, costly or unused.

Belongs here: what the page lists, and in which order. Not here: the figures (gather/operations.py),
markup (templates/).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from meshhouse.catalog import paths
from meshhouse.catalog.documents import (
    STATES,
    DomainFacts,
    Mesh,
    OperationsFacts,
    Owner,
    ProductFacts,
    PromiseFacts,
    TopicFacts,
)
from meshhouse.catalog.page import Page
from meshhouse.catalog.pages.render import html
from meshhouse.catalog.pages.words import late_after

MOST = 50
"""Entries of each list; the files for programs have all."""
BAD = ("damaged", "failed", "late", "never published", "not declared")
"""States that an owner acts on."""


@dataclass(frozen=True)
class Attention:
    """One entry of what needs attention: a product, or a domain that no run can build."""

    state: str
    why: str
    owner: Owner
    product: ProductFacts | None = None
    domain: str = ""
    late_after: datetime | None = None
    """Set of a fresh product: it needs attention when this time has come."""


@dataclass(frozen=True)
class Budget:
    """One promise with its product."""

    product: ProductFacts
    promise: PromiseFacts


def pages(mesh: Mesh) -> Iterator[Page]:
    """The page."""
    inputs = (mesh.products, mesh.domains, mesh.topics, mesh.operations)
    yield Page(paths.OPERATIONS, inputs, partial(_operations, *inputs))


def _operations(
    products: Sequence[ProductFacts],
    domains: Sequence[DomainFacts],
    topics: Sequence[TopicFacts],
    found: OperationsFacts | None,
) -> str:
    bad, soon = _attention(products, domains), _soon(products)
    budgets = sorted(
        (
            Budget(product, promise)
            for product in products
            for promise in product.promises
            if promise.budget_left_percent is not None
        ),
        key=lambda each: (each.promise.budget_left_percent or 0, each.product.relation),
    )
    read = sorted(products, key=lambda each: (-_reads(each), each.relation))
    unused = [each for each in products if each.use and each.use.state == "unused"]
    unproved = [each for each in products if each.use and each.use.state == "not proved"]
    costly = sorted(products, key=lambda each: (-(each.cost.seconds or 0), each.relation))
    landed = sorted(topics, key=lambda each: (-_rejected(each), each.domain, each.table))
    return html(
        "operations.html",
        paths.OPERATIONS,
        most=MOST,
        bad=bad,
        soon=soon,
        count=len(products),
        budgets=[each for each in budgets if (each.promise.budget_left_percent or 0) < 100],
        promises=len(budgets),
        read=[each for each in read if _reads(each)],
        unused=unused,
        unproved=unproved,
        unproved_because=Counter(each.use.why for each in unproved if each.use).most_common(),
        costly=[each for each in costly if each.cost.seconds],
        topics=landed,
        rejected=sum(map(_rejected, topics)),
        found=found,
    )


def _attention(products: Sequence[ProductFacts], domains: Sequence[DomainFacts]) -> list[Attention]:
    """Domains that no run can build, then products, the worst first."""
    broken = [
        Attention("broken", each.problem, each.owner, domain=each.name)
        for each in domains
        if each.problem and not each.is_removed
    ]
    bad = sorted(
        (each for each in products if each.state in BAD),
        key=lambda each: (STATES.index(each.state), each.relation),
    )
    return broken + [Attention(each.state, each.why, each.owner, each) for each in bad]


def _soon(products: Sequence[ProductFacts]) -> list[Attention]:
    """Fresh products that become late by the clock of a reader, the first ones first."""
    ends = [(end, each) for each in products if (end := late_after(each)) is not None]
    ends.sort(key=lambda pair: (pair[0], pair[1].relation))
    return [
        Attention("late", _promise(each), each.owner, each, late_after=end) for end, each in ends
    ]


def _promise(product: ProductFacts) -> str:
    return f"Its owner promises a refresh within {product.refreshed_within_hours:g} hours."


def _reads(product: ProductFacts) -> int:
    return product.use.reads_30_days if product.use else 0


def _rejected(topic: TopicFacts) -> int:
    return sum(count for _, count in topic.rejected)
