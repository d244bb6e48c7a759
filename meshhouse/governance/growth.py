"""What changed in a table beside what grows every day.

Belongs here: comparing statistics of a published table and a candidate so that new rows never look
like a change. Not here: measuring (statistics.py), or what a difference means (rules/).

New rows move sums, averages, largest values and common values. They never change rows of old
periods, and they never multiply all values by one factor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from meshhouse.governance.comparison import Comparison
from meshhouse.governance.statistics_compared import are_comparable, rewritten_periods

LATE_DAYS = 3
"""Days before the newest one in which late rows are expected, unless the contract promises it."""
ALL = 0.9
"""Share of old periods from which all of them count as rewritten: some are empty or zero."""
_FIGURES = ("nulls", "min", "max", "sum", "negative", "top")
"""Figures that engines agree on if values are equal; numbers of distinct values are estimates."""
Column = Mapping[str, Any]


@dataclass(frozen=True)
class Settled:
    """The old periods of a table, in which rows should no longer change."""

    periods: int
    changed: Mapping[str, tuple[int, int]]
    """Period -> its rows in the published table and in the candidate, if rows or values differ."""

    @property
    def is_rewritten(self) -> bool:
        """Whether values changed in nearly all periods, while the number of rows did not."""
        equal = [each for each, (old, new) in self.changed.items() if old == new]
        return self.periods >= 1 and len(equal) >= ALL * self.periods


def settled(comparison: Comparison) -> Settled | None:
    """The old periods; None if the two tables have no periods that can be compared."""
    before, after = _pair(comparison)
    changed = rewritten_periods(before.get("periods"), after.get("periods"))
    if changed is None:
        return None
    unit = max((each["periods"]["unit"] for each in (before, after)), key=_LENGTHS.__getitem__)
    length = -_LENGTHS[unit]
    names, others = (
        {name[:length] for name in each["periods"]["counts"] if name != "null"}
        for each in (before, after)
    )
    if not names or not others:
        return None
    first, last = _settled_days(max(names), comparison)
    # A first day that moves is another kind of change, P12.
    first = max(first[:length], min(others))
    old = {each for each in names if first <= each < last[:length]}
    if not old:
        return None
    return Settled(len(old), {each: rows for each, rows in changed.items() if each in old})


def columns(comparison: Comparison) -> dict[str, tuple[Column, Column]]:
    """Column -> its statistics before and after, for columns of both that were measured."""
    return _columns(*_pair(comparison))


def rows(comparison: Comparison) -> tuple[int, int] | None:
    """The rows of the published table and of the candidate; None if they were not measured."""
    before, after = comparison.before_statistics, comparison.after_statistics
    return (int(before["rows"]), int(after["rows"])) if before and after else None


def is_same(comparison: Comparison, column: str | None = None) -> bool:
    """Whether statistics show that the values of old are unchanged, of one column or of all.

    False also if nothing was measured.
    """
    old = settled(comparison)
    if old is not None and not old.changed:
        return True
    counts = rows(comparison)
    if counts is None or counts[0] != counts[1] or not counts[0]:
        return False
    # Equal figures are equal on any engines, while different ones may be the engine's.
    found = _columns(comparison.before_statistics or {}, comparison.after_statistics or {})
    if column is not None:
        found = {name: pair for name, pair in found.items() if name.lower() == column.lower()}
    return bool(found) and all(
        before.get(each) == after.get(each) for before, after in found.values() for each in _FIGURES
    )


def factor(comparison: Comparison, column: str) -> float | None:
    """The factor by which the average of a column changed; None if it has no average."""
    counts, pair = rows(comparison), columns(comparison).get(column)
    if counts is None or pair is None:
        return None
    before, after = (
        _mean(number(each.get("sum")), count - int(each.get("nulls") or 0))
        for each, count in zip(pair, counts, strict=True)
    )
    return after / before if before and after is not None else None


def is_restated(comparison: Comparison, column: str) -> bool:
    """Whether new rows cannot explain the sum of a column, so that old rows have other values.

    New values are between the smallest and the largest one of the candidate.
    """
    counts, pair = rows(comparison), columns(comparison).get(column)
    if counts is None or pair is None:
        return False
    before, after = (number(each.get("sum")) for each in pair)
    low, high = (number(pair[1].get(each)) for each in ("min", "max"))
    if before is None or after is None or low is None or high is None:
        return False
    nulls = [int(each.get("nulls") or 0) for each in pair]
    new = counts[1] - nulls[1] - (counts[0] - nulls[0])
    if new < 0 or nulls[1] < nulls[0]:
        return False
    margin = 1e-9 * max(abs(before), abs(after))
    return not before + new * low - margin <= after <= before + new * high + margin


def ratio(pair: tuple[Column, Column], figure: str) -> float | None:
    """By which factor a column's `min` or `max` changed; None if it is zero or not a number."""
    before, after = (number(each.get(figure)) for each in pair)
    return after / before if before and after is not None else None


def number(value: Any) -> float | None:
    """A figure as the statistics store it, as a number."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


_LENGTHS = {"day": -10, "month": -7, "year": -4}
"""Minus the characters that name a period, so that a longer period is larger."""


def _pair(comparison: Comparison) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Both statistics; empty if they cannot be compared."""
    before, after = comparison.before_statistics, comparison.after_statistics
    if comparison.after is None or before is None or after is None:
        return {}, {}
    return (before, after) if are_comparable(before, after) else ({}, {})


def _columns(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> dict[str, tuple[Column, Column]]:
    others = after.get("columns", {})
    found = before.get("columns", {}).items()
    return {name: (column, others[name]) for name, column in found if name in others}


def _mean(total: float | None, count: int) -> float | None:
    return None if total is None or not count else total / count


def _settled_days(newest: str, comparison: Comparison) -> tuple[str, str]:
    """The first day that must be kept, and the first one in which rows may still change."""
    late, kept = LATE_DAYS, None
    if comparison.after is not None:
        late = int(comparison.after.get("promises.restated_within_days", LATE_DAYS))
        kept = comparison.after.get("promises.retention_days")
    first = comparison.today - timedelta(days=int(kept)) if kept else date.min
    last = date.fromisoformat(f"{newest}-01-01"[:10]) - timedelta(days=late)
    return first.isoformat(), last.isoformat()
