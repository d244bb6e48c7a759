"""The updates sent to a catalog service turn the previous state into the staged one."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import TypeAdapter
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.sorting import SortField, SortOrder
from pyiceberg.table.update import (
    AddPartitionSpecUpdate,
    AddSortOrderUpdate,
    SetCurrentSchemaUpdate,
    SetDefaultSortOrderUpdate,
    SetDefaultSpecUpdate,
    TableRequirement,
    TableUpdate,
    update_table_metadata,
)
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import LongType, NestedField, StringType

from meshhouse.errors import MeshError
from meshhouse.lake import Lake
from meshhouse.lake.adopt import adopt
from meshhouse.lake.changes import requirements, updates
from meshhouse.lake.pyiceberg_private import remove_snapshots
from meshhouse.lake.rewrite import exchange_files
from meshhouse.lake.texts import with_docs

RELATION = "shop.orders"
SCHEMA = Schema(NestedField(1, "id", LongType()))
WIDE = Schema(*SCHEMA.fields, NestedField(2, "name", StringType()))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "mesh")


def stage(lake: Lake, *ids: int, columns: Schema = SCHEMA, **properties: str) -> TableMetadata:
    """Commits one more state; returns its metadata."""
    table = lake.stage(RELATION, columns)
    base = table.metadata_location or None
    rows = [{"id": number} for number in ids]
    with table.transaction() as transaction:
        transaction.set_properties({"some": "thing", **properties})
        if rows:
            transaction.append(pa.Table.from_pylist(rows, schema=table.schema().as_arrow()))
    lake.commit([lake.staged(table, base)])
    return table.metadata


def applied(base: TableMetadata, new: TableMetadata) -> TableMetadata:
    """The state after the updates; pyiceberg applies and checks them as a service does."""
    for requirement in TypeAdapter(list[TableRequirement]).validate_python(requirements(base)):
        requirement.validate(base)
    told = TypeAdapter(list[TableUpdate]).validate_python(updates(base, new))
    return update_table_metadata(base, tuple(told))


def essence(metadata: TableMetadata) -> dict:
    return {
        "schema": metadata.schema(),
        "schemas": metadata.schemas,
        "current": metadata.current_snapshot_id,
        "snapshots": sorted(each.snapshot_id for each in metadata.snapshots),
        "refs": metadata.refs,
        "properties": metadata.properties,
        "sequence": metadata.last_sequence_number,
        "columns": metadata.last_column_id,
        "partitions": (metadata.default_spec_id, metadata.partition_specs),
        "order": (metadata.default_sort_order_id, metadata.sort_orders),
    }


def test_rows_columns_and_properties(lake):
    states = [
        stage(lake, 1),
        stage(lake, 2, 3),
        stage(lake, other="1"),
        stage(lake, 4, columns=WIDE, other="2"),
        stage(lake, 5, columns=WIDE),
    ]
    for before, after in pairwise(states):
        assert essence(applied(before, after)) == essence(after)


def test_a_property_that_is_gone(lake):
    before = stage(lake, 1, other="1")
    table = lake.load(RELATION)
    with table.transaction() as transaction:
        transaction.remove_properties("other")
    assert essence(applied(before, table.metadata)) == essence(table.metadata)


def test_docs_of_columns_and_what_is_said_of_the_table(lake):
    said = [
        stage(lake, 1, comment="One"),
        stage(lake, 2, columns=with_docs(SCHEMA, {"id": "Which."}), comment="Two"),
        stage(lake, 3, columns=with_docs(SCHEMA, {"id": "What."})),
        stage(lake, 4, columns=with_docs(SCHEMA, {"id": "Which."})),
    ]
    for before, after in pairwise(said):
        assert essence(applied(before, after)) == essence(after)
    assert [each.current_schema_id for each in said] == [0, 1, 2, 1]
    assert [each.schema().fields[0].doc for each in said] == [None, "Which.", "What.", "Which."]


def test_equal_states_need_no_updates(lake):
    same = stage(lake, 1)
    assert updates(same, same) == []


def test_going_back_to_an_earlier_snapshot_and_its_columns(lake):
    first = stage(lake, 1)
    before = stage(lake, 2, columns=WIDE)
    table = lake.load(RELATION)
    table.metadata = update_table_metadata(
        table.metadata, (SetCurrentSchemaUpdate(schema_id=first.current_schema_id),)
    )
    table.manage_snapshots().set_current_snapshot(first.current_snapshot_id).commit()
    after = applied(before, table.metadata)
    assert essence(after) == essence(table.metadata)
    assert after.current_snapshot_id == first.current_snapshot_id


def test_a_compaction_that_expires_what_is_old(lake):
    for number in range(4):
        before = stage(lake, number)
    table = lake.load(RELATION)
    old = [task.file for task in table.scan().plan_files()]
    gone = [each.snapshot_id for each in before.snapshots]
    with table.transaction() as transaction:
        exchange_files(transaction, old, old[:1], same_rows=True)
        remove_snapshots(transaction, gone)
    after = applied(before, table.metadata)
    # The snapshot that this commit replaces is removed by the next one.
    kept = {before.current_snapshot_id, table.metadata.current_snapshot_id}
    assert {each.snapshot_id for each in after.snapshots} == kept


def test_a_build_of_another_engine_is_published_although_its_ids_start_at_one(lake, tmp_path):
    for number in range(3):
        before = stage(lake, number)
    built = Lake(tmp_path / "engine", name="engine")
    stage(built, 7, columns=WIDE)
    staged = adopt(lake, RELATION, built.load(RELATION))
    new = lake.load(RELATION, staged.state).metadata
    assert essence(applied(before, new)) == essence(new)


def partitioned(metadata: TableMetadata, number: int, order: int) -> TableMetadata:
    """The same metadata with one more partition spec and sort order, with these ids, as current."""
    added = (
        AddPartitionSpecUpdate(
            spec=PartitionSpec(PartitionField(1, 1000, IdentityTransform(), "id"), spec_id=number)
        ),
        SetDefaultSpecUpdate(spec_id=number),
        AddSortOrderUpdate(sort_order=SortOrder(SortField(1, IdentityTransform()), order_id=order)),
        SetDefaultSortOrderUpdate(sort_order_id=order),
    )
    return update_table_metadata(metadata, added)


def test_partitions_and_a_sort_order_there_and_back(lake):
    plain = stage(lake, 1)
    sorted_by_id = partitioned(plain, 1, 1)
    assert essence(applied(plain, sorted_by_id)) == essence(sorted_by_id)
    back = sorted_by_id.model_copy(update={"default_spec_id": 0, "default_sort_order_id": 0})
    assert essence(applied(sorted_by_id, back)) == essence(back)


def test_numbers_that_a_service_would_not_give_are_refused(lake):
    plain = stage(lake, 1)
    with pytest.raises(MeshError, match=r"spec 3, which a catalog service would call 1\. Nothing"):
        updates(plain, partitioned(plain, 3, 1))


def test_updates_for_another_table_of_that_name_are_refused(lake, tmp_path):
    stage(lake, 1)
    base = lake.load(RELATION).metadata
    other = stage(Lake(tmp_path / "other"), 1)
    for requirement in TypeAdapter(list[TableRequirement]).validate_python(requirements(base))[:1]:
        with pytest.raises(Exception, match="UUID does not match"):
            requirement.validate(other)
