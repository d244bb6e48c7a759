"""The values that a threshold accepts, and whether another threshold accepts more.

Belongs here: the keys `must` and `bounds` of checks as ranges. Not here: what a weaker
check means for readers (rules/checks.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any

_Value = Decimal | str
_LOW = {"greater_than": False, "greater_than_or_equal": True}
_HIGH = {"less_than": False, "less_than_or_equal": True}
_PREFIX = "must_be_"
_VALUES = ("min", "max", "")
_LENGTHS = ("min_length", "max_length", "length")
_ERROR_IF = re.compile(r"^\s*(>=|>|!=|<>)\s*(\d+)\s*$")


@dataclass(frozen=True)
class Bounds:
    """A range of accepted values, without some of them."""

    low: _Value | None = None
    """None: no lower end."""
    low_is_in: bool = True
    high: _Value | None = None
    """None: no upper end."""
    high_is_in: bool = True
    excluded: frozenset[str] = frozenset()
    other: frozenset[str] = frozenset()
    """Parts that cannot be compared, such as the unit: with other ones, the range is another."""

    @property
    def is_everything(self) -> bool:
        """Whether every value is accepted."""
        return self == Bounds()

    def accepts_more_than(self, other: Bounds) -> bool:
        """Whether it accepts a value that the other refuses, or whether that is unknown."""
        return (
            self.other != other.other
            or _is_wider(self.low, self.low_is_in, other.low, other.low_is_in, -1)
            or _is_wider(self.high, self.high_is_in, other.high, other.high_is_in, 1)
            or any(self.accepts(each) for each in other.excluded)
        )

    def within(self, other: Bounds) -> Bounds:
        """The values that both accept."""
        ends: dict[str, Any] = {}
        if _is_wider(self.low, self.low_is_in, other.low, other.low_is_in, -1):
            ends |= {"low": other.low, "low_is_in": other.low_is_in}
        if _is_wider(self.high, self.high_is_in, other.high, other.high_is_in, 1):
            ends |= {"high": other.high, "high_is_in": other.high_is_in}
        excluded, parts = self.excluded | other.excluded, self.other | other.other
        return replace(self, **ends, excluded=excluded, other=parts)

    def accepts(self, value: object) -> bool:
        """Whether it accepts a value. Only for ranges without parts that cannot be compared."""
        found = _value(value)
        if str(found) in self.excluded:
            return False
        at = Bounds(low=found, high=found)
        return not (
            _is_wider(at.low, True, self.low, self.low_is_in, -1)
            or _is_wider(at.high, True, self.high, self.high_is_in, 1)
        )


def threshold(must: Mapping[str, Any] | None, is_count: bool, default: Mapping[str, Any]) -> Bounds:
    """What a threshold accepts.

    Args:
        must: `must_be`, `must_be_not`, `must_be_greater_than` and so on, or dbt's `error_if`.
        is_count: whether only whole numbers occur, so that `> 0` is `>= 1`.
        default: the threshold if none is declared.
    """
    written = dict(must or {})
    if not any(key.startswith(("must_be", "error_if")) for key in written):
        written = {**written, **default}
    found = Bounds()
    for key, value in written.items():
        if key == "must_be_between" and isinstance(value, Mapping):
            for end, limit in value.items():
                found = found.within(_part(f"{_PREFIX}{end}", limit))
        else:
            found = found.within(_part(key, value))
    return _closed(found, is_count)


def _closed(found: Bounds, is_count: bool) -> Bounds:
    """The same values with as few excluded ones and open ends as possible."""
    low, low_is_in, high, high_is_in = found.low, found.low_is_in, found.high, found.high_is_in
    # Each pass takes an excluded value away, or is the last.
    for _ in range(len(found.excluded) + 1):
        low_is_in = low_is_in and str(low) not in found.excluded
        high_is_in = high_is_in and str(high) not in found.excluded
        if is_count and not low_is_in and isinstance(low, Decimal) and _is_whole(low):
            low, low_is_in = low + 1, True
        if is_count and not high_is_in and isinstance(high, Decimal) and _is_whole(high):
            high, high_is_in = high - 1, True
    inside = Bounds(low=low, low_is_in=low_is_in, high=high, high_is_in=high_is_in)
    excluded = frozenset(each for each in found.excluded if inside.accepts(each))
    return replace(inside, excluded=excluded, other=found.other)


def _part(key: str, value: Any) -> Bounds:
    """What one key of a threshold accepts."""
    name = key.removeprefix(_PREFIX)
    if key == "must_be":
        return Bounds(low=_value(value), high=_value(value))
    if key == "must_be_not":
        return Bounds(excluded=frozenset([str(_value(value))]))
    if key == "error_if" and (match := _ERROR_IF.match(str(value))):
        return _of_failures(match[1], int(match[2]))
    if name in _LOW:
        return Bounds(low=_value(value), low_is_in=_LOW[name])
    if name in _HIGH:
        return Bounds(high=_value(value), high_is_in=_HIGH[name])
    # dbt reports a warning, and Soda counts rows unless the metric is another.
    if key == "warn_if" or (key, value) == ("metric", "count"):
        return Bounds()
    return Bounds(other=frozenset([f"{key}: {value}"]))


def valid_range(check: Mapping[str, Any], of_lengths: bool = False) -> Bounds:
    """The values, or lengths of values, that a check accepts.

    Args:
        check: with Soda's `bounds`, or the arguments of dbt_utils' `accepted_range`.
        of_lengths: the lengths, instead of the values.
    """
    least, most, exactly = _LENGTHS if of_lengths else _VALUES
    ends = check.get("bounds") or {}
    arguments = check.get("arguments") or {}
    both = ends.get(exactly)
    low = ends.get(least, arguments.get(f"{least}_value", both))
    high = ends.get(most, arguments.get(f"{most}_value", both))
    return Bounds(
        low=None if low is None else _value(low), high=None if high is None else _value(high)
    )


def _of_failures(sign: str, number: int) -> Bounds:
    """The number of failing rows with which dbt does not report an error."""
    most = Decimal({">": number, ">=": number - 1}.get(sign, number))
    least = Decimal(number if sign in ("!=", "<>") else 0)
    return Bounds(low=least, high=most)


def _is_whole(value: Decimal) -> bool:
    return value == value.to_integral_value()


def _value(value: object) -> _Value:
    """A number exactly, anything else (a date) as its text."""
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return str(value)
    return number if number.is_finite() else str(value)


def _is_wider(
    mine: _Value | None, mine_is_in: bool, other: _Value | None, other_is_in: bool, side: int
) -> bool:
    """Whether one end of a range lies beyond the other's; side is -1 for lower ends."""
    if other is None:
        return False
    if mine is None or isinstance(mine, str) != isinstance(other, str):
        return True
    if mine == other:
        return mine_is_in and not other_is_in
    return (mine > other) == (side > 0)  # type: ignore[operator]
