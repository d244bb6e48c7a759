"""Chapter 6: how far back the rows of a product reach, and who looks that far."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from meshhouse.governance import growth
from meshhouse.governance.change import Change, Verdict
from meshhouse.governance.comparison import Comparison, change
from meshhouse.governance.readers import Read
from meshhouse.governance.statistics_compared import found_again

_TIMES = ("date", "timestamp")
_DAYS = {"day": 1, "week": 7, "month": 31, "quarter": 92, "year": 366}
_INTERVAL = re.compile(r"^(\d+)\s*(day|week|month|quarter|year)s?$", re.IGNORECASE)
_FOUND_AGAIN = 0.99
"""Below this share of the keys, the recipe of the key changed (K8)."""


def first_day(comparison: Comparison) -> Iterator[Change]:
    """P12: the history begins later."""
    after = comparison.after
    if after is None:
        return
    old, new = (each.get("promises.history_from") for each in (comparison.before, after))
    if old and (not new or str(new) > str(old)):
        begins = f"on {new} instead of {old}" if new else f"on {old} is no longer promised"
        yield _later(comparison, "promises.history_from", f"That the history begins {begins}."
                     if not new else f"The history begins {begins}.")  # fmt: skip
        return
    yield from _measured_first_day(comparison)


def _measured_first_day(comparison: Comparison) -> Iterator[Change]:
    before, after = comparison.before_statistics, comparison.after_statistics
    if not before or not after or not before.get("periods") or not after.get("periods"):
        return
    column = str(before["periods"]["column"])
    old, new = ((each["columns"].get(column) or {}).get("min") for each in (before, after))
    # An update moves a row to a later day, and then no row is missing.
    if not old or not new or str(new)[:10] <= str(old)[:10] or after["rows"] >= before["rows"]:
        return
    retention = comparison.before.get("promises.retention_days")
    if retention and str(new)[:10] <= str(comparison.today - timedelta(days=float(retention))):
        return
    what = f"The first value of `{column}` is {str(new)[:10]} instead of {str(old)[:10]}."
    yield _later(comparison, column, what)


def _later(comparison: Comparison, subject: str, what: str) -> Change:
    effect = "Trends and sums over all time lose their beginning."
    hits = comparison.readers.whole()
    return change("P12", subject, what, effect, Verdict.BREAKING, hits, is_silent=True)


def vanished_keys(comparison: Comparison) -> Iterator[Change]:
    """P14: keys vanish from a product that promises only to append rows."""
    after = comparison.after
    promises: dict[str, Any] = comparison.before.get("promises", {})
    if after is None or promises.get("changes") != "append" or "retention_days" in promises:
        return
    if after.get("promises.changes") != "append" or any(first_day(comparison)):
        return
    settled = growth.settled(comparison)
    if settled is not None and settled.changed:
        return  # rules/rows.py: old periods changed
    old, new = comparison.before_statistics, comparison.after_statistics
    share = found_again(old and old.get("keys"), new and new.get("keys"))
    if share is not None and _FOUND_AGAIN <= share < 1:
        yield change(
            "P14", "keys", "Rows were deleted, although the product promises only to append.",
            "Incremental readers keep rows that the product no longer has.",
            Verdict.BREAKING, comparison.readers.whole(), is_silent=True,
        )  # fmt: skip


_AFTER = frozenset({">", ">=", "between"})
_LOOSE = frozenset({"or", "?"})


def looks_back(comparison: Comparison, days: float) -> Callable[[Read], bool]:
    """Which reads belong to a reader that looks further back than some days.

    A reader looks that far unless it asks for times after intervals only, all within the days. A
    fixed day is not enough: it grows older than any retention. Times before an interval are not
    enough either, nor a condition that `or` makes one of two.
    """
    times = {
        name.lower()
        for name, column in comparison.before.columns.items()
        if str(column.get("type", "")).startswith(_TIMES)
    }
    compared: dict[str, list[str]] = defaultdict(list)
    for read in comparison.readers.reads:
        is_bound = bool(read.operators & _AFTER) and not read.operators & _LOOSE
        if read.column in times and "filter" in read.how and is_bound:
            compared[read.reader] += read.literals
    return lambda read: _days_back(compared.get(read.reader, [])) > days


def _days_back(literals: list[str]) -> float:
    """How far back intervals reach together, with what `date_trunc` adds; else infinity."""
    total = 0
    for literal in literals:
        match = _INTERVAL.match(literal.strip())
        if match is None:
            return math.inf
        total += (int(match[1]) + 1) * _DAYS[match[2].lower()]
    return total or math.inf


RULES = (first_day, vanished_keys)
