"""Who reads products, what they cost, and how quickly events become products.

Belongs here: joining usage (usage/) and the ledger's landings with products. Not here: how reads
are recorded or costs are divided (usage/).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
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
from meshhouse.catalog.gather.known import Known, Sources, midnight
from meshhouse.repository import Product, Repository
from meshhouse.usage import Cost, Costs, Kept, Usage, store_of
from meshhouse.usage.costs import DAYS, Tally
from meshhouse.usage.reads import Read
from meshhouse.usage.usage import LONG, PEOPLE, USER, builds, first_published, usage_of


@dataclass(frozen=True)
class Operations:
    """Usage and costs of all products; each source is read once."""

    sources: Sources

    @cached_property
    def _end(self) -> datetime:
        return midnight(self.sources.now)

    @cached_property
    def kept(self) -> Kept:
        """The recorded reads that count."""
        return recorded_reads(self.sources.repository, self.sources.now)

    @cached_property
    def _products(self) -> list[Product]:
        return [each.product for each in self.sources.products]

    @cached_property
    def _publications(self) -> list[Mapping[str, Any]]:
        return [entry for each in self.sources.products for entry in each.history]

    @cached_property
    def _builds(self) -> list[Read]:
        heads = {each.relation: each.head for each in self.sources.products}
        return builds(self._publications, heads, self._products)

    @cached_property
    def usages(self) -> Mapping[str, Usage]:
        """Relation -> who reads it."""
        published = first_published(self._publications)
        return usage_of(
            self._products, self.kept, self._builds, published, self.sources.now, self._end
        )

    @cached_property
    def tally(self) -> Tally:
        """What runs and reads add up to."""
        since = first_day(self.sources.now)
        reads = [each for each in (*self.kept.reads, *self._builds) if each.at >= since]
        runs = self.sources.engine.ledger.entries("runs", since=since)
        tally = Tally()
        tally.add(self._products, runs, reads)
        return tally

    @cached_property
    def costs(self) -> Costs:
        """What everything costs."""
        return self.tally.costs(sizes_of(self.sources.products), first_day(self.sources.now))

    @cached_property
    def landings(self) -> Sequence[Mapping[str, Any]]:
        """The landings that count, of all domains."""
        return self.sources.engine.ledger.entries("landings", since=first_day(self.sources.now))

    def added(self, product: ProductFacts) -> ProductFacts:
        """The document of a product with its use and cost."""
        use = self.usages.get(product.relation)
        if use is None:
            return product
        cost = self.costs.products.get(product.relation, Cost())
        readers = tuple(_with_reads(each, use) for each in product.readers)
        return replace(product, use=_use(use), readers=readers, cost=cost_facts(cost, self.costs))


def recorded_reads(repository: Repository, now: datetime) -> Kept:
    """The recorded reads that count in a catalog."""
    return store_of(repository).read(midnight(now) - LONG)


def first_day(now: datetime) -> datetime:
    """The beginning of the first day that figures of 30 days count."""
    return midnight(now) - timedelta(days=DAYS)


def sizes_of(products: Iterable[Known]) -> dict[str, int]:
    """Relation of what is published -> bytes."""
    return {each.relation: each.head.bytes or 0 for each in products if each.head.is_published}


def publications_by_day(products: Iterable[ProductFacts], now: datetime) -> Counter[date]:
    """Day -> publications."""
    since = first_day(now)
    return Counter(
        entry.at.date()
        for each in products
        for entry in each.publications
        if entry.kind == "publish" and entry.at >= since
    )


def operations_facts(
    products: Sequence[ProductFacts],
    days: Mapping[date, int],
    waits: Sequence[float],
    costs: Costs,
    now: datetime,
) -> OperationsFacts:
    """The document of the whole mesh.

    Args:
        products: all documents.
        days: day -> publications.
        waits: of all products, sorted; see `waits_of`.
        costs: what everything costs.
        now: the time of the catalog.
    """
    since = first_day(now)
    return OperationsFacts(
        since=since.date(),
        publications=tuple(_every_day(days, since.date(), now.date())),
        latency_p50_seconds=quantile(waits, 0.5),
        latency_p95_seconds=quantile(waits, 0.95),
        cost_of_domains=_listed(costs.domains, costs),
        cost_of_consumers=_listed(_without_names(costs.consumers), costs),
        cost=cost_facts(costs.total, costs),
        ledger_entries=max((each.ledger_position for each in products), default=0),
    )


def _listed(found: Mapping[str, Cost], costs: Costs) -> tuple[tuple[str, CostFacts], ...]:
    """The most expensive first."""
    ordered = sorted(found.items(), key=lambda each: (-each[1].milliseconds, each[0]))
    return tuple((name, cost_facts(cost, costs)) for name, cost in ordered)


def cost_facts(cost: Cost, costs: Costs) -> CostFacts:
    """A cost as a document. Credits are None, not zero, where nobody knows them."""
    spent = cost.credits if costs.knows_credits else None
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


def waits_of(
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
