"""Maintenance removes replaced builds, but no file that a publication or the newest build uses."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from importlib import import_module
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField

from meshhouse.engines.builds import audit_lake, plain_lake, work_lake
from meshhouse.lake import Lake
from meshhouse.lake.ledger import LakeLedger
from meshhouse.lake.rewrite import exchange_files
from meshhouse.lake.views import connect_memory, create_views
from meshhouse.lake.zero_copy import register_snapshot
from meshhouse.ledger import Staged
from meshhouse.maintenance import Maintained, maintain
from meshhouse.repository.environment import workspace
from tests.support.object_store import Store

SHOWN, BUILT = "shop.orders", "shop_build.orders"
SCHEMA = Schema(NestedField(1, "id", LongType()))
NOW = timedelta(0)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def build(builds: Lake, number: int, relation: str = BUILT) -> None:
    """Replaces the rows of a built table by a single row."""
    table = builds.stage(relation, SCHEMA)
    base = table.metadata_location or None
    with table.transaction() as transaction:
        old = [task.file for task in table.scan().plan_files()] if base else []
        if old:
            exchange_files(transaction, old, [])
        transaction.append(pa.table({"id": pa.array([number], pa.int64())}))
    builds.commit([builds.staged(table, base)])


def publish(lake: Lake, number: int) -> None:
    builds = work_lake(lake.warehouse.parent, "shop")
    build(builds, number)
    lake.commit([register_snapshot(lake, SHOWN, builds.load(BUILT))])


def data_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.parquet"))


def maintained(lake: Lake, older_than: timedelta = NOW) -> Maintained:
    time.sleep(0.01)  # the file system's clock may lag behind by some milliseconds
    done = maintain(lake, older_than=older_than, retention=NOW)
    return next(each for each in done if each.relation == "builds of shop")


def rows(lake: Lake, relation: str = SHOWN) -> list[tuple]:
    with connect_memory() as connection:
        create_views(connection, lake.states())
        return connection.execute(f"select id from {relation}").fetchall()


def test_replaced_builds_go_and_what_is_shown_stays(lake, tmp_path):
    builds = work_lake(tmp_path, "shop")
    for number in range(5):
        publish(lake, number)
    build(builds, 99)  # a build that its audit rejected
    done = maintained(lake)
    assert len(data_files(tmp_path / "spark")) == 2
    assert done.orphans_removed > 4
    assert done.orphan_bytes > 0
    assert rows(lake) == [(4,)]
    assert rows(builds, BUILT) == [(99,)]
    publish(lake, 5)  # the next build can extend the newest one
    assert rows(lake) == [(5,)]


def test_files_stay_that_a_product_took_along_when_it_moved_twice(lake, tmp_path):
    publish(lake, 1)
    ledger = LakeLedger(lake)
    before = SHOWN
    for domain in ("crm", "ops"):
        state = lake.state(before)
        lake.commit([Staged(before, state, state, None, renamed_to=f"{domain}.orders")])
        moved = {"domain": domain, "product": "orders", "kind": "rename", "renamed_from": before}
        ledger.commit([], {"publications": [moved]})
        before = f"{domain}.orders"
        if domain == "crm":
            builds = work_lake(tmp_path, domain)
            build(builds, 2, "crm_build.orders")
            lake.commit([register_snapshot(lake, before, builds.load("crm_build.orders"))])
            build(builds, 99, "crm_build.orders")
    time.sleep(0.01)  # the file system's clock may lag behind by some milliseconds
    maintain(lake, older_than=NOW, retention=NOW)
    assert rows(lake, "ops.orders") == [(2,)]


def test_builds_of_publications_that_can_be_rolled_back_to_stay(lake, tmp_path, monkeypatch):
    numbers = []
    for number in range(4):
        publish(lake, number)
        numbers.append(lake.load(SHOWN).metadata.current_snapshot_id)
    needed = {SHOWN: set(numbers[1:])}
    # Imported by name, because the package's attribute `maintain` is the function.
    module = import_module("meshhouse.maintenance.maintain")
    monkeypatch.setattr(module, "needed_of", lambda lake: needed)
    maintained(lake)
    table = lake.load(SHOWN)
    shown = [table.scan(snapshot_id=each).to_arrow()["id"].to_pylist() for each in numbers[1:]]
    assert shown == [[1], [2], [3]]
    assert len(data_files(tmp_path / "spark")) == 3


def test_young_files_stay_because_a_commit_may_still_refer_to_them(lake, tmp_path):
    for number in range(3):
        publish(lake, number)
    assert maintained(lake, older_than=timedelta(hours=1)).orphans_removed == 0
    assert len(data_files(tmp_path / "spark")) == 3
    for path in data_files(tmp_path / "spark"):
        os.utime(path, (0, 0))
    assert maintained(lake, older_than=timedelta(hours=1)).orphans_removed == 2


def test_builds_of_plain_dbt_and_what_audits_left_go_too(lake, tmp_path):
    publish(lake, 1)
    plain = plain_lake(tmp_path, "shop")
    for number in range(3):
        build(plain, number)
    audited = audit_lake(tmp_path, "shop")
    audited.register_external({}, own="")
    with audited.stage("shop_published.orders", SCHEMA).transaction() as transaction:
        transaction.set_properties(left="behind")
    maintained(lake)
    assert len(data_files(plain.warehouse)) == 1
    assert rows(plain, BUILT) == [(2,)]
    assert list(audited.warehouse.rglob("*.metadata.json")) == []


def test_a_view_beside_tables_stays(lake, tmp_path):
    publish(lake, 1)
    builds = work_lake(tmp_path, "shop")
    folder = builds.warehouse / "shop_build" / "stg_sales" / "metadata"
    folder.mkdir(parents=True)
    old, new = folder / "00000-a.gz.metadata.json", folder / "00001-b.gz.metadata.json"
    for path in (old, new):
        path.write_text(json.dumps({}))
    with sqlite3.connect(builds.catalog_path) as connection:
        connection.execute(
            "insert into iceberg_tables values (?, 'shop_build', 'stg_sales', ?, null, 'VIEW')",
            (builds.name, f"file://{new}"),
        )
    maintained(lake)
    assert new.exists()
    assert not old.exists()


def test_a_dropped_table_leaves_nothing(lake, tmp_path):
    publish(lake, 1)
    builds = work_lake(tmp_path, "shop")
    build(builds, 7, relation="shop_build.gone")
    with sqlite3.connect(builds.catalog_path) as connection:
        connection.execute("delete from iceberg_tables where table_name = 'gone'")
    maintained(lake)
    assert not (builds.warehouse / "shop_build" / "gone").exists()
    assert rows(lake) == [(1,)]


def test_one_table_by_name_leaves_builds_alone(lake):
    publish(lake, 1)
    publish(lake, 2)
    assert [each.relation for each in maintain(lake, [SHOWN], NOW, NOW)] == [SHOWN]


@pytest.fixture
def bucket(store: Store, monkeypatch) -> str:
    """A new bucket, in which new tables are created."""
    name = store.bucket()
    monkeypatch.setenv("MESH_WAREHOUSE", f"s3://{name}/meshes")
    return name


def test_meshes_that_share_a_bucket_build_the_same_domain_apart(store, bucket, tmp_path):
    first, second = Lake(tmp_path / "first"), Lake(tmp_path / "second")
    for number in range(3):
        publish(first, number)
        publish(second, number + 10)
    older_than = timedelta(seconds=-5)  # an object store's times are whole seconds
    assert maintained(first, older_than).orphans_removed > 2
    built = {key for key in store.keys(bucket, "meshes/spark-builds/") if key.endswith(".parquet")}
    assert len(built) == 1 + 3
    assert (rows(first), rows(second)) == ([(2,)], [(12,)])


def test_a_mesh_builds_in_one_folder_whichever_run_starts_and_each_environment_in_another(
    bucket, tmp_path
):
    homes = [tmp_path, workspace(tmp_path, "ana")] * 8
    with ThreadPoolExecutor(len(homes)) as pool:
        found = set(pool.map(lambda home: work_lake(home, "shop").location, homes))
    production, ana = sorted(found, key=len)
    assert production.replace("/shop-", "/ana__shop-") == ana
