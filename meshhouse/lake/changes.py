"""The difference between two states of a table, as updates of Iceberg's REST protocol.

Belongs here: Iceberg's updates and requirements, computed from two metadata files. Not here:
sending them (rest_catalog.py).

A state is staged as a metadata file, because the audit reads it. A catalog service accepts only
updates and writes its metadata files from them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.update import (
    AddPartitionSpecUpdate,
    AddSchemaUpdate,
    AddSnapshotUpdate,
    AddSortOrderUpdate,
    AssertCreate,
    AssertCurrentSchemaId,
    AssertRefSnapshotId,
    AssertTableUUID,
    AssignUUIDUpdate,
    RemovePropertiesUpdate,
    RemoveSnapshotRefUpdate,
    RemoveSnapshotsUpdate,
    SetCurrentSchemaUpdate,
    SetDefaultSortOrderUpdate,
    SetDefaultSpecUpdate,
    SetLocationUpdate,
    SetPropertiesUpdate,
    SetSnapshotRefUpdate,
    UpgradeFormatVersionUpdate,
)

from meshhouse.errors import MeshError

_NEWEST_ADDED = -1
"""In the REST protocol, the id of the last schema, spec or sort order that this commit adds."""


def requirements(base: TableMetadata | None) -> list[dict[str, Any]]:
    """What a service must check before it applies a change to `base`; None for a new table."""
    if base is None:
        return [_json(AssertCreate())]
    main = base.refs.get(MAIN_BRANCH)
    return [
        _json(AssertTableUUID(uuid=base.table_uuid)),
        _json(AssertRefSnapshotId(ref=MAIN_BRANCH, snapshot_id=main.snapshot_id if main else None)),
        _json(AssertCurrentSchemaId(current_schema_id=base.current_schema_id)),
    ]


def updates(base: TableMetadata | None, new: TableMetadata) -> list[dict[str, Any]]:
    """The updates that turn `base` into `new`; empty if they are the same.

    Raises:
        MeshError: a partition spec of `new` has an id that a service would not give it.
    """
    return [
        _with_last_column(_json(update), new)
        # Columns first: specs and sort orders refer to them, and snapshots refer to all three.
        for part in (_made(base, new), _columns(base, new), _partitions(base, new),
                     _sorting(base, new), _properties(base, new), _snapshots(base, new))
        for update in part
    ]  # fmt: skip


def _made(base: TableMetadata | None, new: TableMetadata) -> Iterator[Any]:
    if base is not None:
        return
    yield AssignUUIDUpdate(uuid=new.table_uuid)
    yield UpgradeFormatVersionUpdate(format_version=new.format_version)
    yield SetLocationUpdate(location=new.location)


def _columns(base: TableMetadata | None, new: TableMetadata) -> Iterator[Any]:
    known = {each.schema_id for each in base.schemas} if base else set()
    # A new table needs only its current schema.
    added = (
        [each for each in new.schemas if each.schema_id not in known] if base else [new.schema()]
    )
    for schema in added:
        yield AddSchemaUpdate(schema=schema)
    if base is None or base.current_schema_id != new.current_schema_id:
        is_last = bool(added) and added[-1].schema_id == new.current_schema_id
        yield SetCurrentSchemaUpdate(schema_id=_NEWEST_ADDED if is_last else new.current_schema_id)


def _partitions(base: TableMetadata | None, new: TableMetadata) -> Iterator[Any]:
    known = [each.spec_id for each in base.partition_specs] if base else []
    added = [each for each in new.partition_specs if each.spec_id not in known]
    for following, spec in enumerate(added, max(known, default=-1) + 1):
        # A service ignores the id and gives the next one, but manifests already name this id.
        if spec.spec_id != following:
            raise MeshError(
                f"The table in {new.location} is partitioned by its spec {spec.spec_id}, which a "
                f"catalog service would call {following}. Nothing was changed. Run its domain "
                "with `--force`."
            )
        yield AddPartitionSpecUpdate(spec=spec)
    if base is None or base.default_spec_id != new.default_spec_id:
        is_last = bool(added) and added[-1].spec_id == new.default_spec_id
        yield SetDefaultSpecUpdate(spec_id=_NEWEST_ADDED if is_last else new.default_spec_id)


def _sorting(base: TableMetadata | None, new: TableMetadata) -> Iterator[Any]:
    known = {each.order_id for each in base.sort_orders} if base else set()
    wanted = new.default_sort_order_id
    added = [each for each in new.sort_orders if each.order_id not in known]
    for order in added:
        yield AddSortOrderUpdate(sort_order=order)
    if base is None or base.default_sort_order_id != wanted:
        is_last = bool(added) and added[-1].order_id == wanted
        yield SetDefaultSortOrderUpdate(sort_order_id=_NEWEST_ADDED if is_last else wanted)


def _properties(base: TableMetadata | None, new: TableMetadata) -> Iterator[Any]:
    before = base.properties if base else {}
    changed = {name: text for name, text in new.properties.items() if before.get(name) != text}
    removed = sorted(before.keys() - new.properties.keys())
    if changed:
        yield SetPropertiesUpdate(updates=changed)
    if removed:
        yield RemovePropertiesUpdate(removals=removed)


def _snapshots(base: TableMetadata | None, new: TableMetadata) -> Iterator[Any]:
    before = {each.snapshot_id for each in base.snapshots} if base else set()
    after = {each.snapshot_id for each in new.snapshots}
    for snapshot in new.snapshots:
        if snapshot.snapshot_id not in before:
            yield AddSnapshotUpdate(snapshot=snapshot)
    refs = base.refs if base else {}
    for name, ref in new.refs.items():
        if refs.get(name) != ref:
            yield SetSnapshotRefUpdate(
                ref_name=name,
                type=ref.snapshot_ref_type,
                snapshot_id=ref.snapshot_id,
                max_ref_age_ms=ref.max_ref_age_ms,
                max_snapshot_age_ms=ref.max_snapshot_age_ms,
                min_snapshots_to_keep=ref.min_snapshots_to_keep,
            )
    for name in refs.keys() - new.refs.keys():
        yield RemoveSnapshotRefUpdate(ref_name=name)
    # The snapshot that this commit replaces is removed by the next commit. Nessie lists only the
    # newest snapshot and refuses to remove it.
    replaced = {base.current_snapshot_id} if base else set()
    expired = sorted(before - after - replaced)
    if expired:
        yield RemoveSnapshotsUpdate(snapshot_ids=expired)


def _json(part: Any) -> dict[str, Any]:
    return part.model_dump(mode="json", by_alias=True, exclude_none=True)


def _with_last_column(update: dict[str, Any], new: TableMetadata) -> dict[str, Any]:
    if update["action"] == "add-schema":
        # Deprecated in the protocol, but Nessie 0.99 requires it.
        update["last-column-id"] = new.last_column_id
    return update
