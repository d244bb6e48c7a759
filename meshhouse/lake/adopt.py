"""Making a table show what another one holds, without copying a row.

Belongs here: the metadata that names another table's snapshot. Does not: how that one is
partitioned and sorted (specs.py), deciding when (engines/), or showing it (catalog.py).

Iceberg data files belong to no table: a snapshot is a list of them. So a published table
can show the snapshot that an engine built, at a cost that does not grow with its rows,
and keeps a history of its own, which rollback reads.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from meshhouse.errors import MeshError
from meshhouse.lake.catalog import Lake
from meshhouse.lake.specs import manifest_list, with_their_sort_order, with_their_specs
from meshhouse.lake.states import write_metadata
from meshhouse.lake.texts import Texts, data_files, with_docs
from meshhouse.ledger import Staged

if TYPE_CHECKING:
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table


def adopt(lake: Lake, relation: str, other: Table, texts: Texts | None = None) -> Staged:
    """Stages the current snapshot of another table as the newest state of a relation.

    The other table's files must outlive the snapshot; upkeep removes only what is in a
    table's own folder, so nothing that happens to the relation endangers them.

    Args:
        lake: where the relation is shown.
        relation: `schema.table`; it may not exist yet.
        other: a table that has a snapshot.
        texts: what readers of the relation are to know of it; None leaves that as it is.

    Raises:
        MeshError: the other table is of another version of Iceberg's format, or its files
            cannot be listed beside those that were published before.
    """
    table = lake.load(relation)
    base = table.metadata_location if table is not None else None
    schema = other.schema() if texts is None else with_docs(other.schema(), texts.docs)
    if table is None:
        table = lake.stage(relation, schema)
        # So that theirs can have the number that their manifests name.
        table.metadata = table.metadata.model_copy(update={"partition_specs": []})
    metadata = table.metadata
    snapshot = other.current_snapshot()
    if snapshot is None:
        raise MeshError(f"{relation} has nothing to show: its build holds no rows yet.")
    _check(relation, metadata, other.metadata)
    metadata, schema_id = _with_their_schema(metadata, schema)
    manifests = snapshot.manifests(other.io)
    metadata, specs = with_their_specs(metadata, other.metadata, manifests, lake.is_served)
    metadata = with_their_sort_order(metadata, other.metadata, lake.is_served)
    now = max(int(time.time() * 1000), metadata.last_updated_ms + 1)
    update: dict[str, Any] = {
        "current_schema_id": schema_id,
        "current_snapshot_id": snapshot.snapshot_id,
        "refs": {**metadata.refs, "main": _main(snapshot.snapshot_id)},
        "snapshot_log": [*metadata.snapshot_log, _logged(snapshot.snapshot_id, now)],
        "last_updated_ms": now,
    }
    if texts is not None:
        files = data_files(other.io, manifests) if texts.promised else ()
        without_null = texts.columns_without_null(schema, files)
        update["properties"] = texts.properties(metadata.properties, without_null)
    # One that was shown before is part of the history already, with its place in it.
    if metadata.snapshot_by_id(snapshot.snapshot_id) is None:
        # Later than all before it, as a catalog service may check. Files have numbers of their
        # own in the manifests.
        last = max(metadata.last_sequence_number + 1, snapshot.sequence_number or 0)
        adopted = snapshot.model_copy(
            update={
                "schema_id": schema_id,
                "parent_snapshot_id": metadata.current_snapshot_id,
                "sequence_number": last,
                "timestamp_ms": now,
                "manifest_list": manifest_list(table, snapshot, manifests, other.metadata, specs),
            }
        )
        update["snapshots"] = [*metadata.snapshots, adopted]
        update["last_sequence_number"] = last
    table.metadata = metadata.model_copy(update=update)
    table.metadata_location = write_metadata(table)
    return lake.staged(table, base)


def _check(relation: str, ours: Any, theirs: Any) -> None:
    """Refuses what one history could not hold together with what was published before."""
    if ours.format_version != theirs.format_version:
        raise MeshError(
            f"{relation} was built in version {theirs.format_version} of Iceberg's format, and "
            f"what is published has version {ours.format_version}. Remove `format-version` from "
            "the model's `tblproperties` and run it with `--force`."
        )


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
