"""Zero-copy publish: a published table shows the snapshot that an engine built.

Belongs here: the metadata that names another table's snapshot. Not here: partition specs and sort
orders (specs.py), when to publish (engines/), or making the new state visible (catalog.py).

An Iceberg snapshot is a list of data files, and two tables can list the same files. So
publishing costs the same for any number of rows. The published table keeps a separate history,
which rollback reads.
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

    The other table's files must exist for as long as the relation keeps the snapshot. Maintenance
    of the relation never deletes them, because it deletes only files in the relation's folder.

    Args:
        lake: the lake that holds the relation.
        relation: `schema.table`; it need not exist.
        other: the table that was built; it must have a snapshot.
        texts: comment, owner and column descriptions to write; None keeps the present ones.

    Raises:
        MeshError: the other table has no snapshot, has another version of Iceberg's format, or
            holds delete files under a partition spec that the relation numbers differently.
    """
    table = lake.load(relation)
    base = table.metadata_location if table is not None else None
    schema = other.schema() if texts is None else with_docs(other.schema(), texts.docs)
    if table is None:
        table = lake.stage(relation, schema)
        # A new table has spec 0. Without it, the built table's specs keep their ids, which its
        # manifests name.
        table.metadata = table.metadata.model_copy(update={"partition_specs": []})
    metadata = table.metadata
    snapshot = other.current_snapshot()
    if snapshot is None:
        raise MeshError(f"{relation} has nothing to publish: its build holds no rows yet.")
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
    # After a rollback, the history already has the snapshot.
    if metadata.snapshot_by_id(snapshot.snapshot_id) is None:
        # Higher than every earlier one, which catalog services may check. The sequence numbers of
        # files are in the manifests and do not change.
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


def _check(relation: str, published: Any, built: Any) -> None:
    """Refuses a build in another version of Iceberg's format: one table has one version."""
    if published.format_version != built.format_version:
        raise MeshError(
            f"{relation} was built in version {built.format_version} of Iceberg's format, but the "
            f"published table has version {published.format_version}. Remove `format-version` "
            "from the model's `tblproperties` and run it with `--force`."
        )


def _with_their_schema(metadata: Any, schema: Schema) -> tuple[Any, int]:
    """Metadata that has a schema with the same field ids, and the schema's id in it."""
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
