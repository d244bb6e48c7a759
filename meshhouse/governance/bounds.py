"""The values that a threshold accepts, and whether another threshold accepts more.

Belongs here: the keys `must` and `bounds` of checks as ranges. Not here: what a weaker
check means for readers (rules/checks.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
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
    parts: dict[str, Any] = {}
    excluded, other = set(), set()
    written = dict(must or {})
    if not any(key.startswith(("must_be", "error_if")) for key in written):
        written = {**written, **default}
    for key, value in written.items():
        name = key.removeprefix(_PREFIX)
        if key == "must_be":
            parts |= {"low": _value(value), "high": _value(value)}
        elif key == "must_be_not":
            excluded.add(str(_value(value)))
        elif key == "must_be_between" and isinstance(value, Mapping):
            for inner, end in value.items():
                parts |= _end(str(inner), end, is_count) or {}
        elif key == "error_if" and (match := _ERROR_IF.match(str(value))):
            parts |= _of_failures(match[1], int(match[2]))
        elif found := _end(name, value, is_count):
            parts |= found
        elif key != "warn_if" and (key, value) != ("metric", "count"):
            other.add(f"{key}: {value}")
    return Bounds(**parts, excluded=frozenset(excluded), other=frozenset(other))


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


def _end(name: str, value: Any, is_count: bool) -> dict[str, Any]:
    found = _value(value)
    if name in _LOW:
        if is_count and not _LOW[name] and _is_whole(found):
            return {"low": found + 1, "low_is_in": True}
        return {"low": found, "low_is_in": _LOW[name]}
    if name in _HIGH:
        if is_count and not _HIGH[name] and _is_whole(found):
            return {"high": found - 1, "high_is_in": True}
        return {"high": found, "high_is_in": _HIGH[name]}
    return {}


def _of_failures(sign: str, number: int) -> dict[str, Any]:
    """The number of failing rows with which dbt does not report an error."""
    most = {">": number, ">=": number - 1}.get(sign, number)
    found: dict[str, Any] = {"high": Decimal(most), "high_is_in": True}
    return found | ({"low": Decimal(number)} if sign in ("!=", "<>") else {"low": Decimal(0)})


def _is_whole(value: _Value) -> bool:
    return isinstance(value, Decimal) and value == value.to_integral_value()


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
