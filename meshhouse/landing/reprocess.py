"""Reprocessing: landing events of a topic a second time, in place of their earlier rows.

Belongs here: reading the events again and replacing their rows and rejected events, without
duplicates. Not here: new events (land.py, follow.py), or redriving rejected events from their
stored bytes (redrive.py).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from meshhouse.errors import MeshError, UsageError
from meshhouse.events.source import Source
from meshhouse.lake import Lake
from meshhouse.lake.files import remove_files, write_files
from meshhouse.lake.ledger import LakeLedger
from meshhouse.lake.rewrite import exchange_files
from meshhouse.lake.schema import iceberg_schema
from meshhouse.lake.states import REWRITTEN
from meshhouse.landing.decode import REJECTED_COLUMNS, Decoder
from meshhouse.landing.lake_table import check_columns, commit_lock, staged_table
from meshhouse.landing.pending import stamped
from meshhouse.landing.pipeline import BATCH_BYTES
from meshhouse.landing.store import (
    LANDED_AT,
    OTHER_TOPICS,
    SOURCE,
    last_landed_at,
    next_landed_at,
    offsets_of,
)
from meshhouse.landing.unrecorded import Lander
from meshhouse.ledger import Conflict, Staged, retry_conflicts
from meshhouse.locks import advisory_lock
from meshhouse.repository import RawTable

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table

_CHUNK_BYTES = 128 * 1024 * 1024

Spans = Mapping[int, tuple[int, int]]
"""Partition -> first offset, and the offset after the last."""


@dataclass
class Reprocessed:
    """The result of reprocessing."""

    rows: int = 0
    """Number of new rows."""
    rejected: int = 0
    replaced: int = 0
    """Number of old rows and rejected events that were replaced."""


def starts_from(source: Source, raw: RawTable, text: str) -> dict[int, int]:
    """Returns the first offset to reprocess in each partition.

    Args:
        source: holds the topic.
        raw: its raw table.
        text: an offset, used for every partition, or a time (ISO 8601; UTC if it has no zone).

    Raises:
        UsageError: the text is neither an offset nor a time.
    """
    if text.isdigit():
        return dict.fromkeys(source.describe(raw.topic).partitions, int(text))
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"`{text}` is neither an offset nor a time. Write 120000, or 2017-03-01T00:00:00Z."
        ) from error
    return source.offsets_at(raw.topic, time.replace(tzinfo=time.tzinfo or UTC))


def reprocess(
    source: Source,
    lake: Lake,
    raw: RawTable,
    starts: Mapping[int, int],
    progress: Callable[[int], None] = lambda events: None,
) -> Reprocessed:
    """Lands events from `starts` up to the table's offsets again, in place of their earlier rows.

    The work is done in pieces, each in one transaction, so it can be stopped and repeated at any
    time. Landers of new events can run at the same time. The next run rebuilds the models of the
    table in full, because an incremental model does not notice that a row was removed.

    Args:
        source: holds the topic.
        lake: holds the raw table.
        raw: the raw table to reprocess.
        starts: first offset of each partition.
        progress: is called with the number of events after each piece.

    Raises:
        UsageError: the table was never landed, or the declared columns do not fit it.
        MeshError: the topic no longer holds those events, or is not the one that was landed.
    """
    topic = source.describe(raw.topic)
    table = lake.load(raw.relation)
    if table is None:
        raise UsageError(f"{raw.relation} was never landed: run `mesh land {raw.relation}`.")
    check_columns(raw, table)
    if OTHER_TOPICS in table.properties:
        raise MeshError(
            f"{raw.relation} also holds events of an earlier topic of this name with the same "
            "offsets, so the rows to replace cannot be identified. Nothing was changed."
        )
    if json.loads(table.properties.get(SOURCE, "{}")).get("topic_id") != topic.topic_id:
        raise MeshError(f"Topic `{raw.topic}` is not the one that {raw.relation} was landed from.")
    spans = {}
    for partition, end in offsets_of(table.properties).items():
        start = starts.get(partition, end)
        begin = topic.partitions[partition].begin
        if start < end and start < begin:
            raise MeshError(
                f"Topic `{raw.topic}` no longer holds events {start} to {begin - 1} of partition "
                f"{partition}. Nothing was changed. Start at offset {begin} or later."
            )
        if start < end:
            spans[partition] = (start, end)
    done = Reprocessed()
    for piece in _pieces(source, raw, spans):
        _replace(lake, raw, piece, done)
        progress(piece.events)
    return done


@dataclass(frozen=True)
class _Piece:
    rows: list[pa.Table]
    rejected: list[pa.Table]
    spans: dict[int, tuple[int, int]]
    events: int


def _pieces(source: Source, raw: RawTable, spans: Spans) -> Iterator[_Piece]:
    import pyarrow as pa

    if not spans:
        return
    decoder, unstamped = Decoder(raw), datetime(1970, 1, 1, tzinfo=UTC)
    positions = {partition: start for partition, (start, _) in spans.items()}
    piece, size = _Piece([], [], {}, 0), 0
    for batch in source.read(raw.topic, spans, BATCH_BYTES):
        decoded = decoder.decode(batch.partition, pa.Table.from_batches([batch.events]), unstamped)
        first = piece.spans.get(batch.partition, (positions[batch.partition], 0))[0]
        positions[batch.partition] = batch.next_offset
        piece = _Piece(
            [*piece.rows, decoded.rows],
            [*piece.rejected, decoded.rejected],
            {**piece.spans, batch.partition: (first, batch.next_offset)},
            piece.events + batch.events.num_rows,
        )
        size += decoded.rows.nbytes + decoded.rejected.nbytes
        if size >= _CHUNK_BYTES:
            yield piece
            piece, size = _Piece([], [], {}, 0), 0
    if piece.spans:
        yield piece


def _replace(lake: Lake, raw: RawTable, piece: _Piece, done: Reprocessed) -> None:
    """Replaces the rows of one piece; tries again if another process changes the tables."""
    import pyarrow as pa

    rows, rejected = pa.concat_tables(piece.rows), pa.concat_tables(piece.rejected)
    ends = {partition: end for partition, (_, end) in piece.spans.items()}
    lander = Lander()

    def change() -> tuple[int, int]:
        written: list[DataFile] = []
        try:
            raw_table = staged_table(lake, raw, Decoder(raw).schema)
            landed_at = next_landed_at(last_landed_at(raw_table.properties))
            time = landed_at.isoformat()
            properties = {LANDED_AT: time, REWRITTEN: time}
            columns = iceberg_schema(REJECTED_COLUMNS)
            other = lake.stage(f"{raw.schema}.{raw.rejected}", columns, writer=raw.domain)
            raw_change, out = _exchange(
                lake, raw_table, piece.spans, stamped(rows, landed_at), properties, written
            )
            other_change, out_rejected = _exchange(
                lake, other, piece.spans, stamped(rejected, landed_at), {}, written
            )
        except BaseException:
            remove_files(written)
            raise
        entry = {
            "run_id": lander.id,
            **lander.entry(raw, (rows.num_rows, rejected.num_rows), ends, None),
            "snapshot_id": raw_change.snapshot_id if raw_change else None,
            "replaced": out,
            "replaced_rejected": out_rejected,
        }
        try:
            changes = [each for each in (raw_change, other_change) if each]
            LakeLedger(lake).commit(changes, {"landings": [entry]})
        except Conflict:
            remove_files(written)
            raise
        return out, out_rejected

    def change_alone() -> tuple[int, int]:
        with advisory_lock(commit_lock(lake, raw)):
            return change()

    replaced = retry_conflicts(change_alone)
    done.rows += rows.num_rows
    done.rejected += rejected.num_rows
    done.replaced += sum(replaced)


def _exchange(
    lake: Lake,
    table: Table,
    spans: Spans,
    new: pa.Table,
    properties: Mapping[str, str],
    written: list[DataFile],
) -> tuple[Staged | None, int]:
    """Stages a table with new rows in place of the rows in `spans`.

    Returns:
        The staged state, or None if nothing changes, and the number of replaced rows.
    """
    from pyiceberg.expressions import And, EqualTo, GreaterThanOrEqual, LessThan, Or

    from meshhouse.lake.projection import ArrowScan

    base, taken = table.metadata_location or None, 0
    inside: Any = None
    for partition, (start, end) in spans.items():
        span = And(
            EqualTo("_topic_partition", partition),
            GreaterThanOrEqual("_offset", start),
            LessThan("_offset", end),
        )
        inside = span if inside is None else Or(inside, span)
    scan = table.scan(row_filter=inside)
    tasks = list(scan.plan_files()) if table.current_snapshot() else []

    def kept() -> Iterator[pa.RecordBatch]:
        nonlocal taken
        whole = table.scan()
        reader = ArrowScan(table.metadata, table.io, whole.projection(), whole.row_filter)
        for batch in reader.to_record_batches(tasks):
            outside = _outside(batch, spans)
            taken += batch.num_rows - outside.num_rows
            if outside.num_rows:
                yield outside

    write_id = uuid.uuid4()
    with table.transaction() as transaction:
        if properties:
            transaction.set_properties(dict(properties))
        files = write_files(table.io, transaction.table_metadata, kept(), write_id)
        written += files
        if new.num_rows:
            fresh = write_files(
                table.io, transaction.table_metadata, new.to_batches(), uuid.uuid4()
            )
            written += fresh
            files += fresh
        if tasks or files:
            exchange_files(transaction, [task.file for task in tasks], files, write_id)
    if table.metadata_location == (base or ""):
        return None, taken
    return lake.staged(table, base), taken


def _outside(batch: pa.RecordBatch, spans: Spans) -> pa.RecordBatch:
    import pyarrow.compute as pc

    keep = None
    for partition, (start, end) in spans.items():
        within = pc.and_(
            pc.equal(batch["_topic_partition"], partition),
            pc.and_(pc.greater_equal(batch["_offset"], start), pc.less(batch["_offset"], end)),
        )
        outside = pc.invert(within)
        keep = outside if keep is None else pc.and_(keep, outside)
    return batch.filter(keep)
