"""Chapter 3: columns that lose or gain nulls, and the values that replace missing ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from meshhouse.governance import growth
from meshhouse.governance.alignment import Pair
from meshhouse.governance.change import Change, Verdict
from meshhouse.governance.comparison import Comparison, change
from meshhouse.governance.contract import Contract
from meshhouse.governance.likeness import Measured, measured
from meshhouse.governance.rules.filling import is_emptied
from meshhouse.governance.rules.keys import ONLY_WARNED, Check, is_enabled, stops
from meshhouse.governance.shape import changed_values
from meshhouse.governance.type_changes import type_changes

_RARE = 0.01
"""The share of nulls up to which nulls that are new are minor."""
_CHECKS = frozenset({"missing", "not_null"})
_SENTINELS = frozenset({
    "", "-", "?", "n/a", "na", "none", "null", "nil", "unknown", "unk", "undefined", "missing",
    "-1", "-9", "-99", "-999", "-9999", "999", "9999", "99999", "999999",
    "0001-01-01", "1900-01-01", "1970-01-01", "2099-12-31", "9999-12-31",
})  # fmt: skip
_MAY_BE_NULL = "Inner joins lose rows, and `not in` finds nothing."


def declared(comparison: Comparison) -> Iterator[Change]:
    """N1: a required column becomes optional; N2: an optional one becomes required."""
    for pair in comparison.columns.pairs:
        was, is_now = bool(pair.before.get("required")), bool(pair.after.get("required"))
        if was and not is_now:
            hits = comparison.readers.hits(pair.old)
            yield change(
                "N1", pair.old,
                f"Column `{pair.old}` is no longer required: it may have nulls.",
                _MAY_BE_NULL, comparison.if_read(hits), hits,
            )  # fmt: skip
        elif is_now and not was:
            yield _required(pair.old, f"Column `{pair.old}` becomes required.")


def nested(comparison: Comparison) -> Iterator[Change]:
    """N3: a required field inside a column becomes optional; N2 for the opposite."""
    for pair in comparison.columns.pairs:
        for found in type_changes(*pair.types):
            path = f"{pair.old}.{found.path}" if found.path else pair.old
            if found.row == "N2":
                yield _required(path, f"The field `{path}` becomes required.")
            elif found.row == "N3":
                hits = comparison.readers.hits(path)
                yield change(
                    "N3", path,
                    f"The field `{path}` is no longer required: it may be null.",
                    _MAY_BE_NULL, comparison.if_read(hits), hits,
                )  # fmt: skip


def _required(path: str, what: str) -> Change:
    return change("N2", path, what, "Readers get fewer nulls.", Verdict.MINOR)


def appeared(comparison: Comparison) -> Iterator[Change]:
    """N4: an optional column that never had nulls has some."""
    defaulted = _defaulted(comparison)
    for pair, before, after in _optional(comparison):
        known = comparison.past.null_shares.get(pair.old, before.null_share)
        if known or before.nulls or not after.nulls or is_emptied(comparison, pair):
            continue
        if not before.rows:  # an empty publication does not show what its rows will be
            continue
        if pair.old.lower() in defaulted:
            continue
        if _sentinel(before, after) is not None or _stand_in(before, after, _is_zero) is not None:
            continue
        share = after.null_share
        yield change(
            "N4", pair.old,
            f"Column `{pair.old}` has nulls in {share:.1%} of its rows; it never had any.",
            _MAY_BE_NULL,
            Verdict.BREAKING if share > _RARE else Verdict.MINOR,
            comparison.readers.hits(pair.old), is_silent=True,
        )  # fmt: skip


def sentinel(comparison: Comparison) -> Iterator[Change]:
    """N5: nulls become a value that means `missing`, or such a value becomes null."""
    defaulted = _defaulted(comparison)
    for pair, before, after in _measured_pairs(comparison):
        value = _sentinel(before, after)
        if value is not None and pair.old.lower() not in defaulted:
            yield change(
                "N5", pair.old,
                f"In column `{pair.old}`, {_moved(value, before, after)}.",
                "Averages, ages and counts of missing values are wrong, and no query fails.",
                Verdict.BREAKING, comparison.readers.hits(pair.old), is_silent=True,
            )  # fmt: skip


def unchecked(comparison: Comparison) -> Iterator[Change]:
    """N6: a column stays required, and the check that enforces it is removed."""
    for pair in comparison.columns.pairs:
        if not (pair.before.get("required") and pair.after.get("required")):
            continue
        assert comparison.after is not None
        checks = _checks(comparison.before, pair.old)
        if any(map(is_enabled, checks)) and not _checks(comparison.after, pair.new):
            was_kept = any(map(stops, checks))
            yield change(
                "N6", pair.old,
                f"Column `{pair.old}` is required, and no check enforces it any more.",
                "Nulls are published on targets that do not enforce constraints." if was_kept
                else ONLY_WARNED,
                Verdict.FORBIDDEN if was_kept else Verdict.MINOR, comparison.readers.hits(pair.old),
            )  # fmt: skip


def default(comparison: Comparison) -> Iterator[Change]:
    """N7: another value, or null, stands in for a missing value."""
    in_sql = _defaulted(comparison)
    for name, (old, new) in in_sql.items():
        what = f"A missing value of `{name}` becomes {new} instead of {old}."
        yield _other_default(comparison, name, what, growth.is_same(comparison, name))
    for pair, before, after in _measured_pairs(comparison):
        value = _stand_in(before, after, _is_zero)
        if value is not None and pair.old.lower() not in in_sql:
            what = f"In column `{pair.old}`, {_moved(value, before, after)}."
            yield _other_default(comparison, pair.old, what)


def _other_default(comparison: Comparison, name: str, what: str, is_same: bool = False) -> Change:
    effect = "Averages and counts differ, and no query fails."
    if is_same:
        effect = "The values that were measured are equal."
    verdict = Verdict.MINOR if is_same else Verdict.BREAKING
    hits = comparison.readers.hits(name)
    return change("N7", name, what, effect, verdict, hits, is_silent=True)


def _defaulted(comparison: Comparison) -> dict[str, tuple[str, str]]:
    """Columns whose default for missing values differs in the SQL, with both defaults."""
    return {
        name: (
            _only_in(before.defaults, after.defaults),
            _only_in(after.defaults, before.defaults),
        )
        for name, before, after in changed_values(comparison)
        if before.defaults != after.defaults and before.columns == after.columns
    }


def _only_in(defaults: tuple[str, ...], others: tuple[str, ...]) -> str:
    """The defaults that only one side has; a default can occur several times in an expression."""
    return ", ".join(sorted((Counter(defaults) - Counter(others)).elements())) or "null"


def _optional(comparison: Comparison) -> Iterator[tuple[Pair, Measured, Measured]]:
    for pair, before, after in _measured_pairs(comparison):
        if not (pair.before.get("required") or pair.after.get("required")):
            yield pair, before, after


def _measured_pairs(comparison: Comparison) -> Iterator[tuple[Pair, Measured, Measured]]:
    for pair in comparison.columns.pairs:
        before = measured(comparison.before_statistics, pair.old)
        after = measured(comparison.after_statistics, pair.new)
        if before is not None and after is not None:
            yield pair, before, after


def _sentinel(before: Measured, after: Measured) -> str | None:
    return _stand_in(before, after, lambda value: _plain(value) in _SENTINELS)


def _stand_in(before: Measured, after: Measured, is_meant: Callable[[str], bool]) -> str | None:
    """The value that took the place of nulls, or that nulls took the place of.

    Args:
        before: the published column.
        after: the candidate's column.
        is_meant: which values count.
    """
    lost = before.null_share - after.null_share
    if abs(lost) <= _RARE:
        return None
    less, more = (before, after) if lost > 0 else (after, before)
    for value in more.values:
        if not is_meant(value):
            continue
        if more.top is None or less.top is None:
            # Only the lowest and highest values are known: it must be new among them.
            if value not in less.values:
                return value
        elif more.share(value) - less.share(value) >= abs(lost) / 2:
            return value
    return None


def _moved(value: str, before: Measured, after: Measured) -> str:
    shown = f"`{value}`" if value else "an empty text"
    old, new = ("nulls", shown) if before.nulls > after.nulls else (shown, "null")
    return f"{old} become {new}" if old == "nulls" else f"{old} becomes {new}"


def _plain(value: str) -> str:
    """A value as the list of sentinels has it: `-1.00` is `-1`, a timestamp is its date."""
    text = value.strip().lower()
    if text[:10] in _SENTINELS and text[10:].startswith((" ", "t")):
        return text[:10]
    whole, dot, rest = text.partition(".")
    return whole if dot and rest and not rest.strip("0") else text


def _is_zero(value: str) -> bool:
    return _plain(value) == "0"


def _checks(contract: Contract, name: str) -> list[Check]:
    """The checks that find nulls in a column; see `stops` for those that only warn."""
    return [
        check
        for check in contract.checks.values()
        if check.get("kind") in _CHECKS and str(check.get("column", "")).lower() == name.lower()
    ]


RULES = (declared, nested, appeared, sentinel, unchecked, default)
