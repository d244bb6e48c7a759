"""The work of Spark's executors when they land events: decode, write files, describe the files.

Belongs here: all code that runs on other machines. They need this package installed, and the lake's
folder at the same path. Not here: commits, which the driver makes (landing/target.py), or the
streaming query (landing.py).

Spark may run a task twice, and a task may fail. Only the files that the successful task describes
are committed; maintenance removes the others.
"""

from __future__ import annotations

import os
import pickle
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from meshhouse.events.source import EVENT_SCHEMA
from meshhouse.lake.files import remove_files, write_files
from meshhouse.lake.storage import file_io
from meshhouse.landing.decode import Decoder
from meshhouse.landing.formats import schema_registry
from meshhouse.landing.pending import RESCUED_SAMPLE, Plan, Written, unknown_fields
from meshhouse.repository import RawTable

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table.metadata import TableMetadata

FILE_BYTES = 128 * 1024 * 1024
"""Size of decoded rows that a task holds before it writes them; bounds its memory."""
EVENT_COLUMNS = ("partition", "offset", "timestamp", "key", "value")
"""Columns that a task reads of Spark's Kafka source. Headers are left out: no raw table uses them,
and passing them from the JVM to Python lowers the rate from 171k to 36k events/s."""
DESCRIPTION = "description binary"
"""Schema of a task's result, in Spark's notation."""
_DESCRIPTION = pa.schema([pa.field("description", pa.binary())])


@dataclass(frozen=True)
class Described:
    """The result of one task."""

    written: Written
    read: Mapping[int, tuple[int, int]]
    """Partition -> the first and the last offset that the task read."""


@dataclass(frozen=True)
class Task:
    """The data that an executor needs to land some events."""

    raw: RawTable
    run: str
    """Id of the landing. An executor keeps its decoder, with cached schemas, for one landing."""
    landed_at: datetime
    tables: tuple[str, str]
    """Metadata of the raw table and of its rejected events, as JSON."""
    environment: Mapping[str, str] = field(repr=False)
    """Address and credentials of the schema registry; address of the object store."""

    @classmethod
    def of(cls, raw: RawTable, run: str, plan: Plan) -> Task:
        """Makes the task that writes files as a plan requires."""
        names = (schema_registry.URL, schema_registry.USER_INFO, "AWS_ENDPOINT_URL", "AWS_REGION")
        known = {name: os.environ.get(name) for name in names}
        return cls(
            raw, run, plan.landed_at, (_without_history(plan.raw), _without_history(plan.rejected)),
            {name: value for name, value in known.items() if value},
        )  # fmt: skip

    def write(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Decodes events of Spark's Kafka source and writes rows and rejected events to files."""
        os.environ.update(self.environment)
        decoder = _decoder(self.raw, self.run)
        rows, rejected = (_Files(_metadata(text)) for text in self.tables)
        read: dict[int, tuple[int, int]] = {}
        fields: set[str] = set()
        sampled = 0
        try:
            for batch in batches:
                for partition, events in _by_partition(batch):
                    bounds = pc.min_max(events["offset"]).as_py()
                    first, last = read.get(partition, (bounds["min"], bounds["max"]))
                    read[partition] = min(first, bounds["min"]), max(last, bounds["max"])
                    decoded = decoder.decode(partition, events, self.landed_at)
                    if sampled < RESCUED_SAMPLE:
                        fields.update(unknown_fields(decoded.rows))
                        rescued = decoded.rows["_rescued"]
                        sampled += len(rescued) - rescued.null_count
                    rows.add(decoded.rows)
                    rejected.add(decoded.rejected)
            rows.write()
            rejected.write()
        except BaseException:
            remove_files([*rows.files, *rejected.files])
            raise
        written = Written(tuple(rows.files), tuple(rejected.files), rows.count, rejected.count,
                          tuple(sorted(fields)))  # fmt: skip
        description = pickle.dumps(Described(written, read))
        yield pa.RecordBatch.from_arrays([pa.array([description], pa.binary())], _DESCRIPTION.names)


def described(description: bytes) -> Described:
    """Unpacks the result of a task."""
    return pickle.loads(description)  # noqa: S301 - written by `Task.write` on an executor


class _Files:
    """Collects rows and writes them to files of about `FILE_BYTES`."""

    def __init__(self, metadata: TableMetadata) -> None:
        self.files: list[DataFile] = []
        self.count = 0
        self._metadata = metadata
        self._waiting: list[pa.Table] = []
        self._bytes = 0

    def add(self, rows: pa.Table) -> None:
        if rows.num_rows:
            self.count += rows.num_rows
            self._waiting.append(rows)
            self._bytes += rows.nbytes
        if self._bytes >= FILE_BYTES:
            self.write()

    def write(self) -> None:
        if self._waiting:
            batches = pa.concat_tables(self._waiting).to_batches()
            io = file_io(self._metadata.location)
            self.files += write_files(io, self._metadata, batches, uuid.uuid4())
        self._waiting, self._bytes = [], 0


@lru_cache(maxsize=32)
def _decoder(raw: RawTable, run: str) -> Decoder:
    # Spark reuses its Python workers, and each runs one task at a time.
    return Decoder(raw)


def _by_partition(batch: pa.RecordBatch) -> Iterator[tuple[int, pa.Table]]:
    """Splits events by partition, in `EVENT_SCHEMA`; a batch mostly has a single partition."""
    table = pa.Table.from_batches([batch])
    for partition in pc.unique(table["partition"]).to_pylist():
        events = table.filter(pc.equal(table["partition"], partition))
        headers = EVENT_SCHEMA.field("headers")
        events = events.append_column(headers, pa.nulls(events.num_rows, headers.type))
        yield partition, events.select(EVENT_SCHEMA.names).cast(EVENT_SCHEMA)


def _metadata(text: str) -> TableMetadata:
    from pyiceberg.table.metadata import TableMetadataUtil

    return TableMetadataUtil.parse_raw(text)


def _without_history(metadata: TableMetadata) -> str:
    """Table metadata without its history, which is most of its size; writing needs none of it."""
    bare = metadata.model_copy(
        update={
            "current_snapshot_id": None,
            "snapshots": [],
            "snapshot_log": [],
            "metadata_log": [],
            "refs": {},
        }
    )
    return bare.model_dump_json()
