"""Compaction: merges many small data files into few large ones with the same rows.

Belongs here: which files to merge, and writing the merged ones. Not here: committing them to
the table (maintain.py).

Files smaller than three quarters of the table's target size are merged, oldest rows first, as
soon as there are eight of them. Every landing commit adds a small file; merging after each
commit would rewrite the same rows again and again. Only the last merged file may be small.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyiceberg.io.fileformat import FileFormatFactory
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat, ManifestContent
from pyiceberg.table import Table, TableProperties
from pyiceberg.table.locations import load_location_provider
from pyiceberg.typedef import Record

from meshhouse.lake.files import remove_files, rows_of
from meshhouse.lake.ledger_files import WORTH_MERGING
from meshhouse.lake.manifests import is_small
from meshhouse.lake.pyiceberg_private import bytes_written
from meshhouse.lake.storage import delete

_ROW_GROUPS_PER_FILE = 8


@dataclass(frozen=True)
class Layout:
    """The files of a table's current snapshot."""

    files: tuple[DataFile, ...]
    """Live data files, oldest rows first."""
    small_manifests: int
    has_deletes: bool
    """Whether another engine wrote delete files, which refer to rows by file and position."""
    is_partitioned: bool
    """Whether files belong to partitions; their builder decides which rows a file holds."""

    @property
    def bytes(self) -> int:
        """Size of the data files."""
        return sum(file.file_size_in_bytes for file in self.files)

    @property
    def needs_new_manifests(self) -> bool:
        """Whether readers open more manifests than necessary."""
        return self.small_manifests >= WORTH_MERGING and not self.is_partitioned

    def to_merge(self, target: int) -> tuple[DataFile, ...]:
        """The files to merge into files of about `target` bytes; empty if not worth it."""
        small = tuple(file for file in self.files if file.file_size_in_bytes < target * 3 // 4)
        left_alone = self.has_deletes or self.is_partitioned
        return small if len(small) >= WORTH_MERGING and not left_alone else ()


@dataclass(frozen=True)
class Compaction:
    """Merged files, written but not committed, and the files that they replace."""

    old: tuple[DataFile, ...] = ()
    new: tuple[DataFile, ...] = ()

    def fits(self, files: Collection[DataFile]) -> bool:
        """Whether the table still has every file that this compaction replaces."""
        return set(self.old) <= set(files)

    def discard(self) -> None:
        """Removes the merged files; only for a compaction that was never committed."""
        remove_files(self.new)


def layout(table: Table) -> Layout:
    """The files of a table's current snapshot."""
    snapshot = table.current_snapshot()
    manifests = snapshot.manifests(table.io) if snapshot else []
    data = [manifest for manifest in manifests if manifest.content == ManifestContent.DATA]
    entries = [entry for manifest in data for entry in manifest.fetch_manifest_entry(table.io)]
    entries.sort(key=lambda entry: entry.sequence_number or 0)
    return Layout(
        files=tuple(entry.data_file for entry in entries),
        small_manifests=sum(map(is_small, data)),
        has_deletes=len(data) < len(manifests),
        is_partitioned=any(spec.fields for spec in table.metadata.partition_specs),
    )


def target_bytes(table: Table) -> int:
    """The target size of data files, from the table's properties."""
    return int(
        table.properties.get(
            TableProperties.WRITE_TARGET_FILE_SIZE_BYTES,
            TableProperties.WRITE_TARGET_FILE_SIZE_BYTES_DEFAULT,
        )
    )


def compact(table: Table, old: Sequence[DataFile], numbered: str = "") -> Compaction:
    """Writes the rows of `old` files, in their order, into a few new ones.

    Memory holds one batch of a file and one row group at a time.

    Args:
        table: the table.
        old: its files to merge.
        numbered: an integer column; rows without a value are numbered from 1 in file order.
    """
    writer, count = _Writer(table), 0
    try:
        for file in old:
            for batch in rows_of(table, file):
                if numbered and (missing := batch[numbered].null_count):
                    batch = _with_numbers(batch, numbered, count)
                    count += missing
                writer.write(batch)
        writer.finish()
    except BaseException:
        writer.discard()
        raise
    return Compaction(tuple(old), tuple(writer.files))


def _with_numbers(batch: pa.RecordBatch, column: str, count: int) -> pa.RecordBatch:
    """A batch whose rows without a number get the numbers after `count`."""
    following = itertools.count(count + 1)
    numbers = [next(following) if each is None else each for each in batch[column].to_pylist()]
    at = batch.schema.get_field_index(column)
    return batch.set_column(at, batch.schema.field(at), pa.array(numbers, batch[column].type))


class _Writer:
    """Collects batches into row groups, and row groups into files of the target size."""

    def __init__(self, table: Table) -> None:
        self.files: list[DataFile] = []
        self._table = table
        self._target = target_bytes(table)
        self._provider = load_location_provider(table.location(), table.properties)
        self._write_id = uuid.uuid4()
        self._batches: list[pa.RecordBatch] = []
        self._bytes = 0
        self._location = ""
        self._parquet: Any = None

    def write(self, batch: pa.RecordBatch) -> None:
        self._batches.append(batch)
        self._bytes += batch.nbytes
        if self._bytes >= self._target // _ROW_GROUPS_PER_FILE:
            self._write_row_group()

    def finish(self) -> None:
        if self._batches:
            self._write_row_group()
        if self._parquet is not None:
            self._close_file()

    def discard(self) -> None:
        Compaction(new=tuple(self.files)).discard()
        if self._parquet is not None:
            self._parquet.close()
            delete(self._location)

    def _write_row_group(self) -> None:
        if self._parquet is None:
            name = f"00000-{len(self.files)}-{self._write_id}.parquet"
            self._location = self._provider.new_data_location(name)
            self._parquet = FileFormatFactory.get(FileFormat.PARQUET).create_writer(
                self._table.io.new_output(self._location),
                self._table.schema(),
                self._table.properties,
            )
        self._parquet.write(pa.Table.from_batches(self._batches))
        # The next row group is at most this large: compression makes it smaller on disk.
        if bytes_written(self._parquet) + self._bytes > self._target:
            self._close_file()
        self._batches, self._bytes = [], 0

    def _close_file(self) -> None:
        statistics = self._parquet.close()
        self._parquet = None
        self.files.append(
            DataFile.from_args(
                content=DataFileContent.DATA,
                file_path=self._location,
                file_format=FileFormat.PARQUET,
                partition=Record(),
                file_size_in_bytes=len(self._table.io.new_input(self._location)),
                sort_order_id=None,
                spec_id=self._table.metadata.default_spec_id,
                equality_ids=None,
                key_metadata=None,
                **statistics.to_serialized_dict(),
            )
        )
