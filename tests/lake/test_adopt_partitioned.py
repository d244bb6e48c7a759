"""Zero-copy publish of partitioned tables: the published table has separate partition specs."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.expressions import EqualTo
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.sorting import SortField, SortOrder
from pyiceberg.table.update import (
    AddPartitionSpecUpdate,
    AddSortOrderUpdate,
    SetDefaultSortOrderUpdate,
    SetDefaultSpecUpdate,
    update_table_metadata,
)
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import LongType, NestedField, StringType

from meshhouse.lake import Lake
from meshhouse.lake.adopt import adopt
from meshhouse.lake.rewrite import exchange_files
from meshhouse.lake.views import connect_memory, create_views
from meshhouse.maintenance import maintain

SHOWN, BUILT = "shop.orders", "shop_build.orders"
SCHEMA = Schema(NestedField(1, "id", LongType()), NestedField(2, "region", StringType()))
BY_REGION = PartitionField(2, 1000, IdentityTransform(), "region")
BY_ID = PartitionField(1, 1000, IdentityTransform(), "number")
AFTER_REGION = PartitionField(1, 1001, IdentityTransform(), "number")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "mesh")


@pytest.fixture
def engine(tmp_path: Path) -> Lake:
    """The lake in which an engine builds tables."""
    return Lake(tmp_path / "engine", name="engine")


def build(engine: Lake, rows: dict[int, str], *fields: PartitionField, order: int = 0) -> Table:
    """Replaces the built table's rows, in partitions of these fields, as Spark would."""
    table = engine.stage(BUILT, SCHEMA)
    base = table.metadata_location or None
    known = table.metadata.partition_specs
    number = next((each.spec_id for each in known if each.fields == fields), len(known))
    updates: list = []
    if number == len(known):
        updates.append(AddPartitionSpecUpdate(spec=PartitionSpec(*fields, spec_id=number)))
    updates.append(SetDefaultSpecUpdate(spec_id=number))
    if order:
        sorting = SortOrder(SortField(1, IdentityTransform()), order_id=order)
        updates.append(AddSortOrderUpdate(sort_order=sorting))
        updates.append(SetDefaultSortOrderUpdate(sort_order_id=order))
    table.metadata = update_table_metadata(table.metadata, tuple(updates))
    with table.transaction() as transaction:
        old = [task.file for task in table.scan().plan_files()] if base else []
        if old:
            exchange_files(transaction, old, [])
        columns = {"id": pa.array(rows, pa.int64()), "region": pa.array(rows.values(), pa.string())}
        transaction.append(pa.table(columns))
    engine.commit([engine.staged(table, base)])
    return engine.load(BUILT)


def show(lake: Lake, table: Table) -> int:
    staged = adopt(lake, SHOWN, table)
    lake.commit([staged])
    return staged.snapshot_id


def ids(lake: Lake, where: str = "true") -> list[int]:
    """The ids that DuckDB reads."""
    with connect_memory() as connection:
        create_views(connection, lake.pointers())
        sql = f"select id from {SHOWN} where {where} order by id"
        return [number for (number,) in connection.execute(sql).fetchall()]


def planned(lake: Lake, region: str) -> int:
    """The number of files that a query of one region opens."""
    return len(list(lake.load(SHOWN).scan(EqualTo("region", region)).plan_files()))


def test_partitions_are_shown_as_they_were_built(lake, engine):
    show(lake, build(engine, {1: "east", 2: "west", 3: "east"}, BY_REGION))
    table = lake.load(SHOWN)
    assert [field.name for field in table.spec().fields] == ["region"]
    assert ids(lake) == [1, 2, 3]
    assert ids(lake, "region = 'east'") == [1, 3]
    assert ids(lake, "region = 'north'") == []
    assert planned(lake, "west") == 1


def test_a_table_may_be_partitioned_in_another_way_each_time(lake, engine):
    states = {
        show(lake, build(engine, {1: "east"})): [1],
        show(lake, build(engine, {1: "east", 2: "west"}, BY_REGION)): [1, 2],
        show(lake, build(engine, {1: "east", 22: "west"}, AFTER_REGION)): [1, 22],
        show(lake, build(engine, {5: "west"})): [5],
    }  # fmt: skip
    assert ids(lake) == [5]
    assert ids(lake, "region = 'west'") == [5]
    table = lake.load(SHOWN)
    for snapshot, rows in states.items():
        assert sorted(table.scan(snapshot_id=snapshot).to_arrow()["id"].to_pylist()) == rows


def test_a_build_that_was_created_again_with_other_partitions_is_published(lake, engine, tmp_path):
    """Both builds number their partition field 1000; in the published table, ids must be unique."""
    first = show(lake, build(engine, {1: "east", 2: "west"}, BY_REGION))
    anew = Lake(tmp_path / "other", name="engine")
    show(lake, build(anew, {3: "east", 24: "west"}, BY_ID))
    show(lake, build(anew, {3: "east", 24: "west", 25: "west"}, BY_ID))
    assert ids(lake) == [3, 24, 25]
    assert ids(lake, "id > 20") == [24, 25]
    assert ids(lake, "region = 'east'") == [3]
    table = lake.load(SHOWN)
    meanings = {(field.field_id, field.name) for spec in table.specs().values()
                for field in spec.fields}  # fmt: skip
    assert {name for _, name in meanings} == {"region", "number"}
    assert len({number for number, _ in meanings}) == 2
    assert sorted(table.scan(snapshot_id=first).to_arrow()["id"].to_pylist()) == [1, 2]
    assert table.scan("id > 20").to_arrow()["id"].to_pylist() == [24, 25]


def test_a_sort_order_is_shown_as_it_was_built(lake, engine):
    show(lake, build(engine, {1: "east"}, BY_REGION))
    show(lake, build(engine, {1: "east", 2: "west"}, BY_REGION, order=1))
    [field] = lake.load(SHOWN).sort_order().fields
    assert field.source_id == 1
    assert ids(lake) == [1, 2]


def test_rows_appended_after_a_zero_copy_publish_are_in_no_partition(lake, engine):
    show(lake, build(engine, {1: "east", 2: "west"}, BY_REGION, order=1))
    table = lake.stage(SHOWN, SCHEMA)
    base = table.metadata_location
    with table.transaction() as transaction:
        rows = pa.table({"id": pa.array([3], pa.int64()), "region": ["north"]})
        transaction.append(rows)
    lake.commit([lake.staged(table, base)])
    assert ids(lake) == [1, 2, 3]
    assert ids(lake, "region = 'north'") == [3]
    assert lake.load(SHOWN).spec().is_unpartitioned()
    show(lake, build(engine, {7: "east"}, BY_REGION))
    assert ids(lake) == [7]


def test_maintenance_keeps_partitions_as_they_were_built(lake, engine):
    rows = {number: f"region {number}" for number in range(12)}
    show(lake, build(engine, {1: "east"}, BY_REGION))
    show(lake, build(engine, rows, BY_REGION))
    [done] = maintain(lake, [SHOWN], older_than=timedelta(0), retention=timedelta(0))
    assert (done.files_after, done.snapshots_expired) == (12, 1)
    assert ids(lake) == list(rows)
    assert ids(lake, "region = 'region 7'") == [7]
