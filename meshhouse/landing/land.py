"""Landing: events of a topic become rows of its raw table, each exactly once.

Belongs here: where to go on, what goes into one commit, and the fence against a rival.
Does not: what makes an event a row (decode.py), or where events come from (events/).

The next offset of every partition is a property of the raw table, set in the same
commit as the rows, and rejected events are shown by the same catalog transaction. A
killed run therefore leaves either all of a commit or nothing of it. Offsets are no
part of snapshots, which expire.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from meshhouse.errors import MeshError, UsageError
from meshhouse.events.source import EventBatch, Source, Topic
from meshhouse.lake import Conflict, Lake, Staged
from meshhouse.lake.schema import iceberg_schema
from meshhouse.landing.decode import REJECTED_COLUMNS, Decoded, Decoder
from meshhouse.repository import RawTable, display_path
from meshhouse.repository.types import DataType

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.table import Table

OFFSETS = "meshhouse.offsets"
SOURCE = "meshhouse.source"
LANDED_AT = "meshhouse.landed-at"

BATCH_BYTES = 8 * 1024 * 1024
"""Event values decoded at once by one core."""
COMMIT_BYTES = 128 * 1024 * 1024
"""Decoded rows per commit: bounds memory, and the size of files from below."""
_DECODERS = 2
_AHEAD = 4


@dataclass
class Landing:
    """What landing one raw table did."""

    raw: RawTable
    rows: int = 0
    rejected: int = 0
    commits: int = 0
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    finished_at: datetime | None = None
    offsets: dict[int, int] = field(default_factory=dict)
    """Next offset of each partition."""
    snapshot_id: int | None = None
    total_rows: int = 0
    """Rows that the raw table holds now."""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return ((self.finished_at or datetime.now(UTC)) - self.started_at).total_seconds()


Progress = Callable[[int], None]
"""Called with the number of events done since the last call."""


def land(
    source: Source,
    lake: Lake,
    raw: RawTable,
    progress: Progress = lambda events: None,
    commit_bytes: int = COMMIT_BYTES,
) -> Landing:
    """Lands every event that the topic holds now and the raw table does not.

    Raises:
        UsageError: the topic does not exist, or the declared columns no longer fit.
        MeshError: the topic is not the one that was landed before, events that were not
            landed are gone, or a rival lander moved the table.
    """
    topic = source.describe(raw.topic)
    target = _RawTarget(lake, raw, topic)
    landing = Landing(raw, offsets=dict(target.offsets), snapshot_id=target.snapshot_id)
    ranges = _ranges(raw, topic, target.offsets)
    pending = _Pending()
    with ThreadPoolExecutor(_DECODERS, thread_name_prefix="decode") as pool:
        for batch, decoded in _decoded(source, raw, ranges, target.next_landed_at, pool):
            pending.add(batch, decoded)
            if pending.bytes >= commit_bytes:
                target.commit(pending, landing)
                progress(pending.events)
                pending = _Pending()
        if pending.events:
            target.commit(pending, landing)
            progress(pending.events)
    if not landing.commits and target.is_new:
        target.commit(pending, landing)  # an empty raw table is something to build on
    landing.total_rows = target.total_rows()
    landing.finished_at = datetime.now(UTC)
    return landing


class _Pending:
    """Decoded batches that the next commit will hold."""

    def __init__(self) -> None:
        self.rows: list[pa.Table] = []
        self.rejected: list[pa.Table] = []
        self.offsets: dict[int, int] = {}
        self.bytes = 0
        self.events = 0

    def add(self, batch: EventBatch, decoded: Decoded) -> None:
        if decoded.rows.num_rows:
            self.rows.append(decoded.rows)
        if decoded.rejected.num_rows:
            self.rejected.append(decoded.rejected)
        self.bytes += decoded.rows.nbytes + decoded.rejected.nbytes
        self.events += batch.events.num_rows
        self.offsets[batch.partition] = batch.events["offset"][-1].as_py() + 1


class _RawTarget:
    """The raw table and its table of rejected events, as this run left them."""

    def __init__(self, lake: Lake, raw: RawTable, topic: Topic) -> None:
        self._lake = lake
        self._raw = raw
        self._decoder_columns = Decoder(raw).columns
        self._tables: dict[str, Table] = {}
        self._source = {"cluster_id": topic.cluster_id, "topic_id": topic.topic_id}
        pointers = lake.pointers()
        # The state that the offsets are read from is what commits build on: whatever a
        # rival makes of the table from here on is a conflict.
        self._bases: dict[str, str | None] = {raw.relation: pointers.get(raw.relation)}
        self.is_new = raw.relation not in pointers
        current = lake.load(raw.relation, pointers.get(raw.relation))
        if current is not None:
            _check_columns(raw, current)
        properties = current.properties if current is not None else {}
        self.offsets = {
            int(partition): offset
            for partition, offset in json.loads(properties.get(OFFSETS, "{}")).items()
        }
        known = json.loads(properties.get(SOURCE, "null"))
        if known is not None and known != self._source:
            raise MeshError(
                f"Topic `{raw.topic}` was deleted and created again (or belongs to another "
                f"cluster) since {raw.relation} was last landed, so its offsets start anew. "
                "Nothing was landed. Restore the topic, or declare the new one under a new "
                f"table name in {display_path(raw.path)}."
            )
        snapshot = current.current_snapshot() if current is not None else None
        self.snapshot_id = snapshot.snapshot_id if snapshot else None
        landed_at = properties.get(LANDED_AT)
        self._last = datetime.fromisoformat(landed_at) if landed_at else None

    def next_landed_at(self) -> datetime:
        """The time now, but always later than what the table holds.

        Incremental models ask for what landed since they last looked, so two commits
        must never share a time, whatever the clock does.
        """
        now = datetime.now(UTC)
        if self._last is not None and now <= self._last:
            now = self._last + timedelta(microseconds=1)
        self._last = now
        return now

    def total_rows(self) -> int:
        """Rows in the table, from its newest snapshot's summary."""
        table = self._tables.get(self._raw.relation) or self._lake.load(self._raw.relation)
        snapshot = table.current_snapshot() if table is not None else None
        summary = snapshot.summary if snapshot is not None else None
        return int(summary["total-records"] or 0) if summary is not None else 0

    def commit(self, pending: _Pending, landing: Landing) -> None:
        import pyarrow as pa

        offsets = {**self.offsets, **pending.offsets}
        properties = {
            OFFSETS: json.dumps({str(key): value for key, value in sorted(offsets.items())}),
            SOURCE: json.dumps(self._source),
        }
        if self._last is not None:
            properties[LANDED_AT] = self._last.isoformat()
        rows = pa.concat_tables(pending.rows) if pending.rows else None
        rejected = pa.concat_tables(pending.rejected) if pending.rejected else None
        changes = [self._stage(self._raw.relation, self._decoder_columns, rows, properties)]
        if rejected is not None or self.is_new:
            relation = f"{self._raw.schema}.{self._raw.rejected}"
            changes.append(self._stage(relation, REJECTED_COLUMNS, rejected, {}))
        try:
            self._lake.commit(changes)
        except Conflict as error:
            raise MeshError(
                f"Another lander wrote to {self._raw.relation} while this one was at work. This "
                "one stopped; everything it had not committed will be landed by the next run."
            ) from error
        for change in changes:
            self._bases[change.relation] = change.metadata_location
        self.is_new = False
        self.offsets = offsets
        landing.offsets = dict(offsets)
        landing.rows += rows.num_rows if rows is not None else 0
        landing.rejected += rejected.num_rows if rejected is not None else 0
        landing.commits += 1
        landing.snapshot_id = changes[0].snapshot_id

    def _stage(
        self,
        relation: str,
        columns: Iterable[tuple[str, DataType]],
        rows: pa.Table | None,
        properties: dict[str, str],
    ) -> Staged:
        # Going on from the table of the last commit spares reading its metadata again.
        table = self._tables.get(relation)
        if table is None:
            table = self._lake.stage(relation, iceberg_schema(columns))
            self._tables[relation] = table
            self._bases.setdefault(relation, table.metadata_location or None)
        base = self._bases[relation]
        with table.transaction() as transaction:
            transaction.set_properties({"meshhouse.kind": "raw", **properties})
            if rows is not None:
                transaction.append(rows)
        return self._lake.staged(table, base)


def _ranges(raw: RawTable, topic: Topic, offsets: dict[int, int]) -> dict[int, tuple[int, int]]:
    ranges = {}
    for number, partition in topic.partitions.items():
        start = offsets.get(number, partition.begin)
        if start < partition.begin:
            raise MeshError(
                f"Events {start} to {partition.begin - 1} of partition {number} of topic "
                f"`{raw.topic}` were removed before they were landed. Nothing was landed. "
                "Restore them."
            )
        if start > partition.end:
            raise MeshError(
                f"Partition {number} of topic `{raw.topic}` ends at offset {partition.end}, but "
                f"{raw.relation} already holds events up to {start - 1}: the topic lost events. "
                "Nothing was landed. Restore the topic."
            )
        if start < partition.end:
            ranges[number] = (start, partition.end)
    return ranges


def _check_columns(raw: RawTable, current: Table) -> None:
    """Refuses a declaration that would lose what the table holds."""
    from meshhouse.lake.schema import iceberg_type
    from meshhouse.repository.types import parse_type

    declared = {column.name: iceberg_type(parse_type(column.data_type)) for column in raw.columns}
    for existing in current.schema().fields:
        if existing.name.startswith("_"):
            continue
        place = f"{display_path(raw.path)}:{raw.line}"
        if existing.name not in declared:
            raise UsageError(
                f"{place}: column `{existing.name}` of {raw.relation} is no longer declared, but "
                "the table holds its values. Declare it again; a model need not use it."
            )
        if declared[existing.name] != existing.field_type:
            raise UsageError(
                f"{place}: column `{existing.name}` of {raw.relation} holds "
                f"{existing.field_type}; its type cannot become {declared[existing.name]}. "
                "Declare the old type and cast in staging."
            )


def _decoded(
    source: Source,
    raw: RawTable,
    ranges: dict[int, tuple[int, int]],
    landed_at: Callable[[], datetime],
    pool: ThreadPoolExecutor,
) -> Iterator[tuple[EventBatch, Decoded]]:
    """Batches in order, while later ones are being read and decoded."""
    if not ranges:
        return
    import pyarrow as pa

    local = threading.local()

    def decode(batch: EventBatch, at: datetime) -> Decoded:
        if not hasattr(local, "decoder"):
            local.decoder = Decoder(raw)
        return local.decoder.decode(batch.partition, pa.Table.from_batches([batch.events]), at)

    waiting: deque[tuple[EventBatch, Future[Decoded]]] = deque()
    for batch in source.read(raw.topic, ranges, BATCH_BYTES):
        waiting.append((batch, pool.submit(decode, batch, landed_at())))
        if len(waiting) >= _AHEAD:
            ready, future = waiting.popleft()
            yield ready, future.result()
    while waiting:
        ready, future = waiting.popleft()
        yield ready, future.result()
