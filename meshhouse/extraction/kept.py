"""What was extracted for one raw table, on disk.

Belongs here: the files that were taken, how many events each partition got, and the parcel that is
being sent. Not here: parcels (parcel.py), rows of tables (kept_rows.py), shards (kept_shards.py),
or deciding what is new (new_files.py).

SQLite keeps each step whole: after a kill, the file holds the state before or after it.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType

from meshhouse.errors import MeshError

_TABLES = """
create table if not exists taken (
    name text primary key, size integer, stamp text, sha256 text, events integer
);
create table if not exists sent (partition integer primary key, events integer);
create table if not exists sending (
    only integer primary key check (only = 1), parcel text, pieces text,
    name text, size integer, stamp text, sha256 text, events integer
);
"""

_ORIGIN = """
create table if not exists origin (only integer primary key check (only = 1), identity text);
"""


@dataclass(frozen=True)
class Taken:
    """A file whose events are in the topic, or are being sent; or the last parcel of a table."""

    name: str
    size: int
    stamp: str
    sha256: str
    """Identifies its content."""
    events: int


@dataclass(frozen=True)
class Sending:
    """A parcel that may be in the topic in part."""

    taken: Taken
    parcel: str
    """The name of its file."""
    pieces: tuple[tuple[int, int], ...]
    """Partition and number of events of each piece."""

    def events(self) -> dict[int, int]:
        """Partition -> how many events it gets."""
        found: dict[int, int] = {}
        for partition, events in self.pieces:
            found[partition] = found.get(partition, 0) + events
        return found


class Kept:
    """The state of one raw table and its topic."""

    tables = _TABLES

    def __init__(self, folder: Path, relation: str, topic: str) -> None:
        """`folder` is created."""
        plain = re.sub(r"[^A-Za-z0-9._-]", "_", f"{relation}.{topic}")[:100]
        self.stem = f"{plain}.{sha256(f'{relation} {topic}'.encode()).hexdigest()[:12]}"
        self.folder = folder
        self.path = folder / f"{self.stem}.db"
        self._open: sqlite3.Connection | None = None

    def __enter__(self) -> Kept:
        try:
            self._open = sqlite3.connect(self.path)
            self._open.execute("pragma synchronous = full")
            self._open.executescript(self.tables)
        except sqlite3.Error as error:
            raise self._failed(error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._open is not None:
            self._open.close()
        if isinstance(error, sqlite3.Error):
            raise self._failed(error) from error

    def taken(self) -> dict[str, Taken]:
        """Name -> file that was taken."""
        rows = self._do("select name, size, stamp, sha256, events from taken")
        return {row[0]: Taken(*row) for row in rows}

    def sent(self) -> dict[int, int]:
        """Partition -> how many events were sent; those of a parcel count when all were sent."""
        return dict(self._do("select partition, events from sent"))

    def sending(self) -> Sending | None:
        """The parcel that was begun and not finished."""
        rows = self._do("select name, size, stamp, sha256, events, parcel, pieces from sending")
        for *facts, parcel, pieces in rows:
            return Sending(Taken(*facts), parcel, tuple((p, n) for p, n in json.loads(pieces)))
        return None

    def begin(self, sending: Sending) -> None:
        """Keeps a parcel, which must be on the disk, before its first event is sent."""
        taken = sending.taken
        facts = (sending.parcel, json.dumps(sending.pieces), *_row(taken))
        with self._connection:
            self._do("insert into sending values (1, ?, ?, ?, ?, ?, ?, ?)", *facts)

    def finish(self, sending: Sending) -> None:
        """Keeps, in one step, that all events of a parcel were sent."""
        with self._connection:
            self._do("insert or replace into taken values (?, ?, ?, ?, ?)", *_row(sending.taken))
            for partition, events in sending.events().items():
                self._do(
                    "insert into sent values (?, ?) on conflict (partition) "
                    "do update set events = events + excluded.events",
                    partition, events,
                )  # fmt: skip
            self._do("delete from sending")

    def touched(self, stamps: Mapping[str, str]) -> None:
        """Keeps the new stamps of files whose content is the same."""
        with self._connection:
            for name, stamp in stamps.items():
                self._do("update taken set stamp = ? where name = ?", stamp, name)

    @property
    def _connection(self) -> sqlite3.Connection:
        assert self._open is not None, "use it in a `with` block"
        return self._open

    def _do(self, sql: str, *values: object) -> list[tuple]:
        return self._connection.execute(sql, values).fetchall()

    def _failed(self, error: sqlite3.Error) -> MeshError:
        return MeshError(
            f"{self.path} cannot be used: {error}. It says what was extracted: make its folder "
            "writable and make room, or restore it from a backup."
        )


class KeptWithOrigin(Kept):
    """The state of one raw table whose origin must stay the same."""

    tables = Kept.tables + _ORIGIN
    _origin = ""

    def origin_before(self, identity: str) -> str | None:
        """What was extracted before; `identity`, what is extracted now, is kept from now on."""
        self._origin = identity
        rows = self._do("select identity from origin")
        return rows[0][0] if rows else None

    def begin(self, sending: Sending) -> None:
        """See `Kept`; from the first parcel on, the origin must not change."""
        self.keep_origin()
        super().begin(sending)

    def keep_origin(self) -> None:
        """Keeps the origin, with the step that is kept next."""
        self._do("insert or ignore into origin values (1, ?)", self._origin)

    def start_again(self) -> str:
        """How to extract from another origin, as a sentence."""
        return (
            "To start again with this one, delete the topic and "
            f"{self.path}, and land with `--accept new-topic`."
        )


def _row(taken: Taken) -> tuple[str, int, str, str, int]:
    return taken.name, taken.size, taken.stamp, taken.sha256, taken.events
