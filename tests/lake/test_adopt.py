"""A table shows what another one holds: no row is copied, and each keeps its own history."""

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
    """Where something else builds tables."""
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


def test_what_was_built_is_shown_by_the_same_files_and_snapshot(lake, engine):
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


def test_a_state_that_was_shown_before_is_shown_again_without_going_in_circles(lake, engine):
    first = build(engine, 1)
    numbers = [show(lake, first).snapshot_id, show(lake, build(engine, 1, 2)).snapshot_id]
    show(lake, first)
    show(lake, first)
    table = shown(lake)
    assert ids(lake) == [1]
    assert sorted(each.snapshot_id for each in table.metadata.snapshots) == sorted(numbers)
    assert len(list(ancestors_of(table.current_snapshot(), table.metadata))) == 1


def test_a_built_table_that_was_dropped_and_made_anew_goes_on(lake, engine, tmp_path):
    first = show(lake, build(engine, 1, 2)).snapshot_id
    anew = Lake(tmp_path / "other", name="engine")
    wider = Schema(NestedField(1, "name", StringType()), NestedField(2, "id", LongType()))
    show(lake, build(anew, 3, schema=wider, name=["c"]))
    assert ids(lake) == [3]
    table = shown(lake)
    assert [field.name for field in table.schema().fields] == ["name", "id"]
    # What was shown before can still be read, by its own columns.
    earlier = table.scan(snapshot_id=first).to_arrow().to_pylist()
    assert earlier == [{"id": 1}, {"id": 2}]


def test_our_own_rows_go_behind_what_was_adopted(lake, engine):
    show(lake, build(engine, 1))
    table = lake.stage(SHOWN, SCHEMA)
    base = table.metadata_location
    with table.transaction() as transaction:
        transaction.append(pa.table({"id": pa.array([2], pa.int64())}))
    lake.commit([lake.staged(table, base)])
    assert ids(lake) == [1, 2]
    show(lake, build(engine, 7))
    assert ids(lake) == [7]


def test_what_is_shown_says_what_is_declared_though_its_build_does_not(lake, engine):
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
    # A snapshot remembers its schema, so what was shown before keeps its own words.
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


def test_upkeep_of_what_is_shown_takes_nothing_from_what_is_built(lake, engine):
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
    with pytest.raises(MeshError, match="nothing to show"):
        adopt(lake, SHOWN, table)
