"""Whether statistics of two columns look like those of one column.

Belongs here: comparing small statistics of columns. Not here: measuring (statistics.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

_SHARES = 0.02
"""How far shares of nulls or of values are from each other in two publications of one column."""
_MEANS = 0.05
_DISTINCT = 0.8
"""Approximate counts of distinct values are up to 5 % wrong, and rows come and go."""
_LEAST_ROWS = 10
"""With fewer rows, equal statistics are chance."""


@dataclass(frozen=True)
class Measured:
    """The statistics of one column."""

    rows: int
    nulls: int
    distinct: int
    low: Any
    high: Any
    total: float | None
    top: Mapping[str, int] | None
    """Value as text -> rows that have it; None if there are many values."""

    @property
    def null_share(self) -> float:
        """The share of nulls, from 0 to 1."""
        return self.nulls / self.rows if self.rows else 0.0

    @property
    def filled(self) -> int:
        """Rows with a value."""
        return self.rows - self.nulls

    @property
    def mean(self) -> float | None:
        """The mean of a number."""
        return None if self.total is None or not self.filled else self.total / self.filled

    @property
    def values(self) -> tuple[str, ...]:
        """The values that are known, as text: all of them, or the lowest and the highest."""
        if self.top is not None:
            return tuple(self.top)
        return tuple(str(each) for each in (self.low, self.high) if each is not None)

    def share(self, value: str) -> float:
        """The share of rows that have a value, from 0 to 1; 0 if it is not known."""
        return (self.top or {}).get(value, 0) / self.rows if self.rows else 0.0


def measured(statistics: Mapping[str, Any] | None, name: str) -> Measured | None:
    """The statistics of a column; None if it was not measured.

    Args:
        statistics: of a whole table; see statistics.py.
        name: of the column, in any letter case.
    """
    columns = (statistics or {}).get("columns") or {}
    found = columns.get(name)
    if found is None:
        found = next((each for key, each in columns.items() if key.lower() == name.lower()), None)
    if not statistics or found is None:
        return None
    top = found.get("top")
    return Measured(
        rows=int(statistics["rows"]),
        nulls=int(found.get("nulls") or 0),
        distinct=int(found.get("distinct") or 0),
        low=found.get("min"),
        high=found.get("max"),
        total=_number(found.get("sum")),
        top=None if top is None else {str(value): int(count) for value, count in top},
    )


def are_alike(before: Measured, after: Measured) -> bool:
    """Whether two measurements may be of one column, with rows that come and go between them."""
    if min(before.rows, after.rows) < _LEAST_ROWS or not before.values or not after.values:
        # Of personal columns no values are measured: numbers of values alone show nothing.
        return False
    return (
        abs(before.null_share - after.null_share) <= _SHARES
        and _are_near(before.distinct, after.distinct, _DISTINCT)
        and _have_near_means(before, after)
        and _have_near_values(before, after)
    )


def _have_near_means(before: Measured, after: Measured) -> bool:
    old, new = before.mean, after.mean
    if old is None or new is None:
        return old is new
    return abs(old - new) <= _MEANS * max(abs(old), abs(new))


def _have_near_values(before: Measured, after: Measured) -> bool:
    if before.top is not None and after.top is not None:
        values = {*before.top, *after.top}
        off = sum(abs(before.share(each) - after.share(each)) for each in values)
        return off <= 2 * _SHARES
    if before.rows == after.rows:
        return (before.low, before.high) == (after.low, after.high)
    ends = [_place(each) for each in (before.low, before.high, after.low, after.high)]
    known = [each for each in ends if each is not None]
    if len(known) < len(ends):
        # Texts have no distance: one of both ends must be the same.
        return before.low == after.low or before.high == after.high
    low, high, new_low, new_high = known
    width = max(high - low, new_high - new_low)
    return abs(low - new_low) <= width / 10 and abs(high - new_high) <= width / 10


def _are_near(one: int, other: int, share: float) -> bool:
    return min(one, other) >= share * max(one, other)


def _place(value: Any) -> float | None:
    """A number, or a date as a number of days; None for other values."""
    number = _number(value)
    if number is None and isinstance(value, str):
        try:
            return float(date.fromisoformat(value[:10]).toordinal())
        except ValueError:
            return None
    return number


def _number(value: Any) -> float | None:
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
