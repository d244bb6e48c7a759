"""Writing data files that no snapshot names yet.

Belongs here: from Arrow batches to Parquet files of a table, bounded in memory. Does
not: making a snapshot of them (rewrite.py, or pyiceberg's append).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING

from meshhouse.lake.storage import delete

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.io import FileIO
    from pyiceberg.manifest import DataFile
    from pyiceberg.table.metadata import TableMetadata


def write_files(
    io: FileIO, metadata: TableMetadata, batches: Iterable[pa.RecordBatch], write_id: uuid.UUID
) -> list[DataFile]:
    """Writes batches into as few Parquet files as the table's target size allows.

    Args:
        io: of the table.
        metadata: of the table; its current schema is what is written.
        batches: in the order in which rows are to be kept.
        write_id: part of the files' names; unique per attempt.
    """
    from pyiceberg.io.pyarrow import bin_pack_record_batches, write_file
    from pyiceberg.table import TableProperties, WriteTask

    target = int(metadata.properties[TableProperties.WRITE_TARGET_FILE_SIZE_BYTES])
    files: list[DataFile] = []
    # One task a call: write_file hands all its tasks to a pool before it writes the
    # first, which would hold everything in memory.
    for number, packed in enumerate(bin_pack_record_batches(iter(batches), target)):
        task = WriteTask(
            write_uuid=write_id, task_id=number, schema=metadata.schema(), record_batches=packed
        )
        files += write_file(io, metadata, iter([task]))
    return files


def remove_files(files: Iterable[DataFile]) -> None:
    """Removes files that were written for nothing."""
    for file in files:
        delete(file.file_path)
