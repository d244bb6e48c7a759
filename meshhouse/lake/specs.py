"""How an adopted table is partitioned and sorted, in the numbers of the table that shows it.

Belongs here: partition specs, sort orders, and manifests that name them. Does not: the
snapshot itself and its columns (adopt.py).

Manifests name their spec by number and its fields by ids, which two tables give
differently. Where theirs are free in ours they are taken as they are. Otherwise the adopted
snapshot gets manifests of its own: they list files, so the cost never grows with rows.
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
    metadata: Any, theirs: Any, manifests: list[ManifestFile], in_turn: bool
) -> tuple[Any, dict[int, PartitionSpec]]:
    """Metadata that is partitioned as another table is.

    Args:
        metadata: ours.
        theirs: the other table's.
        manifests: those that are to be shown; specs of others are left behind.
        in_turn: each new spec gets the next number, as catalog services give them.

    Returns:
        The metadata, and the number of each of their specs -> what it is in ours.
    """
    used = {each.partition_spec_id for each in manifests} | {theirs.default_spec_id}
    found: dict[int, PartitionSpec] = {}
    for spec in theirs.partition_specs:
        if spec.spec_id not in used:
            continue
        fields = _fields_of_ours(metadata, spec)
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
    update = {"default_spec_id": found[theirs.default_spec_id].spec_id}
    return metadata.model_copy(update=update), found


def _fields_of_ours(metadata: Any, spec: PartitionSpec) -> tuple[PartitionField, ...]:
    """A spec's fields with ids and names that mean nothing else in our table."""
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


def with_their_sort_order(metadata: Any, theirs: Any, in_turn: bool) -> Any:
    """Metadata that is sorted as another table is; `in_turn` as for specs."""
    order = theirs.sort_order()
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
    theirs: Any,
    specs: Mapping[int, PartitionSpec],
) -> str:
    """Where the files of an adopted snapshot are listed by the specs of our table.

    Args:
        table: ours; new lists are written into its folder.
        snapshot: the other table's.
        manifests: the snapshot's.
        theirs: the other table's metadata.
        specs: what `with_their_specs` gave.
    """
    from pyiceberg.manifest import write_manifest_list

    if all(spec == theirs.specs()[number] for number, spec in specs.items()):
        return snapshot.manifest_list
    moved = [
        _manifest(table, each, theirs, specs[each.partition_spec_id], snapshot)
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
    table: Table, manifest: ManifestFile, theirs: Any, spec: PartitionSpec, snapshot: Any
) -> ManifestFile:
    """A manifest of our spec; written anew if theirs differs, for it names its spec itself."""
    from pyiceberg.manifest import ManifestContent, write_manifest

    if spec == theirs.specs()[manifest.partition_spec_id]:
        return manifest
    if manifest.content != ManifestContent.DATA:
        raise MeshError(
            f"{'.'.join(table.name())} is partitioned in another way than before, and its build "
            "holds delete files: it cannot be published so. Remove `write.merge.mode` from the "
            "model's `tblproperties` and run it with `--force`."
        )
    with write_manifest(
        format_version=table.metadata.format_version,
        spec=spec,
        schema=theirs.schema(),
        output_file=table.io.new_output(_new_file(table, "manifest")),
        snapshot_id=manifest.added_snapshot_id or snapshot.snapshot_id,
        avro_compression="gzip",
    ) as writer:
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=False):
            writer.add_entry(entry)
    written = writer.to_manifest_file()
    # What it holds is not newer for being written again.
    written.sequence_number = manifest.sequence_number
    written.min_sequence_number = manifest.min_sequence_number
    return written


def _new_file(table: Table, name: str) -> str:
    from pyiceberg.table.locations import load_location_provider

    provider = load_location_provider(table.metadata.location, table.metadata.properties)
    return provider.new_metadata_location(f"{name}-{uuid.uuid4()}.avro")
