"""States of a table: metadata files, written before readers see them.

Belongs here: reading a metadata file, and making the next one. Not here: which metadata file is
current (catalog.py).
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from meshhouse.lake.damage import read_metadata

if TYPE_CHECKING:
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table

SAME_ROWS_AS = "meshhouse.same-rows-as"
"""In the summary of a compaction's snapshot: the id of the snapshot with the same rows."""

REWRITTEN = "meshhouse.rewritten-at"
"""Property of a raw table: when rows were last changed or deleted, not only appended. An
incremental model that was built before must be rebuilt."""

COMPRESSION = "write.metadata.compression-codec"
"""Iceberg's property of a table; with `gzip`, a metadata file takes a fifth of the bytes."""

_PLAIN, _PACKED = ".metadata.json", ".gz.metadata.json"


def snapshot_id(metadata_location: str) -> int | None:
    """The snapshot that identifies the rows of a metadata file; None for a table without one.

    Compaction makes a new snapshot of the same rows. It counts as the snapshot before it, so
    consumers do not take the rows for new ones.
    """
    metadata = read_metadata(metadata_location)
    current = metadata.get("current-snapshot-id")
    if current in (None, -1):
        return None
    shown = next(each for each in metadata["snapshots"] if each["snapshot-id"] == current)
    return int(shown.get("summary", {}).get(SAME_ROWS_AS, current))


def table_properties(metadata_location: str) -> dict[str, str]:
    """Properties of a table at a metadata location."""
    return dict(read_metadata(metadata_location).get("properties", {}))


def write_metadata(table: Table, metadata: Any = None) -> str:
    """Writes a table's next metadata file, which readers do not see yet; returns its location."""
    from pyiceberg.table.locations import load_location_provider

    metadata = metadata or table.metadata
    provider = load_location_provider(metadata.location, metadata.properties)
    version = _version_of(table.metadata_location) + 1
    location = provider.new_table_metadata_file_location(version)
    content = metadata.model_dump_json(exclude_none=True).encode()
    if metadata.properties.get(COMPRESSION) == "gzip":
        # The name that Iceberg's Java library gives such files, by which readers know them.
        location = f"{location.removesuffix(_PLAIN)}{_PACKED}"
        content = gzip.compress(content, compresslevel=6, mtime=0)
    with table.io.new_output(location).create() as file:
        file.write(content)
    return location


def _version_of(metadata_location: str) -> int:
    name = metadata_location.rpartition("/")[2]
    number = name.partition("-")[0]
    return int(number) if number.isdigit() else -1


def with_properties(metadata: Any, wanted: Mapping[str, str]) -> Any:
    """Metadata with these properties, except those to which the table has given another value."""
    if wanted.keys() <= metadata.properties.keys():
        return metadata
    return metadata.model_copy(update={"properties": {**wanted, **metadata.properties}})


def unpartitioned(metadata: Any) -> Any:
    """Metadata without partitions, even if another engine has partitioned the table."""
    if not metadata.spec().fields:
        return metadata
    from pyiceberg.partitioning import PartitionSpec
    from pyiceberg.table.sorting import UNSORTED_SORT_ORDER_ID

    plain = next((each for each in metadata.partition_specs if not each.fields), None)
    update: dict[str, Any] = {"default_sort_order_id": UNSORTED_SORT_ORDER_ID}
    if plain is None:
        plain = PartitionSpec(spec_id=max(metadata.specs()) + 1)
        update["partition_specs"] = [*metadata.partition_specs, plain]
    return metadata.model_copy(update={**update, "default_spec_id": plain.spec_id})


def with_schema(metadata: Any, wanted: Schema) -> Any:
    """Metadata whose current schema has the wanted columns; unchanged columns keep their ids."""
    from pyiceberg.schema import Schema
    from pyiceberg.table.update import (
        AddSchemaUpdate,
        SetCurrentSchemaUpdate,
        update_table_metadata,
    )

    from meshhouse.lake.evolution import Ids, evolved, shape

    def shapes(schema: Schema) -> list[tuple[Any, ...]]:
        return [
            (each.name, shape(each.field_type), each.required, each.doc) for each in schema.fields
        ]

    if shapes(metadata.schema()) == shapes(wanted):
        return metadata
    fields = evolved(metadata.schema().fields, wanted.fields, Ids(metadata.last_column_id))
    for known_schema in metadata.schemas:
        # Two checkouts with different descriptions may land alternately. Reusing an earlier schema
        # keeps the metadata from growing with each landing.
        if known_schema.fields == tuple(fields):
            back = SetCurrentSchemaUpdate(schema_id=known_schema.schema_id)
            return update_table_metadata(metadata, (back,))
    schema = Schema(*fields, schema_id=max(each.schema_id for each in metadata.schemas) + 1)
    return update_table_metadata(
        metadata, (AddSchemaUpdate(schema=schema), SetCurrentSchemaUpdate(schema_id=-1))
    )
