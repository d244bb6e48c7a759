"""Making a table show what another one holds, without copying a row.

Belongs here: the metadata that names another table's snapshot. Does not: deciding when
(engines/), or showing it (catalog.py).

Iceberg data files belong to no table: a snapshot is a list of them. So a published table
can show the snapshot that an engine built, at a cost that does not grow with its rows,
and keeps a history of its own, which rollback reads.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from meshhouse.lake.catalog import Lake, Staged, write_metadata

if TYPE_CHECKING:
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table


def adopt(lake: Lake, relation: str, other: Table) -> Staged:
    """Stages the current snapshot of another table as the newest state of a relation.

    The other table's files must outlive the snapshot; upkeep removes only what is in a
    table's own folder, so nothing that happens to the relation endangers them.

    Args:
        lake: where the relation is shown.
        relation: `schema.table`; it may not exist yet.
        other: a table that has a snapshot.
    """
    table = lake.stage(relation, other.schema()) if lake.load(relation) is None else None
    base = None
    if table is None:
        table = lake.load(relation)
        assert table is not None
        base = table.metadata_location
    metadata, theirs = table.metadata, other.metadata
    snapshot = other.current_snapshot()
    assert snapshot is not None, relation
    if not _same_partitions(metadata, theirs):
        # Manifests name partition specs by number, so the two histories cannot be one.
        metadata = theirs.model_copy(
            update={
                "location": metadata.location,
                "properties": {**theirs.properties, **metadata.properties},
                "snapshots": [],
                "refs": {},
                "snapshot_log": [],
                "statistics": [],
                "partition_statistics": [],
            }
        )
    metadata, schema_id = _with_their_schema(metadata, other.schema())
    now = max(int(time.time() * 1000), metadata.last_updated_ms + 1)
    adopted = snapshot.model_copy(
        update={
            "schema_id": schema_id,
            "parent_snapshot_id": metadata.current_snapshot_id,
            "timestamp_ms": now,
        }
    )
    others = [each for each in metadata.snapshots if each.snapshot_id != snapshot.snapshot_id]
    table.metadata = metadata.model_copy(
        update={
            "snapshots": [*others, adopted],
            "current_schema_id": schema_id,
            "current_snapshot_id": snapshot.snapshot_id,
            "refs": {**metadata.refs, "main": _main(snapshot.snapshot_id)},
            "snapshot_log": [*metadata.snapshot_log, _logged(snapshot.snapshot_id, now)],
            "last_sequence_number": max(
                metadata.last_sequence_number, snapshot.sequence_number or 0
            ),
            "last_updated_ms": now,
        }
    )
    table.metadata_location = write_metadata(table)
    return lake.staged(table, base)


def _same_partitions(ours: Any, theirs: Any) -> bool:
    known = {each.spec_id: each.fields for each in ours.partition_specs}
    return all(known.get(each.spec_id, each.fields) == each.fields
               for each in theirs.partition_specs) and (
        ours.default_spec_id == theirs.default_spec_id
    )  # fmt: skip


def _with_their_schema(metadata: Any, schema: Schema) -> tuple[Any, int]:
    """Metadata that knows a schema with its very field ids, and the schema's number there."""
    for known in metadata.schemas:
        if known.fields == schema.fields:
            return metadata, known.schema_id
    number = max(each.schema_id for each in metadata.schemas) + 1
    added = schema.model_copy(update={"schema_id": number})
    update = {
        "schemas": [*metadata.schemas, added],
        "last_column_id": max(metadata.last_column_id, schema.highest_field_id),
    }
    return metadata.model_copy(update=update), number


def _main(snapshot_id: int) -> Any:
    from pyiceberg.table.refs import SnapshotRef, SnapshotRefType

    return SnapshotRef(snapshot_id=snapshot_id, snapshot_ref_type=SnapshotRefType.BRANCH)


def _logged(snapshot_id: int, at: int) -> Any:
    from pyiceberg.table.snapshots import SnapshotLogEntry

    return SnapshotLogEntry(snapshot_id=snapshot_id, timestamp_ms=at)
