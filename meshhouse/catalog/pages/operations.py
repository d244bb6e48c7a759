"""The page of operations: what is late, failing, costly or unused.

Belongs here: what the page lists, and in which order. Not here: the figures (gather/operations.py),
markup (templates/).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from meshhouse.catalog import paths
from meshhouse.catalog.documents import (
    STATES,
    Mesh,
    OperationsFacts,
    ProductFacts,
    PromiseFacts,
    TopicFacts,
)
from meshhouse.catalog.page import Page
from meshhouse.catalog.pages.render import html

MOST = 50
"""Entries of each list; the files for programs have all."""
BAD = ("damaged", "failed", "late", "never published", "not declared")
"""States that an owner acts on."""


@dataclass(frozen=True)
class Budget:
    """One promise with its product."""

    product: ProductFacts
    promise: PromiseFacts


def pages(mesh: Mesh) -> Iterator[Page]:
    """The page."""
    inputs = (mesh.products, mesh.topics, mesh.operations)
    yield Page(paths.OPERATIONS, inputs, partial(_operations, *inputs))


def _operations(
    products: Sequence[ProductFacts],
    topics: Sequence[TopicFacts],
    found: OperationsFacts | None,
) -> str:
    bad = sorted(
        (each for each in products if each.state in BAD),
        key=lambda each: (STATES.index(each.state), each.relation),
    )
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
        budgets=[each for each in budgets if (each.promise.budget_left_percent or 0) < 100],
        promises=len(budgets),
        read=[each for each in read if _reads(each)],
        unused=unused,
        unproved=unproved,
        costly=[each for each in costly if each.cost.seconds],
        topics=landed,
        rejected=sum(map(_rejected, topics)),
        found=found,
    )


def _reads(product: ProductFacts) -> int:
    return product.use.reads_30_days if product.use else 0


def _rejected(topic: TopicFacts) -> int:
    return sum(count for _, count in topic.rejected)
