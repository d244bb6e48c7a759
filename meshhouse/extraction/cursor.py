"""The cursor of a table: a column that grows with each change of a row.

Belongs here: cursor values as numbers, and which of them can be used. Not here: which rows were
sent (kept_rows.py), or SQL (postgres.py, mysql.py).

A number stands for each value: microseconds for a time, days for a date. So the state on disk
compares values as the database does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

KINDS = ("timestamp", "timestamptz", "date", "integer")
_SECOND = 10**6
_BEGIN = datetime(1, 1, 1)  # noqa: DTZ001 - all times here are UTC, or of a zone nobody knows
_END = datetime(9999, 12, 31, 23, 59, 59, 999999)  # noqa: DTZ001
_AHEAD = timedelta(hours=14)
"""How far local time is ahead of UTC at most."""


@dataclass(frozen=True)
class Cursor:
    """The cursor of one table."""

    column: str
    kind: str
    """One of `KINDS`."""
    lag: int
    """The numbers below the greatest one in which a row may still appear."""

    @classmethod
    def of(cls, column: str, kind: str, lag: float) -> Cursor:
        """A cursor; `lag` is in seconds for times, in days for dates, in numbers for integers."""
        unit = _SECOND if kind in ("timestamp", "timestamptz") else 1
        return cls(column, kind, math.ceil(lag * unit))

    @property
    def lowest(self) -> int:
        """The smallest number that can be used."""
        return {"integer": -(2**63), "date": date.min.toordinal()}.get(self.kind, 0)

    def latest(self, now: datetime) -> int:
        """The greatest number that can be used now. Later ones wait, so that none hides others.

        Args:
            now: the time of the database, in UTC and without a zone.
        """
        if self.kind == "integer":
            return 2**63 - 1
        # A local time has no zone, so it may be ahead of UTC.
        ahead = now if self.kind == "timestamptz" else min(now, _END - _AHEAD) + _AHEAD
        return ahead.date().toordinal() if self.kind == "date" else _micros(ahead)

    def is_ahead(self, number: int, now: datetime) -> bool:
        """Whether a time without a zone, or a date, is later than now in UTC."""
        if self.kind == "date":
            return number > now.date().toordinal()
        return self.kind == "timestamp" and number > _micros(now)

    @property
    def highest(self) -> int:
        """The greatest number that can be used at any time."""
        return {"integer": 2**63 - 1, "date": date.max.toordinal()}.get(self.kind, _micros(_END))

    def number(self, text: str) -> int:
        """The number of a value: an integer, `2017-03-01`, or `2017-03-01 00:00:00.000000`."""
        if self.kind == "integer":
            return int(text)
        if self.kind == "date":
            return date.fromisoformat(text).toordinal()
        return _micros(datetime.fromisoformat(text))

    def text(self, number: int) -> str:
        """The value of a number; times are UTC if the column has a zone."""
        if self.kind == "integer":
            return str(number)
        if self.kind == "date":
            return date.fromordinal(number).isoformat()
        return (_BEGIN + timedelta(microseconds=number)).isoformat(" ", "microseconds")


def now_in_utc(epoch: float) -> datetime:
    """Seconds since 1970 as a time in UTC, without a zone."""
    return datetime.fromtimestamp(epoch, UTC).replace(tzinfo=None)


def _micros(time: datetime) -> int:
    since = time - _BEGIN
    return (since.days * 86_400 + since.seconds) * _SECOND + since.microseconds
