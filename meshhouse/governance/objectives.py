"""Service-level objectives: what a run measures of them, and what is left of the error budget.

Belongs here: pure functions from facts and measurements to numbers. Not here: reading or recording
measurements (runs/objectives.py), or checks that stop a publication (audit/).

Three objectives are the greatest value that keeps the promise:

- `refreshed_within_hours`: hours since the refresh before this one, or since the last one where
  the run failed.
- `latency_minutes`: minutes from the newest event to its publication.
- `retention_days`: age of the oldest row, by the column `retained_on`.

Two are the least value that keeps it:

- `completeness_percent`: share of values that are not null, over all columns outside the grain.
- `availability_percent`: share of the last 30 days in which the product was published and fresh.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from meshhouse.repository import Product, keys

WINDOW = timedelta(days=30)
"""The time over which availability and error budgets count."""
AVAILABILITY = 99.0
"""The share of the window in which each objective must hold, unless the product promises another:
`availability_percent`."""
FRESHNESS = keys.REFRESHED_WITHIN_HOURS.name
COMPLETENESS = keys.COMPLETENESS_PERCENT.name
LATENCY = keys.LATENCY_MINUTES.name
RETENTION = keys.RETENTION_DAYS.name
AVAILABLE = keys.AVAILABILITY_PERCENT.name
OBJECTIVES = (FRESHNESS, COMPLETENESS, LATENCY, RETENTION, AVAILABLE)
_AT_LEAST = (COMPLETENESS, AVAILABLE)


@dataclass(frozen=True)
class Measurement:
    """One objective of one product, measured once."""

    objective: str
    target: float
    measured: float | None
    """None if it could not be measured."""
    at: datetime
    since: datetime
    """For freshness, the last refresh; for latency, the newest event; otherwise `at`."""

    @property
    def met(self) -> bool | None:
        """Whether the promise was kept; None if it was not measured."""
        if self.measured is None:
            return None
        if self.objective in _AT_LEAST:
            return self.measured >= self.target
        return self.measured <= self.target


@dataclass(frozen=True)
class Look:
    """What a run found of one product."""

    at: datetime
    """When the run ended."""
    refreshed: bool
    """Whether the run published the product or found it unchanged."""
    published: bool
    """Whether the run published it."""
    last_refresh: datetime | None = None
    """When it was last refreshed, as the ledger says; for a product that was not refreshed now."""
    statistics: Mapping[str, Any] | None = None
    """Of what the run published; see statistics.py."""
    newest_landing: datetime | None = None
    """When the newest events that the domain reads landed."""


def measure(product: Product, look: Look, before: Sequence[Measurement]) -> list[Measurement]:
    """Measures every objective of a product that a run can measure.

    Args:
        product: with its promises.
        look: what the run found.
        before: earlier measurements of the product, in the order of the ledger.
    """
    found = [
        each
        for each in (
            _freshness(product, look, before),
            _completeness(product, look),
            _latency(product, look, before),
            _retention(product, look),
        )
        if each is not None
    ]
    available = _available(product, look, [*before, *found])
    return [*found, available] if available else found


def _freshness(product: Product, look: Look, before: Sequence[Measurement]) -> Measurement | None:
    target = product.promises.get(FRESHNESS)
    earlier = [each.since for each in before if each.objective == FRESHNESS]
    last = earlier[-1] if earlier else look.last_refresh
    if target is None or (last is None and not look.refreshed):
        return None
    # A clock that went back makes no negative age.
    hours = max(0.0, (look.at - last).total_seconds() / 3600) if last else 0.0
    since = look.at if look.refreshed else last
    assert since is not None
    return Measurement(FRESHNESS, float(target), round(hours, 3), look.at, since)


def _completeness(product: Product, look: Look) -> Measurement | None:
    target = product.promises.get(COMPLETENESS)
    if target is None or not look.published:
        return None
    return Measurement(COMPLETENESS, float(target), _filled(product, look), look.at, look.at)


def _filled(product: Product, look: Look) -> float | None:
    grain = {name.lower() for name in product.grain}
    rows = (look.statistics or {}).get("rows") or 0
    nulls = [
        column["nulls"]
        for name, column in (look.statistics or {}).get("columns", {}).items()
        if name.lower() not in grain
    ]
    if not rows or not nulls:
        return None
    return round(100.0 * (1 - sum(nulls) / (rows * len(nulls))), 3)


def _latency(product: Product, look: Look, before: Sequence[Measurement]) -> Measurement | None:
    target, column = product.promises.get(LATENCY), product.promises.get(keys.MEASURED_ON.name)
    if target is None or not look.published:
        return None
    newest = _edge(look, column, "max") if column else look.newest_landing
    if newest is None:
        return Measurement(LATENCY, float(target), None, look.at, look.at)
    earlier = [each for each in before if each.objective == LATENCY and each.measured is not None]
    if earlier and newest <= earlier[-1].since:
        return None  # published again without new events: there was nothing to wait for
    minutes = max(0.0, (look.at - newest).total_seconds() / 60)
    return Measurement(LATENCY, float(target), round(minutes, 3), look.at, newest)


def _retention(product: Product, look: Look) -> Measurement | None:
    target, column = product.promises.get(RETENTION), product.promises.get(keys.RETAINED_ON.name)
    if target is None or column is None or not look.published:
        return None
    oldest = _edge(look, column, "min")
    days = None if oldest is None else round((look.at - oldest).total_seconds() / 86_400, 3)
    return Measurement(RETENTION, float(target), days, look.at, look.at)


def _available(product: Product, look: Look, measured: Sequence[Measurement]) -> Measurement | None:
    target = product.promises.get(AVAILABLE)
    fresh = [each for each in measured if each.objective == FRESHNESS]
    if target is None or not fresh:
        return None
    observed = look.at - max(fresh[0].since, look.at - WINDOW)
    share = 100.0
    if observed > timedelta(0):
        share -= 100.0 * (_bad(_states(fresh), look.at) / observed)
    return Measurement(AVAILABLE, float(target), round(share, 3), look.at, look.at)


def _edge(look: Look, column: str, which: str) -> datetime | None:
    """The smallest or largest value of a column with days or times, in UTC."""
    columns = (look.statistics or {}).get("columns", {})
    value = next((each[which] for name, each in columns.items() if name == column), None)
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


# Error budgets


@dataclass(frozen=True)
class Budget:
    """The error budget of one objective over the window."""

    allowed: timedelta
    """How long the promise may be broken in the window."""
    spent: timedelta
    """How long it was."""

    @property
    def left_percent(self) -> float:
        """The share of the budget that is left, from 0 to 100."""
        if not self.allowed:
            return 0.0 if self.spent else 100.0
        return round(max(0.0, 100.0 * (1 - self.spent / self.allowed)), 1)


def budget(
    measurements: Sequence[Measurement], now: datetime, percent: float = AVAILABILITY
) -> Budget:
    """The error budget of one objective.

    A measurement holds until the next one. A refresh holds until the promised age is over. So a
    product that nobody runs spends the budget of its freshness as well.

    Args:
        measurements: of one objective, in the order of the ledger, which clocks do not decide.
        now: the end of the window.
        percent: the share of the window in which the promise must hold.
    """
    return Budget(WINDOW * (1 - percent / 100), _bad(_states(measurements), now))


def days(measurements: Sequence[Measurement], now: datetime) -> tuple[tuple[date, str], ...]:
    """How one objective was kept on each of the last 30 days in UTC, oldest first.

    A day is `broken` if the promise was broken at any time of it, otherwise `kept` if a measurement
    holds on it, otherwise `not measured`. Measurements hold as they do for `budget`.
    """
    start, end = now - WINDOW, now
    measured: set[date] = set()
    broken: set[date] = set()
    for begin, bad_from in reversed(list(_states(measurements))):
        begin = max(begin, start)
        if begin <= end:
            measured.update(_dates(begin, end))
        # What turns bad when the next measurement begins was never bad.
        if bad_from is not None and (bad_from < end or bad_from == end == now):
            broken.update(_dates(max(bad_from, start), end))
        end = min(end, begin)
    last = now.astimezone(UTC).date()
    every = [last - timedelta(days=back) for back in reversed(range(WINDOW.days))]
    return tuple(
        (day, "broken" if day in broken else "kept" if day in measured else "not measured")
        for day in every
    )


def _dates(begin: datetime, end: datetime) -> Iterator[date]:
    first, last = (each.astimezone(UTC).date() for each in (begin, end))
    for day in range((last - first).days + 1):
        yield first + timedelta(days=day)


def _states(measurements: Sequence[Measurement]) -> Iterator[tuple[datetime, datetime | None]]:
    """Begin of each state, and when it turns bad: at once, later, or (None) with the next one."""
    for each in measurements:
        if each.objective == FRESHNESS:
            yield each.since, each.since + timedelta(hours=each.target)
        elif each.met is not None:
            yield each.at, None if each.met else each.at


def _bad(states: Iterator[tuple[datetime, datetime | None]], now: datetime) -> timedelta:
    """How long states were bad in the window.

    The order is that of the ledger. Where a clock went back, a state ends when a later one begins,
    so that no time counts twice.
    """
    start, end, spent = now - WINDOW, now, timedelta(0)
    for begin, bad_from in reversed(list(states)):
        if bad_from is not None and bad_from < end:
            spent += max(timedelta(0), end - max(bad_from, start))
        end = min(end, max(begin, start))
    return spent
