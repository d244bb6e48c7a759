"""Partition specs and sort orders for a zero-copy publish.

Belongs here: taking the specs and sort order of the table that was built (the source) into the
published table, and manifests that name them. Not here: the snapshot and its columns (adopt.py).

A manifest names its partition spec and fields by id. The two tables may use the same id for
different specs. An id that is free in the published table stays. Otherwise new manifests with
other ids are written. Manifests list files, so the cost does not grow with rows.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from meshhouse.errors import MeshError

if TYPE_CHECKING:
    from pyiceberg.manifest import ManifestFile
    from pyiceberg.partitioning import PartitionField, PartitionSpec
    from pyiceberg.table import Table


def with_their_specs(
    metadata: Any, source: Any, manifests: list[ManifestFile], in_turn: bool
) -> tuple[Any, dict[int, PartitionSpec]]:
    """Metadata of the published table with the source's partition specs.

    Args:
        metadata: the published table's metadata.
        source: the source's metadata.
        manifests: the manifests to publish; only their specs and the default spec are taken.
        in_turn: give each new spec the next id, as catalog services do.

    Returns:
        The metadata, and for each spec's id in the source the spec in the published table.
    """
    used = {each.partition_spec_id for each in manifests} | {source.default_spec_id}
    found: dict[int, PartitionSpec] = {}
    for spec in source.partition_specs:
        if spec.spec_id not in used:
            continue
        fields = _published_fields(metadata, spec)
        known = next((each for each in metadata.partition_specs if each.fields == fields), None)
        if known is None:
            numbers = [each.spec_id for each in metadata.partition_specs]
            number = _free(spec.spec_id, numbers, in_turn)
            known = spec.model_copy(update={"spec_id": number, "fields": fields})
            last = max((field.field_id for field in fields), default=0)
            update = {
                "partition_specs": [*metadata.partition_specs, known],
                "last_partition_id": max(metadata.last_partition_id or 0, last),
            }
            metadata = metadata.model_copy(update=update)
        found[spec.spec_id] = known
    update = {"default_spec_id": found[source.default_spec_id].spec_id}
    return metadata.model_copy(update=update), found


def _published_fields(metadata: Any, spec: PartitionSpec) -> tuple[PartitionField, ...]:
    """A spec's fields with ids and names that no other field of the published table has."""
    known = [field for each in metadata.partition_specs for field in each.fields]
    last = metadata.last_partition_id or 0
    fields: list[PartitionField] = []
    for field in spec.fields:
        same = next((each for each in known if _means(each) == _means(field)), None)
        if same is not None:
            fields.append(same)
            continue
        taken = [*known, *fields]
        ids, names = {each.field_id for each in taken}, {each.name for each in taken}
        update: dict[str, Any] = {}
        if field.field_id in ids or field.name in names:
            last += 1
            update["field_id"] = last
        if field.name in names:
            update["name"] = f"{field.name}_{last}"
        fields.append(field.model_copy(update=update))
        last = max(last, fields[-1].field_id)
    return tuple(fields)


def _means(field: PartitionField) -> tuple[Any, ...]:
    return field.source_id, field.transform


def with_their_sort_order(metadata: Any, source: Any, in_turn: bool) -> Any:
    """Metadata of the published table with the source's sort order; `in_turn` as for specs."""
    order = source.sort_order()
    known = next((each for each in metadata.sort_orders if each.fields == order.fields), None)
    update: dict[str, Any] = {}
    if known is None:
        numbers = [each.order_id for each in metadata.sort_orders]
        number = _free(order.order_id, numbers, in_turn)
        known = order.model_copy(update={"order_id": number})
        update["sort_orders"] = [*metadata.sort_orders, known]
    update["default_sort_order_id"] = known.order_id
    return metadata.model_copy(update=update)


def _free(wanted: int, taken: list[int], in_turn: bool) -> int:
    return max(taken, default=-1) + 1 if in_turn or wanted in taken else wanted


def manifest_list(
    table: Table,
    snapshot: Any,
    manifests: list[ManifestFile],
    source: Any,
    specs: Mapping[int, PartitionSpec],
) -> str:
    """A manifest list of the source's snapshot that names specs of the published table.

    Args:
        table: the published table; new manifests and lists are written into its folder.
        snapshot: the source's snapshot.
        manifests: the snapshot's manifests.
        source: the source's metadata.
        specs: the specs from `with_their_specs`.

    Returns:
        The list's location; the snapshot's own list if all ids are the same.
    """
    from pyiceberg.manifest import write_manifest_list

    if all(spec == source.specs()[number] for number, spec in specs.items()):
        return snapshot.manifest_list
    moved = [
        _manifest(table, each, source, specs[each.partition_spec_id], snapshot)
        for each in manifests
    ]
    location = _new_file(table, f"snap-{snapshot.snapshot_id}")
    with write_manifest_list(
        format_version=table.metadata.format_version,
        output_file=table.io.new_output(location),
        snapshot_id=snapshot.snapshot_id,
        parent_snapshot_id=table.metadata.current_snapshot_id,
        sequence_number=snapshot.sequence_number,
        avro_compression="gzip",
    ) as writer:
        writer.add_manifests(moved)
    return location


def _manifest(
    table: Table, manifest: ManifestFile, source: Any, spec: PartitionSpec, snapshot: Any
) -> ManifestFile:
    """A manifest that names `spec`: the given one if it does, else a rewritten copy."""
    from pyiceberg.manifest import ManifestContent, write_manifest

    if spec == source.specs()[manifest.partition_spec_id]:
        return manifest
    if manifest.content != ManifestContent.DATA:
        raise MeshError(
            f"{'.'.join(table.name())} cannot be published: its partitioning has changed, and its "
            "build holds delete files. Remove `write.merge.mode` from the model's `tblproperties` "
            "and run it with `--force`."
        )
    with write_manifest(
        format_version=table.metadata.format_version,
        spec=spec,
        schema=source.schema(),
        output_file=table.io.new_output(_new_file(table, "manifest")),
        snapshot_id=manifest.added_snapshot_id or snapshot.snapshot_id,
        avro_compression="gzip",
    ) as writer:
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=False):
            writer.add_entry(entry)
    written = writer.to_manifest_file()
    # The copy lists the same files, so they must not count as newer.
    written.sequence_number = manifest.sequence_number
    written.min_sequence_number = manifest.min_sequence_number
    return written


def _new_file(table: Table, name: str) -> str:
    from pyiceberg.table.locations import load_location_provider

    provider = load_location_provider(table.metadata.location, table.metadata.properties)
    return provider.new_metadata_location(f"{name}-{uuid.uuid4()}.avro")
