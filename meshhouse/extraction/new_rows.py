"""New rows of a table.

Belongs here: which rows are new, and in what portions they are sent. Not here: SQL (postgres.py,
mysql.py), or which rows were sent (kept_rows.py).

With a cursor, rows are read in its order from the greatest value that was sent, minus the lag. The
rows in that range that were sent are known by their content, so a row that appears late is sent,
and one with an equal cursor is neither lost nor sent twice. Without a cursor, the whole table is
read, and sent if anything in it changed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from hashlib import sha256

from meshhouse.errors import UsageError
from meshhouse.events.batches import Event
from meshhouse.extraction import mysql, postgres
from meshhouse.extraction.cursor import Cursor
from meshhouse.extraction.kept import Sending, Taken
from meshhouse.extraction.kept_rows import KeptRows, Reached
from meshhouse.extraction.run import Extracted, Run, StoppedError, Task
from meshhouse.extraction.table import Aside, Row, Table, Wanted, wanted

OPENED = {"postgres": postgres.opened, "mysql": mysql.opened}
"""Database -> what opens a table of it."""
_ROWS, _BYTES = 100_000, 64 << 20
"""Limits of a parcel of rows with a cursor."""


class TableRun(Run[KeptRows]):
    """One run for one raw table with a table of a database."""

    def __init__(self, task: Task[KeptRows]) -> None:
        super().__init__(task)
        assert task.spec.table is not None
        self._source = task.spec.table
        self._notes: list[str] = []
        self._unusable: str | None = None

    def all(self) -> Extracted:
        """Sends the new rows."""
        with self._named():
            complete = self._finish_begun() and self._read()
        return Extracted(
            self._raw, 0, self._events, 0, (), (), complete, tuple(self._notes), self._unusable
        )

    def _read(self) -> bool:
        if self._source.cursor is None and self._is_early():
            return True
        with OPENED[self._source.database](self._source) as table:
            what = wanted(self._raw, self._source, self._spec.key, table)
            self._kept.check_origin(self._origin(what))
            if what.cursor is None:
                return self._whole(table, what)
            return self._new(table, what, what.cursor)

    def _origin(self, what: Wanted) -> str:
        """What the state stands for: numbers of another type or rows of another key differ."""
        kind = f" ({what.cursor.kind})" if what.cursor else ""
        return f"{self._source.identity}{kind}, key {self._spec.key or 'none'}"

    def _is_early(self) -> bool:
        """Whether the whole table was read less than `every_hours` ago."""
        before = self._kept.taken().get(self._source.name)
        if before is None:
            return False
        hours = (time.time() - float(before.stamp)) / 3600
        if not 0 <= hours < self._source.every_hours:
            return False
        read = datetime.fromtimestamp(float(before.stamp), UTC)
        self._notes.append(
            f"{self._source.name} was read at {read:%Y-%m-%d %H:%M} UTC, and is read every "
            f"{self._source.every_hours:g} hours."
        )
        return True

    def _whole(self, table: Table, what: Wanted) -> bool:
        """Sends all rows if one of them is not as it was."""
        name, before = self._source.name, self._kept.taken().get(self._source.name)
        begun, digest = time.time(), _Digest()
        if before:  # the newest reading must have the greatest time, even if the clock went back
            begun = max(begun, float(before.stamp) + 0.002)
        path = self._new_parcel()
        with closing(table.rows(what, 0, 0)) as read:
            rows = (digest.add(row) for row in self._checked(read))
            pieces = self._written(path, self._events_of(rows, begun))
        if pieces is None:
            return False
        taken = Taken(name, digest.rows, str(begun), digest.text(), sum(each[1] for each in pieces))
        is_same = before and (before.size, before.sha256) == (taken.size, taken.sha256)
        if is_same or digest.rows == 0:
            path.unlink()
            self._kept.touched({name: taken.stamp})
            why = "is as it was when its rows were sent" if is_same else "has no rows to send"
            self._notes.append(f"{name} {why}.")
            return True
        sending = Sending(taken, path.name, pieces)
        self._kept.begin(sending)
        return self._send(sending)

    def _new(self, table: Table, what: Wanted, cursor: Cursor) -> bool:
        """Sends the rows that were not sent yet, in order of the cursor."""
        before = self._kept.reached()
        now = table.now()
        latest = cursor.latest(now)
        self._put_aside(table.aside(cursor, latest), cursor)
        since = max(before.floor, before.high - cursor.lag) if before else cursor.lowest
        self._kept.read_again()
        with closing(table.rows(what, since, latest)) as read:
            unsent = _Unsent(self._kept, cursor, self._checked(read))
            if not self._send_all(unsent, cursor, before or Reached(since, since)):
                return False
        self._kept.end_reading(since, latest)
        if cursor.is_ahead(unsent.high, now):
            self._notes.append(
                f"The greatest `{cursor.column}` of {self._source.name} is "
                f"{cursor.text(unsent.high)}, which is later than now in UTC. If that is not its "
                "local time, correct it: rows before it, minus the lag, are not sent."
            )
        if before and unsent.high < before.high:
            self._notes.append(
                f"No row of {self._source.name} has a `{cursor.column}` of "
                f"{cursor.text(before.high)} or more, although one was sent. If the table was "
                "filled again, its rows below that are not sent: see `Starting again` in "
                "docs/guides/databases.md."
            )
        return True

    def _send_all(self, unsent: _Unsent, cursor: Cursor, reached: Reached) -> bool:
        """Sends rows in portions; False if the run was stopped."""
        while True:
            path, now = self._new_parcel(), time.time()
            pieces = self._written(path, self._events_of(unsent.portion(), now))
            if pieces is None:
                return False
            if not pieces:
                path.unlink()
                return True
            high = max(reached.high, unsent.high)
            reached = Reached(high, max(reached.floor, high - cursor.lag))
            taken = Taken(
                f"{self._source.name} up to {cursor.text(high)}", 0, str(now), "",
                sum(each[1] for each in pieces),
            )  # fmt: skip
            sending = Sending(taken, path.name, pieces)
            self._kept.begin_rows(sending, reached)
            if not self._send(sending):
                return False

    def _put_aside(self, aside: Aside, cursor: Cursor) -> None:
        name, column = self._source.name, cursor.column
        if aside.future:
            self._notes.append(
                f"{aside.future:,} rows of {name} wait: their `{column}` is in the future."
            )
        if aside.unusable:
            also = (
                ""
                if cursor.kind == "integer"
                else ", infinite, without a day or month, or outside the years 1 to 9999"
            )
            self._unusable = (
                f"{aside.unusable:,} rows of {name} were not sent, because their `{column}` is "
                f"null{also}. Correct them, or extract a view that gives them a value, such as "
                f"coalesce({column}, created_at)."
            )

    def _checked(self, rows: Iterator[Row]) -> Iterator[Row]:
        """Rows that can be events.

        Raises:
            UsageError: a row cannot.
        """
        for number, row in enumerate(rows):
            if number % 1_000 == 0 and self._stopped():
                raise StoppedError
            where = f"A row of {self._source.name}" + (
                f" with `{self._source.cursor}` {row.cursor}" if row.cursor is not None else ""
            )
            if self._spec.key is not None and row.key is None:
                raise UsageError(
                    f"{where} has no `{self._spec.key}`, which is the key. It, rows "
                    "shortly before it and all after it were not sent. Correct it, or extract a "
                    "view without it."
                )
            if len(row.event) + len((row.key or "").encode()) > self._longest:
                raise UsageError(
                    f"{where} is longer than the {self._longest:,} bytes of an event. It, rows "
                    "shortly before it and all after it were not sent. Declare fewer columns, or "
                    "extract a view without it."
                )
            yield row

    def _events_of(self, rows: Iterator[Row], now: float) -> Iterator[Event]:
        """Rows as events; all rows of a parcel have one time."""
        for row in rows:
            yield None if row.key is None else row.key.encode(), row.event, int(now * 1000), None


class _Unsent:
    """Rows of a table that were not sent before."""

    def __init__(self, kept: KeptRows, cursor: Cursor, rows: Iterator[Row]) -> None:
        self._kept = kept
        self._cursor = cursor
        self._rows = rows
        self.high = cursor.lowest - 1
        """The greatest cursor that was read."""

    def portion(self) -> Iterator[Row]:
        """The next rows, as many as fit into a parcel."""
        size = count = 0
        while count < _ROWS and size < _BYTES and (row := next(self._rows, None)) is not None:
            assert row.cursor is not None
            self.high = self._cursor.number(row.cursor)
            if self._kept.is_new(self.high, sha256(row.event).digest()[:16]):
                yield row
                count += 1
                size += len(row.event)


class _Digest:
    """What identifies the rows of a table, in any order."""

    def __init__(self) -> None:
        self.rows = 0
        self._sum = 0

    def add(self, row: Row) -> Row:
        """Counts a row, and returns it."""
        self.rows += 1
        self._sum += int.from_bytes(sha256(row.event).digest())
        return row

    def text(self) -> str:
        """The digest of all rows so far."""
        return f"{self._sum % (1 << 256):064x}"
