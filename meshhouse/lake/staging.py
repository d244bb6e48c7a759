"""Staged tables: their commits write metadata files that readers do not see yet.

Belongs here: what a pyiceberg table does instead of committing to a catalog. Not here: the
content of a metadata file (states.py), or making it visible (catalog.py).
"""

from __future__ import annotations

from typing import Any

from pyiceberg.io import FileIO
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.metadata import TableMetadata

from meshhouse.lake.pyiceberg_private import NoCatalog, StagedTable, metadata_after
from meshhouse.lake.states import write_metadata


def staging_table(relation: str, metadata: TableMetadata, location: str, io: FileIO) -> Table:
    """A table at a metadata location; each commit only writes the next metadata file."""
    return StagedTable(tuple(relation.split(".")), metadata, location, io, _Stage())  # type: ignore[arg-type]


class _Stage(NoCatalog):
    """In place of a pyiceberg catalog: a commit only writes the metadata file."""

    def commit_table(self, table: Table, requirements: Any, updates: Any) -> Any:
        """Writes the metadata file; pyiceberg calls it at the end of a transaction."""
        for requirement in requirements:
            requirement.validate(table.metadata)
        metadata = metadata_after(table.metadata, updates, table.metadata_location or None)
        metadata = _no_earlier(metadata, table.metadata)
        location = write_metadata(table, metadata)
        return CommitTableResponse(metadata=metadata, metadata_location=location)

    def supports_server_side_planning(self) -> bool:
        """False: pyiceberg plans scans in this process, from the manifests."""
        return False


def _no_earlier(metadata: Any, base: Any) -> Any:
    """Metadata without a timestamp before its base's, even if the clock has gone back.

    Iceberg's Java library refuses a table whose snapshot log goes back by more than a minute, and
    snapshot expiry compares these timestamps.
    """
    floor = base.last_updated_ms
    known = {each.snapshot_id for each in base.snapshots}
    logged = {(each.snapshot_id, each.timestamp_ms) for each in base.snapshot_log}

    def late(entry: Any) -> Any:
        at = max(entry.timestamp_ms, floor)
        return entry.model_copy(update={"timestamp_ms": at})

    return metadata.model_copy(
        update={
            "last_updated_ms": max(metadata.last_updated_ms, floor),
            "snapshots": [
                each if each.snapshot_id in known else late(each) for each in metadata.snapshots
            ],
            "snapshot_log": [
                each if (each.snapshot_id, each.timestamp_ms) in logged else late(each)
                for each in metadata.snapshot_log
            ],
        }
    )
