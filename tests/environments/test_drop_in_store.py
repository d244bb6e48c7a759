"""Dropping an environment whose tables are in a bucket that other meshes may use, too."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField

from meshhouse.engines import engine
from meshhouse.engines.builds import plain_lake, work_lake
from meshhouse.lake import Lake, storage
from meshhouse.maintenance.environments import drop, environments
from meshhouse.repository.environment import workspace
from tests.conftest import Mesh, make_mesh
from tests.support.nessie import Nessie
from tests.support.object_store import Store

SCHEMA = Schema(NestedField(1, "id", LongType()))


@pytest.fixture
def bucket(store: Store, monkeypatch) -> str:
    """A new bucket, which is the folder of new tables."""
    name = store.bucket()
    monkeypatch.setenv("MESH_WAREHOUSE", f"s3://{name}/meshes")
    return name


def make(lake: Lake, relation: str) -> None:
    table = lake.stage(relation, SCHEMA)
    with table.transaction() as transaction:
        transaction.append(pa.table({"id": pa.array([1], pa.int64())}))
    lake.commit([lake.staged(table, None)])


def mesh_with(folder: Path, *names: str) -> Mesh:
    """A mesh with a product and its Spark build in each of the named environments."""
    mesh = make_mesh(folder)
    for name in names:
        home = workspace(mesh.home, name)
        make(Lake(mesh.home, environment=name), "shop.orders")
        for builds in (work_lake(home, "shop"), plain_lake(home, "shop")):
            make(builds, f"{name}__shop_build.orders" if name else "shop_build.orders")
    return mesh


def drop_ana(mesh: Mesh) -> None:
    drop(mesh.repository, engine(mesh.repository), "ana")


def names(mesh: Mesh) -> list[str]:
    return [each.name for each in environments(mesh.repository, engine(mesh.repository))]


def test_files_of_other_meshes_with_that_environment_stay(store, bucket, tmp_path):
    mesh_with(tmp_path / "theirs", "", "ana")
    store.client.put_object(Bucket=bucket, Key="meshes/ana__notes/by hand.txt", Body=b"x")
    others = store.keys(bucket)
    ours = mesh_with(tmp_path / "ours", "")
    production = store.keys(bucket)
    mesh_with(ours.root, "ana", "ana_b")
    drop_ana(ours)
    assert names(ours) == ["ana_b"]
    left = store.keys(bucket)
    assert others < production < left
    assert {key.split("__")[0].split("/")[-1] for key in left - production} == {"ana_b"}


def test_a_drop_that_was_stopped_is_finished_by_the_next_one(store, bucket, tmp_path, monkeypatch):
    mesh = mesh_with(tmp_path / "mesh", "ana")
    assert store.keys(bucket)

    def killed(location: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(storage, "delete", killed)
        with pytest.raises(KeyboardInterrupt):
            drop_ana(mesh)
    assert Lake(mesh.home, environment="ana").pointers() == {}
    assert names(mesh) == ["ana"]
    drop_ana(mesh)
    assert (names(mesh), store.keys(bucket)) == ([], set())


def test_a_table_whose_metadata_is_lost_can_be_dropped(store, bucket, tmp_path):
    mesh = mesh_with(tmp_path / "mesh", "ana")
    storage.delete(Lake(mesh.home, environment="ana").pointers()["shop.orders"])
    drop_ana(mesh)
    assert names(mesh) == []


def test_with_a_catalog_service_files_are_left_to_it(nessie: Nessie, store, tmp_path, monkeypatch):
    monkeypatch.setenv("PYICEBERG_CATALOG__MESH__URI", nessie.uri)
    mesh = make_mesh(tmp_path)
    lake = Lake(mesh.home, environment="ana")
    make(lake, "shop.orders")
    place = lake.pointers()["shop.orders"].removeprefix("s3://")
    bucket, folder = place.partition("/")[0], place.partition("/")[2].rpartition("/metadata/")[0]
    monkeypatch.setenv("MESH_WAREHOUSE", f"s3://{place.partition('/ana__')[0]}")
    before = store.keys(bucket, folder)
    drop_ana(mesh)
    assert names(mesh) == []
    assert before
    assert store.keys(bucket, folder) == before
