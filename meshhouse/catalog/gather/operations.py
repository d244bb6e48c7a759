"""Who reads products, what they cost, and how quickly events become products.

Belongs here: joining usage (usage/) and the ledger's landings with products. Not here: how reads
are recorded or costs are divided (usage/).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property
from math import ceil
from typing import Any

from meshhouse.catalog.documents import (
    ConsumerFacts,
    CostFacts,
    OperationsFacts,
    ProductFacts,
    ReaderFacts,
    UseFacts,
)
from meshhouse.catalog.gather.known import Sources
from meshhouse.usage import Cost, Costs, Usage, store_of
from meshhouse.usage.costs import DAYS, costs_of
from meshhouse.usage.usage import LONG, PEOPLE, USER, builds, first_published, usage_of


@dataclass(frozen=True)
class Operations:
    """Usage and costs of all products; each source is read once."""

    sources: Sources

    @cached_property
    def _kept(self) -> Any:
        return store_of(self.sources.repository).read(self.sources.now - LONG)

    @cached_property
    def _products(self) -> list[Any]:
        return [each.product for each in self.sources.products]

    @cached_property
    def _publications(self) -> list[Mapping[str, Any]]:
        return [entry for each in self.sources.products for entry in each.history]

    @cached_property
    def _builds(self) -> list[Any]:
        heads = {each.relation: each.head for each in self.sources.products}
        return builds(self._publications, heads, self._products)

    @cached_property
    def usages(self) -> Mapping[str, Usage]:
        """Relation -> who reads it."""
        published = first_published(self._publications)
        return usage_of(self._products, self._kept, self._builds, published, self.sources.now)

    @cached_property
    def costs(self) -> Costs:
        """What everything costs."""
        since = self.sources.now - timedelta(days=DAYS)
        reads = [each for each in (*self._kept.reads, *self._builds) if each.at >= since]
        sizes = {
            each.relation: each.head.bytes or 0
            for each in self.sources.products
            if each.head.is_published
        }
        runs = self.sources.engine.ledger.entries("runs", since=since)
        return costs_of(self._products, sizes, runs, reads, since)

    def added(self, product: ProductFacts) -> ProductFacts:
        """The document of a product with its use and cost."""
        use = self.usages.get(product.relation)
        if use is None:
            return product
        cost = self.costs.products.get(product.relation, Cost())
        readers = tuple(_with_reads(each, use) for each in product.readers)
        return replace(product, use=_use(use), readers=readers, cost=self._cost(cost))

    def facts(self, products: Sequence[ProductFacts]) -> OperationsFacts:
        """The document of the whole mesh."""
        now = self.sources.now
        since = now - timedelta(days=DAYS)
        landings = self.sources.engine.ledger.entries("landings", since=since)
        waits = sorted(_waits(products, landings))
        days = Counter(
            entry.at.date()
            for each in products
            for entry in each.publications
            if entry.kind == "publish" and entry.at >= since
        )
        return OperationsFacts(
            since=since.date(),
            publications=tuple(_every_day(days, since.date(), now.date())),
            latency_p50_seconds=quantile(waits, 0.5),
            latency_p95_seconds=quantile(waits, 0.95),
            cost_of_domains=self._listed(self.costs.domains),
            cost_of_consumers=self._listed(_without_names(self.costs.consumers)),
            cost=self._cost(self.costs.total),
            ledger_entries=max((each.ledger_position for each in products), default=0),
        )

    def _listed(self, found: Mapping[str, Cost]) -> tuple[tuple[str, CostFacts], ...]:
        """The most expensive first."""
        ordered = sorted(found.items(), key=lambda each: (-each[1].milliseconds, each[0]))
        return tuple((name, self._cost(cost)) for name, cost in ordered)

    def _cost(self, cost: Cost) -> CostFacts:
        """Credits are None, not zero, where nobody knows them."""
        spent = cost.credits if self.costs.knows_credits else None
        return CostFacts(bytes=cost.bytes, seconds=cost.seconds, credits=spent)


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest value that so large a share of the values does not exceed; None without values.

    Args:
        ordered: sorted values.
        share: from 0 to 1.
    """
    if not ordered:
        return None
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def _waits(
    products: Iterable[ProductFacts], landings: Iterable[Mapping[str, Any]]
) -> Iterator[float]:
    """Seconds from each landing of rows to the first publication of each product that reads it."""
    landed: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for entry in landings:
        if entry["rows"]:
            landed[str(entry["raw_table"]).lower()].append(entry)
    for product in products:
        shown = sorted(
            (each.number, each.at) for each in product.publications if each.kind == "publish"
        )
        numbers = [number for number, _ in shown]
        for topic in product.topics:
            for entry in landed.get(topic.lower(), ()):
                place = bisect_right(numbers, int(entry["number"]))
                if place < len(shown):
                    seconds = (shown[place][1] - entry["finished_at"]).total_seconds()
                    yield max(0.0, seconds)  # clocks of two machines may differ


def _every_day(counts: Mapping[date, int], first: date, last: date) -> Iterator[tuple[date, int]]:
    for number in range((last - first).days + 1):
        day = first + timedelta(days=number)
        yield day, counts.get(day, 0)


def _with_reads(reader: ReaderFacts, use: Usage) -> ReaderFacts:
    found = use.consumers.get(reader.domain)
    if found is None:
        return reader
    return replace(reader, reads_30_days=found.reads_30_days, last_read=found.last_read)


def _use(use: Usage) -> UseFacts:
    people = [each for name, each in use.consumers.items() if name.startswith(USER)]
    consumers = [
        ConsumerFacts(name, each.reads_30_days, each.reads_90_days, each.last_read)
        for name, each in use.consumers.items()
        if not name.startswith(USER)
    ]
    if people:
        consumers.append(
            ConsumerFacts(
                PEOPLE,
                sum(each.reads_30_days for each in people),
                sum(each.reads_90_days for each in people),
                max((each.last_read for each in people if each.last_read), default=None),
            )
        )
    return UseFacts(
        state=use.state,
        why=use.why,
        consumers=tuple(consumers),
        columns_30_days=tuple(use.columns_30_days.items()),
        reads_30_days=use.reads_30_days,
        recorded_since=use.recorded_since.date() if use.recorded_since else None,
    )


def _without_names(consumers: Mapping[str, Cost]) -> dict[str, Cost]:
    """Costs of consumers, those of people in one sum."""
    found: dict[str, Cost] = defaultdict(Cost)
    for name, cost in consumers.items():
        found[PEOPLE if name.startswith(USER) else name] += cost
    return found
