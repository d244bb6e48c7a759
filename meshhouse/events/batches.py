"""Events as Arrow batches of one schema, cut and joined by bytes.

Belongs here: converting a producer's events to the stored schema, and cutting batches so that
memory is bounded by bytes, not by rows. Not here: files (log/frames.py, log/segment.py).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pyarrow as pa

from meshhouse.errors import UsageError
from meshhouse.events.source import EVENT_SCHEMA

STORED_SCHEMA = pa.schema([field for field in EVENT_SCHEMA if field.name != "offset"])
"""`EVENT_SCHEMA` without the offset, which the position in the log gives."""

# Rows need a limit, too: a batch of tombstones has no bytes of values.
MAX_ROWS = 65_536

Headers = Mapping[str, bytes | None] | Sequence[tuple[str, bytes | None]]
Event = tuple[bytes | None, bytes | None, int, Headers | None]
"""Key, value, timestamp in milliseconds since 1970 (UTC), headers."""


def stored_batches(events: pa.RecordBatch | pa.Table) -> Iterator[pa.RecordBatch]:
    """`events` in `STORED_SCHEMA`; the columns `key` and `headers` are optional.

    Raises:
        UsageError: a column is unknown, missing or of a type that does not convert.
    """
    batches = events.to_batches() if isinstance(events, pa.Table) else [events]
    unknown = sorted(set(events.schema.names) - set(STORED_SCHEMA.names))
    missing = sorted({"timestamp", "value"} - set(events.schema.names))
    if unknown or missing:
        raise UsageError(
            f"Events have the columns {', '.join(STORED_SCHEMA.names)} (key and headers may be "
            f"left out); unknown: {unknown}, missing: {missing}."
        )
    for batch in batches:
        if batch.num_rows:
            yield pa.RecordBatch.from_arrays(
                [_column(batch, field) for field in STORED_SCHEMA], schema=STORED_SCHEMA
            )


def _column(batch: pa.RecordBatch, field: pa.Field) -> pa.Array:
    if field.name not in batch.schema.names:
        return pa.nulls(batch.num_rows, field.type)
    column = batch.column(field.name)
    if column.null_count and not field.nullable:
        raise UsageError(f"Every event needs a {field.name}; {column.null_count} have none.")
    try:
        return column if column.type == field.type else column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UsageError(
            f"Column {field.name} of the events is {column.type} and does not convert to "
            f"{field.type}: {error}."
        ) from error


def from_rows(rows: Iterable[Event]) -> pa.RecordBatch:
    """Python events as one batch, for tests and for producers of few events."""
    keys, values, timestamps, headers = [], [], [], []
    for key, value, timestamp, header in rows:
        keys.append(key)
        values.append(value)
        timestamps.append(timestamp)
        pairs = header.items() if isinstance(header, Mapping) else header
        headers.append(pairs if pairs is None else [{"key": k, "value": v} for k, v in pairs])
    columns = {"timestamp": timestamps, "key": keys, "value": values, "headers": headers}
    return pa.RecordBatch.from_arrays(
        [pa.array(columns[field.name], field.type) for field in STORED_SCHEMA],
        schema=STORED_SCHEMA,
    )


def value_bytes(batch: pa.RecordBatch) -> int:
    """The number of bytes of all values of `batch`."""
    if not batch.num_rows:
        return 0
    ends = _value_offsets(batch)
    return ends[-1] - ends[0]


def split(batch: pa.RecordBatch, max_bytes: int) -> Iterator[pa.RecordBatch]:
    """Cuts `batch`, without copying, into pieces of at most `max_bytes` of values.

    A piece holds at least one event and at most `MAX_ROWS`.
    """
    if not batch.num_rows:
        return
    ends = _value_offsets(batch)
    start = 0
    while start < batch.num_rows:
        stop = bisect_right(ends, ends[start] + max_bytes) - 1
        stop = min(max(stop, start + 1), start + MAX_ROWS, batch.num_rows)
        yield batch.slice(start, stop - start)
        start = stop


def _value_offsets(batch: pa.RecordBatch) -> memoryview:
    # Arrow stores the position of each value, so cutting does not read the values.
    values = batch.column("value")
    offsets = memoryview(values.buffers()[1]).cast("i")
    return offsets[values.offset : values.offset + batch.num_rows + 1]


def with_offsets(batch: pa.RecordBatch, base_offset: int) -> pa.RecordBatch:
    """`batch` in `EVENT_SCHEMA`, with offsets from `base_offset` on."""
    offsets = pa.arange(base_offset, base_offset + batch.num_rows)
    return pa.RecordBatch.from_arrays([offsets, *batch.columns], schema=EVENT_SCHEMA)


def joined(batches: Iterable[pa.RecordBatch], max_bytes: int) -> Iterator[pa.RecordBatch]:
    """Batches of at most `max_bytes` of values; small adjacent batches are joined.

    Only batches under 1 MiB are copied. Without joining, a log with one event per frame would give
    its reader one batch per event.
    """
    enough = min(max_bytes, 1 << 20)
    waiting: list[pa.RecordBatch] = []
    waiting_bytes = waiting_rows = 0
    for batch in batches:
        for piece in split(batch, max_bytes):
            size = value_bytes(piece)
            if waiting and (waiting_bytes + size > max_bytes or size >= enough):
                yield _together(waiting)
                waiting, waiting_bytes, waiting_rows = [], 0, 0
            waiting.append(piece)
            waiting_bytes += size
            waiting_rows += piece.num_rows
            if waiting_bytes >= enough or waiting_rows >= MAX_ROWS:
                yield _together(waiting)
                waiting, waiting_bytes, waiting_rows = [], 0, 0
    if waiting:
        yield _together(waiting)


def _together(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)
