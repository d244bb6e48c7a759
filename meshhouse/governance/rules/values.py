"""Chapter 5: accepted values of a column, and the checks that enforce them."""

from __future__ import annotations

from collections.abc import Iterator

from meshhouse.governance.change import Change, Verdict, listed
from meshhouse.governance.comparison import Comparison, change
from meshhouse.governance.contract import Contract, accepted_by
from meshhouse.governance.readers import Read

_WANTED = frozenset({"=", "in", "or"})
"""Operators of conditions that another value does not meet."""
_UNWANTED = frozenset({"<>", "not in"})
"""Operators of conditions that no row meets because a value is gone."""


def accepted_values(comparison: Comparison) -> Iterator[Change]:
    """V1, V2, V3: a value is no longer accepted, is accepted now, or nothing restricts values."""
    after = comparison.after
    if after is None:
        return
    for pair in comparison.columns.pairs:
        column = pair.old
        old, was_checked = _accepted(comparison.before, column, only_enabled=True)
        # A check that is switched off is V13, not V3.
        new, is_checked = _accepted(after, pair.new, only_enabled=False)
        if old and (not new or (was_checked and not is_checked)):
            yield _unchecked(comparison, column, old)
        elif old:
            yield from _removed(comparison, column, old - new)
            yield from _added(comparison, column, new - old)


def _accepted(contract: Contract, column: str, only_enabled: bool) -> tuple[frozenset[str], bool]:
    """The values that a column may have, and whether a check enforces them."""
    checks = [
        each
        for each in contract.checks.values()
        if str(each.get("column", "")).lower() == column.lower()
        and each.get("values")
        and (each.get("enabled", True) or not only_enabled)
    ]
    declared = contract.columns[column].get("accepted_values")
    values = declared or accepted_by(checks) or ()
    return frozenset(map(str, values)), bool(checks)


def _unchecked(comparison: Comparison, column: str, old: frozenset[str]) -> Change:
    return change(
        "V3", column,
        f"Nothing checks any more that `{column}` has one of the values {listed(sorted(old))}.",
        "Values that no reader expects can arrive.",
        Verdict.BREAKING, comparison.readers.hits(column),
    )  # fmt: skip


def _removed(comparison: Comparison, column: str, gone: frozenset[str]) -> Iterator[Change]:
    if not gone:
        return

    def names_it(read: Read) -> bool:
        # A check that lists the values it accepts finds nothing if one of them no longer occurs.
        is_met = bool(read.check) and bool(read.operators) and read.operators <= _UNWANTED
        return not is_met and not gone.isdisjoint(read.literals)

    hits = comparison.readers.hits(column, names_it)
    yield change(
        "V1", column,
        f"Column `{column}` no longer has the accepted values {listed(sorted(gone))}.",
        "Conditions that name these values find nothing.",
        comparison.if_read(hits), hits,
    )  # fmt: skip


def _added(comparison: Comparison, column: str, new: frozenset[str]) -> Iterator[Change]:
    if not new:
        return

    def tells_values_apart(read: Read) -> bool:
        # A column that is only passed on or counted takes a new value without harm, and so does a
        # condition that names the values it wants.
        names_wanted = bool(read.operators) and read.operators <= _WANTED
        makes_rows_or_columns = "join" in read.how or "pivot" in read.operators
        return makes_rows_or_columns or (bool(read.literals) and not names_wanted)

    hits = comparison.readers.hits(column, tells_values_apart)
    yield change(
        "V2", column,
        f"Column `{column}` has the new accepted values {listed(sorted(new))}.",
        "A `case`, a join or a `not in` that lists the old values does not expect the new ones.",
        comparison.if_read(hits), hits,
    )  # fmt: skip


RULES = (accepted_values,)
