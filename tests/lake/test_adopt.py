"""Zero-copy publish: no row is copied, and both tables keep separate histories."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.manifest import DataFile
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.snapshots import ancestors_of
from pyiceberg.types import LongType, NestedField, StringType

from meshhouse.errors import MeshError
from meshhouse.lake import Lake
from meshhouse.lake.adopt import adopt
from meshhouse.lake.rewrite import exchange_files
from meshhouse.lake.texts import COMMENT, CONTACT, NOT_NULL, OWNER, Texts
from meshhouse.lake.views import connect_memory, create_views
from meshhouse.ledger import Staged
from meshhouse.maintenance import maintain

SHOWN, BUILT = "shop.orders", "shop_build.orders"
SCHEMA = Schema(NestedField(1, "id", LongType()))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "mesh")


@pytest.fixture
def engine(tmp_path: Path) -> Lake:
    """The lake in which an engine builds tables."""
    return Lake(tmp_path / "engine", name="engine")


def build(engine: Lake, *ids: int, schema: Schema = SCHEMA, **columns: list) -> Table:
    """Replaces the built table's rows."""
    table = engine.stage(BUILT, schema)
    base = table.metadata_location or None
    with table.transaction() as transaction:
        old = [task.file for task in table.scan().plan_files()] if base else []
        if old:
            exchange_files(transaction, old, [])
        transaction.append(pa.table({"id": pa.array(ids, pa.int64()), **columns}))
    engine.commit([engine.staged(table, base)])
    return engine.load(BUILT)


def show(lake: Lake, table: Table) -> Staged:
    staged = adopt(lake, SHOWN, table)
    lake.commit([staged])
    return staged


def ids(lake: Lake) -> list[int]:
    with connect_memory() as connection:
        create_views(connection, lake.pointers())
        return [n for (n,) in connection.execute(f"select id from {SHOWN} order by id").fetchall()]


def shown(lake: Lake) -> Table:
    return lake.load(SHOWN)


def test_the_published_table_has_the_files_and_snapshot_of_the_build(lake, engine):
    built = build(engine, 1, 2)
    staged = show(lake, built)
    assert ids(lake) == [1, 2]
    assert staged.snapshot_id == built.current_snapshot().snapshot_id
    files = [[task.file.file_path for task in table.scan().plan_files()]
             for table in (built, shown(lake))]  # fmt: skip
    assert files[0] == files[1]
    assert shown(lake).metadata.table_uuid != built.metadata.table_uuid


def test_nothing_is_shown_before_it_is_committed(lake, engine):
    show(lake, build(engine, 1))
    staged = adopt(lake, SHOWN, build(engine, 1, 2))
    assert ids(lake) == [1]
    lake.discard(staged)
    show(lake, engine.load(BUILT))
    assert ids(lake) == [1, 2]


def test_each_state_has_the_one_before_it_for_a_parent(lake, engine):
    numbers = [show(lake, build(engine, *range(size))).snapshot_id for size in (1, 2, 3)]
    table = shown(lake)
    line = ancestors_of(table.current_snapshot(), table.metadata)
    assert [each.snapshot_id for each in line] == numbers[::-1]


def test_an_earlier_state_can_be_published_again_and_is_not_its_own_parent(lake, engine):
    first = build(engine, 1)
    numbers = [show(lake, first).snapshot_id, show(lake, build(engine, 1, 2)).snapshot_id]
    show(lake, first)
    show(lake, first)
    table = shown(lake)
    assert ids(lake) == [1]
    assert sorted(each.snapshot_id for each in table.metadata.snapshots) == sorted(numbers)
    assert len(list(ancestors_of(table.current_snapshot(), table.metadata))) == 1


def test_a_build_that_was_dropped_and_created_again_can_be_published(lake, engine, tmp_path):
    first = show(lake, build(engine, 1, 2)).snapshot_id
    anew = Lake(tmp_path / "other", name="engine")
    wider = Schema(NestedField(1, "name", StringType()), NestedField(2, "id", LongType()))
    show(lake, build(anew, 3, schema=wider, name=["c"]))
    assert ids(lake) == [3]
    table = shown(lake)
    assert [field.name for field in table.schema().fields] == ["name", "id"]
    # The earlier state can still be read, with the columns that it had.
    earlier = table.scan(snapshot_id=first).to_arrow().to_pylist()
    assert earlier == [{"id": 1}, {"id": 2}]


def test_rows_can_be_appended_after_a_zero_copy_publish(lake, engine):
    show(lake, build(engine, 1))
    table = lake.stage(SHOWN, SCHEMA)
    base = table.metadata_location
    with table.transaction() as transaction:
        transaction.append(pa.table({"id": pa.array([2], pa.int64())}))
    lake.commit([lake.staged(table, base)])
    assert ids(lake) == [1, 2]
    show(lake, build(engine, 7))
    assert ids(lake) == [7]


def test_the_published_table_has_the_declared_texts_though_its_build_has_none(lake, engine):
    both = Schema(*SCHEMA.fields, NestedField(2, "name", StringType(), doc="by the engine"))

    def shown_as(texts: Texts, *names: str | None) -> Table:
        built = build(engine, *range(len(names)), schema=both, name=[*names])
        lake.commit([adopt(lake, SHOWN, built, texts)])
        return shown(lake)

    promised = frozenset({"id", "name"})
    table = shown_as(Texts("All orders", "ann", "a@b.example", {"id": "Which."}, promised), "x")
    assert [(each.field_id, each.doc) for each in table.schema().fields] == [
        (1, "Which."), (2, None),
    ]  # fmt: skip
    said = {each: table.properties.get(each) for each in (COMMENT, OWNER, CONTACT, NOT_NULL)}
    assert said == {
        COMMENT: "All orders", OWNER: "ann", CONTACT: "a@b.example", NOT_NULL: '["id", "name"]',
    }  # fmt: skip
    # A snapshot keeps its schema, so earlier states keep their column docs.
    table = shown_as(Texts("Orders", docs={"id": "What."}, promised=promised), "x", None)
    assert [each.doc for each in table.schema().fields] == ["What.", None]
    assert {OWNER, CONTACT}.isdisjoint(table.properties)
    assert (table.properties[COMMENT], table.properties[NOT_NULL]) == ("Orders", '["id"]')
    assert len(table.metadata.schemas) == 2
    table = shown_as(Texts("Orders", docs={"id": "What."}, promised=promised), "y")
    assert len(table.metadata.schemas) == 2
    assert table.properties[NOT_NULL] == '["id", "name"]'
    assert "by the engine" in [each.doc for each in engine.load(BUILT).schema().fields]


def test_a_file_that_counts_no_nulls_proves_nothing(lake, engine):
    texts = Texts(promised=frozenset({"id"}))
    for told, proven in (({1: 0}, ["id"]), ({1: 1}, []), ({}, []), (None, [])):
        file = DataFile.from_args(null_value_counts=told)
        sure = DataFile.from_args(null_value_counts={1: 0})
        assert texts.columns_without_null(SCHEMA, [sure, file]) == proven
    assert texts.columns_without_null(SCHEMA, []) == ["id"]


def test_maintenance_of_the_published_table_deletes_no_file_of_the_build(lake, engine):
    for size in range(1, 4):
        show(lake, build(engine, *range(size)))
    from datetime import timedelta

    [done] = maintain(lake, [SHOWN], older_than=timedelta(0), retention=timedelta(0))
    assert done.snapshots_expired == 2
    assert ids(lake) == [0, 1, 2]
    built = engine.load(BUILT)
    assert built.scan().to_arrow()["id"].to_pylist() == [0, 1, 2]
    first = built.metadata.snapshots[0].snapshot_id
    assert built.scan(snapshot_id=first).to_arrow()["id"].to_pylist() == [0]


def test_a_build_without_rows_is_refused(lake, engine):
    table = engine.stage(BUILT, SCHEMA)
    with pytest.raises(MeshError, match="nothing to publish"):
        adopt(lake, SHOWN, table)
