"""What products cost, divided so that every division sums to the whole.

Belongs here: bytes at rest, seconds of builds and audits, and credits, for each domain, product and
consumer. Not here: who reads what (usage.py).

Amounts are whole numbers (bytes, milliseconds, billionths of a credit). Each is divided once, into
cells of a product and a consumer, and every sum is a sum of these cells. So domains, products and
consumers sum to the same total, to the last unit.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from meshhouse.ledger import Ledger
from meshhouse.repository import ROOT_DOMAIN, Product, Repository
from meshhouse.usage.reads import UNKNOWN, Read
from meshhouse.usage.shares import divided
from meshhouse.usage.store import store_of
from meshhouse.usage.usage import NOBODY, builds, consumer_of, declared_products, ledger_facts

DAYS = 30
OTHER = "(other)"
"""The product of what a domain costs beside its products."""
_WORKED = ("published", "rejected", "failed", "not published")
"""What becomes of a product that a run worked on, in runs that did not record their seconds."""


@dataclass(frozen=True)
class Cost:
    """An amount of each kind."""

    bytes: int = 0
    """Size of the data files of what is published now."""
    milliseconds: int = 0
    """Of runs: build, audit and publication."""
    nanocredits: int = 0
    """Billionths of a credit, of a warehouse that counts in credits."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.bytes + other.bytes,
            self.milliseconds + other.milliseconds,
            self.nanocredits + other.nanocredits,
        )

    @property
    def seconds(self) -> float:
        """Seconds of runs."""
        return self.milliseconds / 1000

    @property
    def credits(self) -> float:
        """Credits of the warehouse."""
        return self.nanocredits / 1_000_000_000


Cell = tuple[str, str]
"""A product, or `<domain>.(other)`, and a consumer."""


@dataclass(frozen=True)
class Costs:
    """What a mesh costs: bytes now, and seconds and credits of the last 30 days.

    Each sum is made once: a catalog asks for the cost of 5,000 products one by one.
    """

    cells: Mapping[Cell, Cost]
    since: datetime
    knows_credits: bool
    """Whether credits were imported; if not, they are zero because nobody knows them."""

    @cached_property
    def total(self) -> Cost:
        """The whole."""
        return sum(self.cells.values(), Cost())

    @cached_property
    def domains(self) -> dict[str, Cost]:
        """Domain that owns the products -> its cost."""
        return self._by(lambda product, consumer: product.partition(".")[0])

    @cached_property
    def products(self) -> dict[str, Cost]:
        """Product, or `<domain>.(other)` -> its cost."""
        return self._by(lambda product, consumer: product)

    @cached_property
    def consumers(self) -> dict[str, Cost]:
        """Consumer -> its share of what it reads; `nobody` for what nobody reads."""
        return self._by(lambda product, consumer: consumer)

    def _by(self, key: Callable[[str, str], str]) -> dict[str, Cost]:
        found: dict[str, Cost] = defaultdict(Cost)
        for (product, consumer), cost in self.cells.items():
            found[key(product, consumer)] += cost
        return {each: found[each] for each in sorted(found)}


def costs(repository: Repository, ledger: Ledger, now: datetime | None = None) -> Costs:
    """What the mesh costs, in the environment in use or in production.

    Args:
        repository: where products are declared and reads are recorded.
        ledger: what was published and run.
        now: the end of the 30 days.

    Raises:
        MeshError: the recorded reads are damaged.
    """
    now = now or datetime.now(UTC)
    since = now - timedelta(days=DAYS)
    products = declared_products(repository)
    facts = ledger_facts(ledger, since)
    reads = [each for each in store_of(repository).read(since).reads if each.at >= since]
    reads += builds(facts.publications, facts.heads, products)
    sizes = {
        head.relation: head.bytes or 0
        for head in ledger.heads(documents=False).values()
        if head.is_published
    }
    return costs_of(products, sizes, ledger.entries("runs", since=since), reads, since)


def costs_of(
    products: Sequence[Product],
    sizes: Mapping[str, int],
    runs: Iterable[Mapping[str, Any]],
    reads: Iterable[Read],
    since: datetime,
) -> Costs:
    """Divides what the mesh costs among products and consumers.

    What a product costs, runs included, is shared by its consumers in proportion to their reads.
    What a consumer's own queries cost in credits is that consumer's.

    Args:
        products: all declared products.
        sizes: relation of what is published -> bytes.
        runs: entries of the ledger.
        reads: of all consumers.
        since: the beginning of the time that runs and reads are of.
    """
    tally = Tally()
    tally.add(products, runs, reads)
    return tally.costs(sizes, since)


@dataclass
class Tally:
    """What runs and reads add up to, before it is divided: more of them can be added later."""

    own: dict[str, Cost] = field(default_factory=dict)
    """Product -> what its runs cost."""
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    """Product -> consumer -> reads."""
    paid: dict[str, dict[str, Cost]] = field(default_factory=dict)
    """Product -> consumer -> what its own queries cost."""
    knows_credits: bool = False

    def add(
        self,
        products: Sequence[Product],
        runs: Iterable[Mapping[str, Any]],
        reads: Iterable[Read],
    ) -> None:
        """Adds runs and reads; see `costs_of`."""
        names = {name.lower(): each.relation for each in products for name in each.relations}
        for each in reads:
            product = names.get(each.product.lower(), each.product)
            paid = Cost(nanocredits=each.nanocredits or 0)
            self.knows_credits = self.knows_credits or each.nanocredits is not None
            if not each.count:  # the work of a run
                self.own[product] = self.own.get(product, Cost()) + paid
                continue
            consumer = consumer_of(each)
            if product != UNKNOWN:
                counts = self.counts.setdefault(product, {})
                counts[consumer] = counts.get(consumer, 0) + each.count
            of = self.paid.setdefault(product or f"{ROOT_DOMAIN}.{OTHER}", {})
            of[consumer] = of.get(consumer, Cost()) + paid
        for run in runs:
            for relation, milliseconds in _of_run(run).items():
                cost = Cost(milliseconds=milliseconds)
                self.own[relation] = self.own.get(relation, Cost()) + cost

    def costs(self, sizes: Mapping[str, int], since: datetime) -> Costs:
        """Divides the sums; see `costs_of`."""
        cells: dict[Cell, Cost] = defaultdict(Cost)
        for product, of in self.paid.items():
            for consumer, cost in of.items():
                cells[product, consumer] += cost
        for product in dict.fromkeys((*sizes, *self.own)):
            cost = self.own.get(product, Cost()) + Cost(bytes=sizes.get(product, 0))
            weights = dict(sorted(self.counts.get(product, {}).items())) or {NOBODY: 1}
            if len(weights) == 1:
                cells[product, next(iter(weights))] += cost
                continue
            amounts = (cost.bytes, cost.milliseconds, cost.nanocredits)
            shares = [divided(each, weights) for each in amounts]
            for consumer in weights:
                cells[product, consumer] += Cost(*(each[consumer] for each in shares))
        known = {cell: cost for cell, cost in cells.items() if cost != Cost()}
        return Costs(known, since, self.knows_credits)


def _of_run(run: Mapping[str, Any]) -> dict[str, int]:
    """Relation -> its share of the milliseconds of a run.

    The whole time of the run counts, with the time spent on models that several products share.
    """
    lasted = max(round((run["finished_at"] - run["started_at"]).total_seconds() * 1000), 0)
    worked = _decoded(run.get("milliseconds"))
    if not worked:
        became = _decoded(run.get("products"))
        worked = {name: 1 for name, what in sorted(became.items()) if what in _WORKED}
        worked = worked or dict.fromkeys(sorted(became), 1) or {OTHER: 1}
    shares = divided(lasted, worked)
    return {f"{run['domain']}.{name}": share for name, share in shares.items()}


def _decoded(value: Any) -> dict[str, Any]:
    found = json.loads(value) if isinstance(value, str) else value
    return found or {}
