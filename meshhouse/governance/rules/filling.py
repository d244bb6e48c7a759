"""Chapter 1: columns that are filled with something else, with the same name and type.

Not here: columns that are removed, renamed, added or moved (columns.py).
"""

from __future__ import annotations

from collections.abc import Iterator

from meshhouse.governance.alignment import Pair
from meshhouse.governance.change import Change, Verdict
from meshhouse.governance.comparison import Comparison, change
from meshhouse.governance.likeness import Measured, are_alike, measured
from meshhouse.governance.shape import both_shapes, changed_values

_CHANCE = 0.001
"""The likelihood below which equal values in all rows are not chance."""


def swapped(comparison: Comparison) -> Iterator[Change]:
    """S9: two columns of equal type hold each other's values."""
    for one, other in comparison.columns.swapped:
        hits = sorted({*comparison.readers.hits(one), *comparison.readers.hits(other)})
        yield change(
            "S9", one,
            f"Columns `{one}` and `{other}` hold each other's values.",
            "Every figure from either column is wrong, and no query fails.",
            Verdict.FORBIDDEN, hits, is_silent=True,
        )  # fmt: skip


def other_source(comparison: Comparison) -> Iterator[Change]:
    """S10: a column comes from other columns than before.

    Equal statistics make it minor. Without them, or with others, it must be confirmed.
    """
    found = list(other_roots(comparison))
    explained = _explained(comparison) if found else set()
    for name, before, after in found:
        if name in explained:
            continue
        is_alike = _is_alike(comparison, name)
        hits = comparison.readers.hits(name)
        yield change(
            "S10", name,
            f"Column `{name}` is computed from {_sources(after)} instead of {_sources(before)}.",
            "Its values look as before." if is_alike
            else "Its values may mean something else: confirm that they mean the same.",
            Verdict.MINOR if is_alike else Verdict.BREAKING, hits, is_silent=True,
        )  # fmt: skip


def other_roots(
    comparison: Comparison,
) -> Iterator[tuple[str, frozenset[str], frozenset[str]]]:
    """Columns that come from other base columns: name, base columns before and after.

    The SQL decides; where it cannot be followed, the roots that the contracts hold.
    """
    if both_shapes(comparison) is not None:
        for name, before, after in changed_values(comparison):
            if before.columns != after.columns:
                yield name, before.columns, after.columns
        return
    for pair in comparison.columns.kept:
        old, new = pair.before.get("roots"), pair.after.get("roots")
        if old is not None and new is not None and {*old} != {*new}:
            yield pair.old.lower(), frozenset(old), frozenset(new)


def emptied(comparison: Comparison) -> Iterator[Change]:
    """S13: a column with many values now has only one, or only nulls."""
    for pair in comparison.columns.pairs:
        after = measured(comparison.after_statistics, pair.new)
        if after is not None and is_emptied(comparison, pair):
            value = "is null" if not after.filled else f"is `{after.low}`"
            yield change(
                "S13", pair.old,
                f"Column `{pair.old}` {value} in every row; it had many values.",
                "Reports show one value, or nothing, and no query fails.",
                Verdict.FORBIDDEN, comparison.readers.hits(pair.old), is_silent=True,
            )  # fmt: skip


def is_emptied(comparison: Comparison, pair: Pair) -> bool:
    """Whether a column lost all its values, or all except one, and chance does not explain it."""
    before = measured(comparison.before_statistics, pair.old)
    after = measured(comparison.after_statistics, pair.new)
    if before is None or after is None or not after.rows:
        return False
    if not after.filled:
        return bool(before.filled) and _chance(before.null_share, after.rows) < _CHANCE
    # A column with nulls beside one value was counted, so that its distinct values are exact.
    return (
        before.distinct > 1
        and after.distinct == 1
        and not after.nulls
        and _chance(_largest_share(before), after.rows) < _CHANCE
    )


def _largest_share(column: Measured) -> float:
    """The share of the commonest value; without known values, of one of very many."""
    if column.top is None:
        return 1 / column.distinct
    return max(column.top.values(), default=0) / column.rows


def _chance(share: float, rows: int) -> float:
    return share ** min(rows, 1000)


def _is_alike(comparison: Comparison, name: str) -> bool:
    before = measured(comparison.before_statistics, name)
    after = measured(comparison.after_statistics, name)
    return before is not None and after is not None and are_alike(before, after)


def _explained(comparison: Comparison) -> set[str]:
    """Columns whose other source is part of another change: keys, swapped and emptied columns."""
    found = {name.lower() for name in comparison.before.grain}
    found |= {name.lower() for pair in comparison.columns.swapped for name in pair}
    found |= {pair.old.lower() for pair in comparison.columns.pairs if is_emptied(comparison, pair)}
    return found


def _sources(columns: frozenset[str]) -> str:
    return ", ".join(f"`{each}`" for each in sorted(columns)) or "a constant"


RULES = (swapped, other_source, emptied)
