"""How far each shard of a stream was extracted, on disk.

Belongs here: positions in shards. Not here: parcels and counts (kept.py), or which shard is read
next (shards.py).

A record counts as sent from the step that keeps its parcel: such a parcel is always sent to the end
before the stream is read again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass

from meshhouse.extraction.kept import KeptWithOrigin, Sending

_SHARDS = """
create table if not exists shards (
    shard text primary key, sequence text, arrived real, read_until real, is_ended integer
);
create table if not exists stream (only integer primary key check (only = 1), retention real);
"""


@dataclass(frozen=True)
class Position:
    """How far one shard was read."""

    shard: str
    sequence: str | None = None
    """The last record; a text, because it has more digits than any integer of SQLite."""
    arrived: float | None = None
    """When Kinesis got that record, in seconds since 1970.

    Without a record: when the first reading listed the shard. Records may be lost after that.
    """
    read_until: float | None = None
    """All records that arrived before were read; None if the shard was not read yet."""
    is_ended: bool = False
    """Whether the shard was closed and read to its end."""


class KeptShards(KeptWithOrigin):
    """The state of one raw table that is extracted from a stream."""

    tables = KeptWithOrigin.tables + _SHARDS

    def positions(self) -> dict[str, Position]:
        """Shard -> how far it was read."""
        rows = self._do("select shard, sequence, arrived, read_until, is_ended from shards")
        return {row[0]: Position(*row[:4], bool(row[4])) for row in rows}

    def begin_records(
        self, sending: Sending, positions: Iterable[Position], retention: float
    ) -> None:
        """Keeps a parcel, its positions and the retention in one step, before it is sent."""
        with self._connection:
            self._put(positions)
            self._keep_retention(retention)
            self.begin(sending)  # commits

    def keep(self, positions: Iterable[Position], retention: float) -> None:
        """Keeps, at the end of a reading, positions and for how many seconds records stay."""
        with self._connection:
            self.keep_origin()
            self._put(positions)
            self._keep_retention(retention)

    def retention(self) -> float | None:
        """For how many seconds the stream keeps records; None before the first parcel."""
        rows = self._do("select retention from stream")
        return rows[0][0] if rows else None

    def _keep_retention(self, retention: float) -> None:
        self._do("insert or replace into stream values (1, ?)", retention)

    def _put(self, positions: Iterable[Position]) -> None:
        for each in positions:
            self._do("insert or replace into shards values (?, ?, ?, ?, ?)", *astuple(each))
