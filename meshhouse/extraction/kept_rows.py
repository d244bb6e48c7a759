"""Which rows of a table were extracted, on disk.

Belongs here: the greatest cursor, and the rows near it. Not here: parcels and counts (kept.py), or
deciding what is new (new_rows.py).

A row counts as sent from the step that keeps its parcel: such a parcel is always sent to the end
before the table is read again.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from meshhouse.errors import MeshError
from meshhouse.extraction.kept import KeptWithOrigin, Sending

_ROWS = """
create table if not exists reached (
    only integer primary key check (only = 1), high integer, floor integer
);
create table if not exists recent (
    number integer, digest blob, copies integer, seen integer, primary key (number, digest)
) without rowid;
"""


@dataclass(frozen=True)
class Reached:
    """How far a table was read."""

    high: int
    """The number of the greatest cursor that was sent."""
    floor: int
    """The rows that were sent are known from this number on."""


class KeptRows(KeptWithOrigin):
    """The state of one raw table that is extracted from a table."""

    tables = KeptWithOrigin.tables + _ROWS

    def check_origin(self, identity: str) -> None:
        """Refuses to go on with another table, cursor, type of cursor or key than before.

        Raises:
            MeshError: the rows that were sent came from elsewhere.
        """
        before = self.origin_before(identity)
        if before not in (None, identity):
            raise MeshError(
                f"the rows sent so far came from `{before}`, and now it is `{identity}`. "
                "Restore the declaration or the type of the cursor, or declare a raw table "
                f"with another topic. {self.start_again()}"
            )

    def reached(self) -> Reached | None:
        """How far the table was read; None if nothing was."""
        rows = self._do("select high, floor from reached")
        return Reached(*rows[0]) if rows else None

    def read_again(self) -> None:
        """Begins a reading: no row was seen yet."""
        with self._connection:
            self._do("update recent set seen = 0 where seen > 0")

    def end_reading(self, since: int, latest: int) -> None:
        """Keeps which rows are there; one that comes back later is new."""
        with self._connection:
            self._do("delete from recent where seen = 0 and number between ? and ?", since, latest)
            self._do("update recent set copies = seen where number between ? and ?", since, latest)

    def is_new(self, number: int, digest: bytes) -> bool:
        """Whether a row was not sent before; equal rows count one by one.

        The answers are kept with the next `begin_rows` or `end_reading`.
        """
        known = self._connection.execute(
            "update recent set seen = seen + 1 where number = ? and digest = ? and seen < copies",
            (number, digest),
        )
        if known.rowcount:
            return False
        self._do(
            "insert into recent values (?, ?, 1, 1) on conflict (number, digest) "
            "do update set copies = copies + 1, seen = seen + 1",
            number, digest,
        )  # fmt: skip
        return True

    def begin_rows(self, sending: Sending, reached: Reached) -> None:
        """Keeps a parcel and its rows in one step, before its first event is sent."""
        try:
            self._do("insert or replace into reached values (1, ?, ?)", reached.high, reached.floor)
            self._do("delete from recent where number < ?", reached.floor)
            self.begin(sending)
        except sqlite3.Error:
            self.roll_back()
            raise

    def roll_back(self) -> None:
        """Forgets the answers of `is_new` since the last step that was kept."""
        self._connection.rollback()
