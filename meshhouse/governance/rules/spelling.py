"""Chapter 2: values that are written otherwise in the same type: zones, codes, identifiers.

Not here: a declared type that changes (types.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from meshhouse.governance.alignment import Pair
from meshhouse.governance.change import Change, Verdict
from meshhouse.governance.comparison import Comparison, change
from meshhouse.governance.expressions import Value
from meshhouse.governance.likeness import Measured, measured
from meshhouse.governance.shape import changed_values
from meshhouse.governance.statistics_compared import rewritten_periods

_ZONE = re.compile(
    r"(?:[A-Z][A-Za-z]+/[A-Z][A-Za-z_]+(?:/[A-Z][A-Za-z_]+)?"
    r"|UTC|GMT|Z|CET|EET|MET|WET|[ECMP]ST|[ECMP][SD]T[0-9A-Z]*|[+-]\d\d:?\d\d)"
)
_FEWEST_DAYS = 7
_ALMOST_ALL = 0.8
"""The share of days that a shift changes."""
_LEAST_SHIFT = 0.02
"""The share of a day's rows that a shift moves: half an hour of 24."""
_CODE = re.compile(r"[A-Z0-9_-]{1,4}|\d+")
_IDENTIFIER = re.compile(r"[0-9A-Fa-f]+(?:-[0-9A-Fa-f]+)*")
_SHORTEST = 8
"""Characters of a text of hexadecimal digits that is an identifier and not a word."""


def other_zone(comparison: Comparison) -> Iterator[Change]:
    """T14: days or times are those of another time zone.

    Seen in the declared zone, in the SQL, or in rows that move to the next or previous day.
    """
    found = _declared_zones(comparison) | _zones_in_sql(comparison)
    shifted = "" if found else shifted_days(comparison)
    for name, (old, new) in found.items():
        yield _zone(comparison, name, f"The time zone of {_of(name)} becomes {new}; was {old}.")
    if shifted:
        what = f"Rows of almost every day of `{shifted}` move to the day beside it."
        yield _zone(comparison, shifted, what)


def _zone(comparison: Comparison, name: str, what: str) -> Change:
    hits = comparison.readers.hits(name or None)
    effect = "Figures move between days, and no query fails."
    return change("T14", name, what, effect, Verdict.FORBIDDEN, hits, is_silent=True)


def _of(name: str) -> str:
    return f"`{name}`" if name else "the product"


def _declared_zones(comparison: Comparison) -> dict[str, tuple[str, str]]:
    if comparison.after is None:
        return {}
    places: list[tuple[str, Any, Any]] = [
        ("", comparison.before.get("zone"), comparison.after.get("zone"))
    ]
    places += [
        (pair.old, pair.before.get("zone"), pair.after.get("zone"))
        for pair in comparison.columns.pairs
    ]
    return {name: (str(old), str(new)) for name, old, new in places if old and old != new}


def _zones_in_sql(comparison: Comparison) -> dict[str, tuple[str, str]]:
    found = {}
    for name, before, after in changed_values(comparison):
        old, new = zones(before), zones(after)
        if old != new:
            found[name] = (", ".join(old) or "not set", ", ".join(new) or "not set")
    return found


def zones(value: Value) -> list[str]:
    """The time zones that an expression names."""
    return [each for each in value.literals if _ZONE.fullmatch(each)]


def shifted_days(comparison: Comparison) -> str:
    """The time column whose rows moved by less than a day; empty if they did not."""
    old, new = (
        (each or {}).get("periods")
        for each in (comparison.before_statistics, comparison.after_statistics)
    )
    changed = rewritten_periods(old, new)
    if not changed or {old["unit"], new["unit"]} != {"day"}:
        return ""
    before, after = (
        {day: rows for day, (rows, *_) in each["counts"].items()} for each in (old, new)
    )
    # The last published day gets late rows.
    days = sorted(day for day in {*before, *after} if day < max(before))
    moved = [*accumulate(after.get(day, 0) - before.get(day, 0) for day in days)]
    is_rewritten = len(changed) >= _ALMOST_ALL * len(before)
    return str(old["column"]) if is_rewritten and _is_shift(moved, before) else ""


def _is_shift(moved: Sequence[int], before: Mapping[str, int]) -> bool:
    """Whether rows moved over the end of each day, all in one direction, and none vanished.

    Args:
        moved: for each day but the last, the rows until its end after, less those before.
        before: day -> rows.
    """
    daily = sum(before.values()) / len(before)
    changed = [each for each in moved if abs(each) > _LEAST_SHIFT * daily]
    if len(moved) < _FEWEST_DAYS or len(changed) < _ALMOST_ALL * len(moved):
        return False
    is_one_way = all(each > 0 for each in changed) or all(each < 0 for each in changed)
    # Rows that vanish every day add up: their sum at the end is twice the mean sum.
    adds_up = abs(moved[-1]) > 1.5 * abs(sum(moved)) / len(moved)
    return is_one_way and not adds_up and max(map(abs, moved)) <= max(before.values())


def recoded(comparison: Comparison) -> Iterator[Change]:
    """T26: labels become codes, or codes become labels."""
    for pair, before, after in _measured_pairs(comparison):
        if pair.types[0].kind != pair.types[1].kind or before.top is None or after.top is None:
            continue
        if min(len(before.top), len(after.top)) < 2 or {*before.top} & {*after.top}:
            continue
        was_code, is_code = _are_codes(before.values), _are_codes(after.values)
        if was_code != is_code:
            old, new = ("codes", "labels") if was_code else ("labels", "codes")
            yield change(
                "T26", pair.old,
                f"The values of `{pair.old}` are {new} ({_some(after.values)}) "
                f"instead of {old} ({_some(before.values)}).",
                "Filters on the old values find nothing.",
                Verdict.BREAKING, comparison.readers.hits(pair.old), is_silent=True,
            )  # fmt: skip


def _are_codes(values: Sequence[str]) -> bool:
    return all(_CODE.fullmatch(each) for each in values)


def _some(values: Sequence[str]) -> str:
    return ", ".join(values[:3]) + (", ..." if len(values) > 3 else "")


@dataclass(frozen=True)
class _Spelling:
    """How identifiers are written; empty where the known values do not show it."""

    dashes: str
    """with or without"""
    case: str
    """upper or lower"""
    padding: str
    """zeros, up to one length, or none"""

    def differs(self, other: _Spelling) -> bool:
        parts = zip(
            (self.dashes, self.case, self.padding),
            (other.dashes, other.case, other.padding),
            strict=True,
        )
        return any(old and new and old != new for old, new in parts)


def respelled(comparison: Comparison) -> Iterator[Change]:
    """T27: identifiers are written otherwise: letter case, dashes, zeros in front."""
    for pair, before, after in _measured_pairs(comparison):
        if is_respelled(pair, before, after):
            yield change(
                "T27", pair.old,
                f"The identifiers in `{pair.old}` are written otherwise: {after.values[0]}; "
                f"was {before.values[0]}.",
                "Joins with keys in the old spelling miss.",
                Verdict.BREAKING, comparison.readers.hits(pair.old), is_silent=True,
            )  # fmt: skip


def is_respelled(pair: Pair, before: Measured, after: Measured) -> bool:
    """Whether all known values are identifiers, in another spelling than before."""
    if {kind.kind for kind in pair.types} - {"string", "char"}:
        return False
    old, new = _spelling(before.values), _spelling(after.values)
    return old is not None and new is not None and old.differs(new)


def _spelling(values: Sequence[str]) -> _Spelling | None:
    if not values or not all(_IDENTIFIER.fullmatch(each) for each in values):
        return None
    are_digits = all(each.isdigit() for each in values)
    if not are_digits and min(map(len, values)) < _SHORTEST:
        return None
    letters = "".join(filter(str.isalpha, "".join(values)))
    case = "upper" if letters.isupper() else "lower" if letters.islower() else ""
    padding = ""
    if are_digits and not any(each[0] == "0" for each in values):
        padding = "none" if len({*map(len, values)}) > 1 else ""
    elif are_digits and len({*map(len, values)}) == 1:
        padding = "zeros"
    return _Spelling("with" if any("-" in each for each in values) else "without", case, padding)


def _measured_pairs(comparison: Comparison) -> Iterator[tuple[Pair, Measured, Measured]]:
    for pair in comparison.columns.kept:
        before = measured(comparison.before_statistics, pair.old)
        after = measured(comparison.after_statistics, pair.new)
        if before is not None and after is not None:
            yield pair, before, after


RULES = (other_zone, recoded, respelled)
