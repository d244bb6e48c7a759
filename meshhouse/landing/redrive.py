"""Redriving rejected events: decoding them again, or discarding them.

Belongs here: moving events out of the table of rejected events. Not here: selecting and reading
them (rejected.py), or decoding an event (decode.py).

One catalog transaction adds rows to the raw table, removes events from the table of rejected events
and writes the ledger entry. So every event is in exactly one of the two tables, even if the command
is killed or runs beside a lander.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from meshhouse.errors import MeshError, UsageError
from meshhouse.events.source import EVENT_SCHEMA
from meshhouse.lake import Lake
from meshhouse.lake.files import remove_files, write_files
from meshhouse.lake.ledger import LakeLedger
from meshhouse.lake.schema import iceberg_schema
from meshhouse.lake.states import REWRITTEN
from meshhouse.landing.decode import REJECTED_COLUMNS, Decoder
from meshhouse.landing.lake_table import check_columns, commit_lock, staged_table
from meshhouse.landing.rejected import EVERYTHING, Choice, never_landed, relation
from meshhouse.landing.store import LANDED_AT, last_landed_at, next_landed_at
from meshhouse.ledger import ATTEMPTS, Conflict, Staged, retry_conflicts
from meshhouse.locks import advisory_lock
from meshhouse.repository import RawTable

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table

BATCH_BYTES = 64 * 1024 * 1024
"""Size of the events that one transaction changes, rounded up to a data file; bounds memory."""
_ROWS_READ = 8_192


@dataclass(frozen=True)
class Redriven:
    """The result of a redrive."""

    moved: int
    """Number of events that became rows of the raw table."""
    kept: int
    """Number of events that still cannot be decoded."""


def redrive(
    lake: Lake, raw: RawTable, choice: Choice = EVERYTHING, batch_bytes: int = BATCH_BYTES
) -> Redriven:
    """Decodes the chosen events with the current declaration, and lands those that succeed.

    An event that still cannot be decoded stays, with its new reason.

    Raises:
        UsageError: see `own_table`, or the declared columns no longer fit.
        MeshError: other processes changed the tables before every attempt.
    """
    check_columns(raw, own_table(lake, raw))
    # Ledgers of earlier versions have this word for the kind, too.
    change = _Change(lake, raw, "replay", choice, batch_bytes, Decoder(raw))
    change.run()
    return Redriven(change.removed, change.kept)


def discard(
    lake: Lake, raw: RawTable, choice: Choice = EVERYTHING, batch_bytes: int = BATCH_BYTES
) -> int:
    """Deletes the chosen events.

    Returns:
        The number of deleted events.

    Raises:
        UsageError: see `own_table`.
        MeshError: other processes changed the table before every attempt.
    """
    own_table(lake, raw)
    change = _Change(lake, raw, "discard", choice, batch_bytes)
    change.run()
    return change.removed


def own_table(lake: Lake, raw: RawTable) -> Table:
    """Loads the raw table, if the current environment may change it.

    Raises:
        UsageError: the table was never landed, or it is production's and the environment only
            reads it.
    """
    table = lake.load(raw.relation)
    if table is not None:
        return table
    if raw.relation not in lake.visible():
        raise never_landed(raw)
    raise UsageError(
        f"{raw.relation} is production's table, which environment `{lake.environment}` only reads. "
        f"Unset MESH_ENV to change it, or run `mesh land {raw.relation}` to give this environment "
        "its own table."
    )


class _Output:
    """Collects rows for new data files of a table; memory holds about one file."""

    def __init__(self, table: Table) -> None:
        self.files: list[DataFile] = []
        self._table = table
        self._held: list[pa.Table] = []
        self._bytes = 0

    def add(self, rows: pa.Table) -> None:
        if rows.num_rows:
            self._held.append(rows)
            self._bytes += rows.nbytes
        if self._bytes >= BATCH_BYTES:
            self.flush()

    def absorb(self, other: _Output) -> None:
        """Takes over the files and rows of another output."""
        self.files += other.files
        for rows in other._held:
            self.add(rows)

    def flush(self) -> None:
        """Writes the rows in memory to files."""
        batches = (batch for rows in self._held for batch in rows.to_batches())
        self.files += write_files(self._table.io, self._table.metadata, batches, uuid.uuid4())
        self._held, self._bytes = [], 0


@dataclass
class _Batch:
    """The change of one transaction: it replaces whole data files of rejected events."""

    old: list[DataFile]
    remaining: _Output
    rows: _Output | None
    bytes: int = 0
    removed: int = 0
    kept: int = 0


class _Change:
    """Removes chosen events from the table of rejected events, in batches."""

    def __init__(
        self,
        lake: Lake,
        raw: RawTable,
        kind: str,
        choice: Choice,
        batch_bytes: int,
        decoder: Decoder | None = None,
    ) -> None:
        """Without a decoder, the chosen events are discarded."""
        self._lake = lake
        self._raw = raw
        self._choice = choice
        self._batch_bytes = batch_bytes
        self._decoder = decoder
        self._entry = {
            "run_id": str(uuid.uuid4()),
            "domain": raw.domain,
            "raw_table": raw.relation,
            "kind": kind,
            "reason": choice.reason,
        }
        # Files that need no further look: data files never change.
        self._done: set[str] = set()
        self.removed = 0
        self.kept = 0

    def run(self) -> None:
        """Changes one batch after the other until no chosen event is left."""
        path = commit_lock(self._lake, self._raw)

        def change() -> bool:
            with advisory_lock(path):  # avoids conflicts with landers on this machine
                return self._change_batch()

        try:
            while retry_conflicts(change):
                pass
        except Conflict as conflict:
            raise MeshError(
                f"Other processes changed {self._raw.relation} before each of {ATTEMPTS} attempts. "
                f"This command changed {self.removed:,} events and left the others as they were. "
                "Run it again."
            ) from conflict

    def _change_batch(self) -> bool:
        """Runs one transaction; returns False if nothing is left to change."""
        started_at = datetime.now(UTC)
        if self._lake.state(relation(self._raw)) is None:
            return False
        rejected = self._lake.stage(
            relation(self._raw), iceberg_schema(REJECTED_COLUMNS), writer=self._raw.domain
        )
        target = self._target()
        batch = _Batch([], _Output(rejected), _Output(target) if target else None)
        landed_at = next_landed_at(last_landed_at(target.properties)) if target else started_at
        self._collect(rejected, landed_at, batch)
        if not batch.old:
            return False
        changes = [self._exchange(rejected, batch)]
        if target is not None and batch.rows is not None and batch.rows.files:
            changes.append(self._append(target, batch.rows, landed_at))
        entry = {
            **self._entry,
            "events": batch.removed,
            "started_at": started_at,
            "finished_at": datetime.now(UTC),
        }
        entries = [entry] if batch.removed else []
        try:
            LakeLedger(self._lake).commit(changes, {"rejections": entries})
        except Conflict:
            # Only after a conflict: after any other failure the files may be visible.
            remove_files(batch.remaining.files)
            remove_files(batch.rows.files if batch.rows else ())
            raise
        self._done.update(file.file_path for file in batch.remaining.files)
        self.removed += batch.removed
        self.kept += batch.kept
        return True

    def _target(self) -> Table | None:
        if self._decoder is None:
            return None
        return staged_table(self._lake, self._raw, self._decoder.schema)

    def _collect(self, rejected: Table, landed_at: datetime, batch: _Batch) -> None:
        """Adds data files to a batch until it is large enough for one transaction."""
        for task in rejected.scan().plan_files():
            if task.file.file_path in self._done:
                continue
            if task.delete_files:
                raise MeshError(
                    f"Another engine deleted rows of {relation(self._raw)} with delete files, "
                    "which Meshhouse does not read. Rewrite the table's data files with that "
                    "engine."
                )
            self._sort(rejected, task.file, landed_at, batch)
            if batch.bytes >= self._batch_bytes:
                break
        batch.remaining.flush()
        if batch.rows is not None:
            batch.rows.flush()

    def _sort(self, rejected: Table, file: DataFile, landed_at: datetime, batch: _Batch) -> None:
        """Adds one data file to a batch, if any of its events changes."""
        remaining, is_changed, removed, kept = _Output(rejected), False, 0, 0
        for events in _read_file(rejected, file):
            mask = self._choice.mask(events)
            chosen = events.filter(mask)
            remaining.add(events.filter(pc.invert(mask)))
            is_changed |= self._decoder is None and chosen.num_rows > 0
            removed += chosen.num_rows
            for part, failed in self._decode(chosen, landed_at, batch):
                remaining.add(failed)
                is_changed |= not failed.equals(part)
                removed -= failed.num_rows
                kept += failed.num_rows
            batch.bytes += events.nbytes if is_changed else 0
        if not is_changed:
            remove_files(remaining.files)
            self._done.add(file.file_path)
            self.kept += kept
            return
        batch.old.append(file)
        batch.remaining.absorb(remaining)
        batch.removed += removed
        batch.kept += kept

    def _decode(
        self, events: pa.Table, landed_at: datetime, batch: _Batch
    ) -> Iterator[tuple[pa.Table, pa.Table]]:
        """Yields the events of each partition, and those that fail, with their new reasons."""
        if self._decoder is None or batch.rows is None:
            return
        for partition in pc.unique(events["_topic_partition"]).to_pylist():
            part = events.filter(pc.equal(events["_topic_partition"], partition))
            decoded = self._decoder.decode(partition, _numbered(part), landed_at)
            offsets = pc.take(part["_offset"], decoded.rows["_offset"])
            batch.rows.add(_replaced(decoded.rows, "_offset", offsets))
            numbers = pa.array(range(part.num_rows), pa.int64())
            converted = pc.is_in(numbers, decoded.rows["_offset"].combine_chunks())
            places = pc.index_in(numbers, decoded.rejected["_offset"].combine_chunks())
            reasons = pc.take(decoded.rejected["reason"], places).cast(pa.string())
            renewed = _replaced(part, "reason", pc.coalesce(reasons, part["reason"]))
            yield part, renewed.filter(pc.invert(converted))

    def _exchange(self, rejected: Table, batch: _Batch) -> Staged:
        from meshhouse.lake.rewrite import exchange_files

        base = rejected.metadata_location
        with rejected.transaction() as transaction:
            exchange_files(transaction, batch.old, batch.remaining.files)
        return self._lake.staged(rejected, base)

    def _append(self, target: Table, rows: _Output, landed_at: datetime) -> Staged:
        base = target.metadata_location
        with target.transaction() as transaction:
            time = landed_at.isoformat()
            # The events are older than rows that are already landed. An incremental model would
            # take them for the newest rows of their keys, so it must be rebuilt.
            transaction.set_properties({LANDED_AT: time, REWRITTEN: time})
            with transaction.update_snapshot().fast_append() as snapshot:
                for file in rows.files:
                    snapshot.append_data_file(file)
        return self._lake.staged(target, base)


def _read_file(rejected: Table, file: DataFile) -> Iterator[pa.Table]:
    """Yields the rejected events of one data file in small tables."""
    schema = rejected.schema().as_arrow()
    with rejected.io.new_input(file.file_path).open() as opened, pq.ParquetFile(opened) as parquet:
        for batch in parquet.iter_batches(_ROWS_READ, columns=schema.names):
            yield pa.Table.from_batches([batch]).select(schema.names).cast(schema)


def _numbered(rejected: pa.Table) -> pa.Table:
    """Rejected events in `EVENT_SCHEMA`; headers were not kept.

    Row numbers replace the offsets, which are not unique if the topic was ever created again.
    """
    columns = {
        "offset": pa.array(range(rejected.num_rows)),
        "timestamp": rejected["_timestamp"],
        "key": rejected["_key"],
        "value": rejected["value"],
        "headers": pa.nulls(rejected.num_rows),
    }
    arrays = [columns[each.name].cast(each.type) for each in EVENT_SCHEMA]
    return pa.Table.from_arrays(arrays, schema=EVENT_SCHEMA)


def _replaced(table: pa.Table, name: str, values: pa.ChunkedArray) -> pa.Table:
    index = table.schema.get_field_index(name)
    return table.set_column(index, table.schema.field(index), values)
