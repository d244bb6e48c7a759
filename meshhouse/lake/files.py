"""Writing data files that no snapshot lists yet, and reading data files one by one.

Belongs here: Arrow batches to Parquet files of a table and back, in bounded memory. Not here:
adding the files to a snapshot (rewrite.py, or pyiceberg's append).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from meshhouse.lake.storage import delete

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.io import FileIO
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table
    from pyiceberg.table.metadata import TableMetadata

_ROWS_READ = 8_192
_FIELD_ID = b"PARQUET:field_id"


def write_files(
    io: FileIO, metadata: TableMetadata, batches: Iterable[pa.RecordBatch], write_id: uuid.UUID
) -> list[DataFile]:
    """Writes batches into as few Parquet files as the table's target size allows.

    Args:
        io: the table's files.
        metadata: the table's metadata, with the schema to write.
        batches: the rows, in the order in which the files will hold them.
        write_id: part of the files' names; unique for each attempt.
    """
    from pyiceberg.table import TableProperties, WriteTask

    from meshhouse.lake.projection import bin_pack_record_batches, write_file

    target = int(metadata.properties[TableProperties.WRITE_TARGET_FILE_SIZE_BYTES])
    files: list[DataFile] = []
    # One task per call: `write_file` collects all its tasks before it writes the first one, which
    # would hold all rows in memory.
    for number, packed in enumerate(bin_pack_record_batches(iter(batches), target)):
        task = WriteTask(
            write_uuid=write_id, task_id=number, schema=metadata.schema(), record_batches=packed
        )
        files += write_file(io, metadata, iter([task]))
    return files


def remove_files(files: Iterable[DataFile]) -> None:
    """Deletes data files that no snapshot will list."""
    for file in files:
        delete(file.file_path)


def rows_of(table: Table, file: DataFile) -> Iterator[pa.RecordBatch]:
    """The rows of one file with the table's current columns; columns added later are null."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyiceberg.io.pyarrow import schema_to_pyarrow

    wanted = schema_to_pyarrow(table.schema())
    with table.io.new_input(file.file_path).open() as opened, pq.ParquetFile(opened) as parquet:
        position = {
            int((field.metadata or {}).get(_FIELD_ID, -1)): index
            for index, field in enumerate(parquet.schema_arrow)
        }
        for batch in parquet.iter_batches(_ROWS_READ):
            columns = []
            for field in wanted:
                index = position.get(int(field.metadata[_FIELD_ID]))
                columns.append(
                    pa.nulls(batch.num_rows, field.type)
                    if index is None
                    else batch.column(index).cast(field.type)
                )
            yield pa.RecordBatch.from_arrays(columns, schema=wanted)
