"""A demo topic: SQL whose rows are its events, in a fixed order.

Belongs here: turning such SQL into batches of events of bounded size, for any range of time.
Not here: the topics (retail.py, support.py), or writing them (replay.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import duckdb
import pyarrow as pa

from meshhouse import sql
from meshhouse.events.batches import STORED_SCHEMA

SLICE_EVENTS = 250_000
"""Events generated at once, unless a single day has more; about 100 MiB for the widest topic."""


def literal(value: str | date | Sequence[str]) -> str:
    """`value` as SQL; a timestamp is converted to UTC.

    Query parameters would make DuckDB import pandas: 1.4 s.
    """
    if isinstance(value, str):
        return sql.literal(value)
    if isinstance(value, datetime):
        return f"timestamp '{value.astimezone(UTC).replace(tzinfo=None)}'"
    if isinstance(value, date):
        return f"date '{value}'"
    return f"[{', '.join(literal(each) for each in value)}]"


def _between(since: datetime | None, until: datetime | None) -> str:
    bounds = ["true"]
    if since:
        bounds.append(f"event_at >= {literal(since)}")
    if until:
        bounds.append(f"event_at < {literal(until)}")
    return " and ".join(bounds)


@dataclass(frozen=True)
class DemoTopic:
    """A topic whose events are SQL over the demo's views."""

    name: str
    partitions: int
    rows: str
    """A relation with a column `event_at` (timestamp, UTC)."""
    key: str
    """The column whose text is the event's key."""
    value: str
    """SQL expression for the event's JSON text."""
    order: str
    """Columns that order the events of the same timestamp."""
    is_synthetic: bool = False

    @property
    def _headers(self) -> str:
        header = "{'key': 'synthetic', 'value': encode('true')}"
        return f"[{header}]" if self.is_synthetic else f"if(false, [{header}], null)"

    def keys(
        self, connection: duckdb.DuckDBPyConnection, since: datetime | None, until: datetime | None
    ) -> list[tuple[bytes, int, int]]:
        """Each key with its number of events before `since` and before `until`."""
        passed = f"event_at < {literal(since)}" if since else "false"
        return connection.execute(
            f"select encode(cast({self.key} as varchar)), count(*) filter ({passed}), count(*) "
            f"from ({self.rows}) where {_between(None, until)} group by all"
        ).fetchall()

    def events(
        self, connection: duckdb.DuckDBPyConnection, since: datetime | None, until: datetime | None
    ) -> Iterator[pa.RecordBatch]:
        """Events from `since` (inclusive) to `until` (exclusive), in order, slice by slice."""
        for begin, end in self._slices(connection, since, until):
            result = connection.execute(
                f"select event_at, cast({self.key} as varchar), {self.value}, {self._headers} "
                f"from ({self.rows}) where {_between(begin, end)} "
                f"order by event_at, {self.order}"
            ).to_arrow_table()
            for batch in result.to_batches():
                yield self._shaped(batch)

    def _slices(
        self, connection: duckdb.DuckDBPyConnection, since: datetime | None, until: datetime | None
    ) -> Iterator[tuple[datetime | None, datetime | None]]:
        days = connection.execute(
            f"select date_trunc('day', event_at) as day, count(*) from ({self.rows}) "
            f"where {_between(since, until)} group by day order by day"
        ).fetchall()
        begin, size = since, 0
        for day, count in days:
            if size and size + count > SLICE_EVENTS:
                yield begin, day.replace(tzinfo=UTC)
                begin, size = day.replace(tzinfo=UTC), 0
            size += count
        if size:
            yield begin, until

    def _shaped(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        timestamps, *texts = batch.columns
        # DuckDB's timestamps are microseconds without a zone; casting the unit first keeps them.
        columns = [timestamps.cast(pa.timestamp("ms")), *texts]
        return pa.RecordBatch.from_arrays(
            [column.cast(field.type) for column, field in zip(columns, STORED_SCHEMA, strict=True)],
            schema=STORED_SCHEMA,
        )
