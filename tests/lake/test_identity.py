"""A moved or copied lake is complete, and never changes files of the original."""

from __future__ import annotations

import gzip
import os
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField

from meshhouse.engines.builds import work_lake
from meshhouse.engines.duckdb.engine import DuckDBEngine
from meshhouse.errors import MeshError
from meshhouse.lake import Lake, catalog_file, catalog_paths, identity
from meshhouse.lake.damage import read_metadata
from meshhouse.lake.ledger import LakeLedger
from meshhouse.lake.states import write_metadata
from meshhouse.lake.storage import plain_path
from meshhouse.lake.views import connect_memory, create_views
from meshhouse.maintenance import maintain
from meshhouse.repository.environment import workspace
from meshhouse.runs.publication import rollback
from meshhouse.sql import literal
from tests.support import killing

ORDERS = killing.PRODUCTS[0].relation
NOW = timedelta(0)
SCHEMA = Schema(NestedField(1, "id", LongType()))


def publish(home: Path, number: int) -> None:
    killing.publish_round(home, number)


def content(home: Path) -> dict[str, list]:
    """The rows of every table, and of each of its snapshots."""
    lake, found = Lake(home), {}
    with connect_memory() as connection:
        create_views(connection, lake.states())
        for relation, location in lake.states().items():
            path = plain_path(location)
            found[relation] = connection.execute(f"from {relation} order by all").fetchall()
            for snapshot in read_metadata(path)["snapshots"]:
                number = snapshot["snapshot-id"]
                scan = f"iceberg_scan({literal(path)}, snapshot_from_id => {number}::ubigint)"
                rows = connection.execute(f"from {scan} order by all").fetchall()
                found[f"{relation}@{number}"] = rows
    return found


def files(home: Path) -> dict[str, tuple[Any, ...]]:
    """Every file below a folder, with values that change when the file is touched."""
    return {
        str(path.relative_to(home)): (
            path.stat().st_mtime_ns,
            path.stat().st_ino,
            path.read_bytes(),
        )
        for path in sorted(home.rglob("*"))
        # Not the catalog's side files, which readers share, and not a lake inside this one.
        if path.is_file() and "catalog.db-" not in path.name and home / "inside" not in path.parents
    }


def copy(home: Path, there: Path) -> Path:
    shutil.copytree(home, there, symlinks=True)
    return there


def make_old(home: Path) -> None:
    for path in home.rglob("*"):
        os.utime(path, (1, 1))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A lake with three publications of two products."""
    made = tmp_path / "mesh"
    for number in range(3):
        publish(made, number)
    return made


NAMES = ["50%25 off, no blank", "Zürich 雪 o'clock", "mesh-2", "mesh/inside"]


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_holds_the_same_and_names_no_file_of_the_original(home, name, tmp_path, caplog):
    there = tmp_path / "lent" if "/" in name else tmp_path / name
    copy(home, there)
    if "/" in name:
        there = there.rename(tmp_path / name)
    expected, before = content(home), files(home)
    assert content(there) == expected
    assert "is a copy of the lake in" in caplog.text
    for path in [*there.rglob("*.metadata.json"), *there.rglob("*.avro")]:
        found = path.read_bytes()
        text = gzip.decompress(found) if path.name.endswith(".gz.metadata.json") else found
        assert f"{home}/lake".encode() not in text
    publish(there, 3)
    make_old(there)
    maintain(Lake(there), older_than=NOW, retention=NOW)
    rollback(DuckDBEngine(killing._Home(there)), LakeLedger(Lake(there)), killing.PRODUCTS[0])
    after = files(home)
    assert {path: after[path] for path in before} == before
    assert content(home) == expected
    assert identity.identity_of(there).id != identity.identity_of(home).id


@pytest.mark.parametrize("name", NAMES[:2])
def test_a_moved_lake_holds_the_same_and_goes_on(home, name, tmp_path, caplog):
    expected, known = content(home), identity.identity_of(home)
    there = home.rename(tmp_path / name)
    assert content(there) == expected
    assert "has moved" in caplog.text
    assert identity.identity_of(there).id == known.id
    publish(there, 3)
    assert content(there)[ORDERS][0][0] == 3
    back = there.rename(home)
    assert content(back)[ORDERS][0][0] == 3
    assert not (tmp_path / name).exists()


def test_a_lake_may_move_to_its_parent_folder(home, tmp_path):
    expected = content(home)
    home.rename(tmp_path / "lent")
    (tmp_path / "lent").rename(home)
    inner = home / "lake"
    moved = tmp_path / "up"
    home.rename(moved)
    assert content(moved) == expected
    assert inner.parent == home


def test_rows_of_a_partitioned_table_and_its_columns_stay_as_they_are(tmp_path):
    from pyiceberg.partitioning import PartitionField, PartitionSpec
    from pyiceberg.transforms import IdentityTransform
    from pyiceberg.types import (
        DateType,
        DecimalType,
        ListType,
        StringType,
        TimestamptzType,
    )

    lake = Lake(tmp_path / "one")
    kinds = [StringType(), DateType(), DecimalType(12, 2), TimestamptzType()]
    fields = [NestedField(n, f"c{n}", kind) for n, kind in enumerate(kinds, start=1)]
    fields.append(NestedField(5, "names", ListType(6, StringType(), element_required=False)))
    table = lake.stage("lab.parts", Schema(*fields))
    spec = PartitionSpec(
        *(PartitionField(n, 999 + n, IdentityTransform(), f"p{n}") for n in range(1, 5)), spec_id=1
    )
    table.metadata = table.metadata.model_copy(
        update={"partition_specs": [spec], "default_spec_id": 1, "last_partition_id": 1003}
    )
    table.metadata_location = write_metadata(table)
    rows = [
        {"c1": f"file://{tmp_path}/one/lake/x", "c2": date(1, 1, 2), "c3": Decimal("-0.01"),
         "c4": datetime(9999, 12, 31, 23, 59, 59, 999999, UTC), "names": ["a", None]},
        {"c1": None, "c2": None, "c3": None, "c4": None, "names": None},
    ]  # fmt: skip
    table.append(pa.Table.from_pylist(rows, schema=table.schema().as_arrow()))
    lake.commit([lake.staged(table, None)])
    there = Lake(copy(tmp_path / "one", tmp_path / "two"))
    moved = there.load("lab.parts")
    found = moved.scan().to_arrow().to_pylist()
    assert sorted(found, key=str) == sorted(rows, key=str)
    assert moved.schema() == table.schema()
    before, after = (
        {(file.file.partition, file.file.record_count) for file in each.scan().plan_files()}
        for each in (lake.load("lab.parts"), moved)
    )
    assert {str(each) for each in before} == {str(each) for each in after}
    with connect_memory() as connection:
        create_views(connection, there.states())
        scanned = connection.execute("select c1 from lab.parts order by c1").fetchall()
    assert scanned == [(rows[0]["c1"],), (None,)]


def test_builds_of_all_environments_move_with_the_lake(home, tmp_path):
    spaces = [workspace(home, environment) for environment in ("", "ana")]
    for space in spaces:
        builds = work_lake(space, "shop")
        table = builds.stage("shop_build.orders", SCHEMA)
        table.metadata_location = write_metadata(table)
        builds.commit([builds.staged(table, None)])
        written = Path(plain_path(table.metadata_location))
        written.with_name(f".{written.name}.crc").write_bytes(b"of the old content")
    there = home.rename(tmp_path / "moved")
    Lake(there).states()
    for environment in ("", "ana"):
        builds = work_lake(workspace(there, environment), "shop")
        table = builds.load("shop_build.orders")
        assert table.location().startswith(f"file://{there}/")
        assert not [*there.rglob("*.crc")]  # Spark refuses a file with a wrong checksum
        table.append(pa.table({"id": pa.array([1], pa.int64())}))
        assert table.scan().to_arrow()["id"].to_pylist() == [1]


def test_a_rewriting_of_paths_that_was_killed_goes_on_at_the_next_start(
    home, tmp_path, monkeypatch
):
    expected = content(home)
    replaced, rewritten = Path.replace, catalog_paths.rewrite
    steps = {"count": 0, "kill": -1}

    def step() -> None:
        steps["count"] += 1
        if steps["count"] == steps["kill"]:
            raise KeyboardInterrupt

    def replacing(path: Path, target: Any) -> Any:
        step()
        return replaced(path, target)

    def rewriting(*arguments: Any) -> None:
        step()
        rewritten(*arguments)
        step()

    monkeypatch.setattr(Path, "replace", replacing)
    monkeypatch.setattr(catalog_paths, "rewrite", rewriting)
    copy(home, tmp_path / "whole")
    Lake(tmp_path / "whole").states()
    total = steps["count"]
    assert total > 20
    for kill in (1, 2, total // 3, total // 2, total - 2, total - 1, total):
        there = copy(home, tmp_path / f"kill-{kill}")
        steps.update(count=0, kill=kill)
        with pytest.raises(KeyboardInterrupt):
            Lake(there).states()
        steps["kill"] = -1
        assert content(there) == expected
        assert not [*there.rglob("*.adopting")]
    assert content(home) == expected


def test_a_copy_of_a_lake_without_an_identity_is_found_out(home, tmp_path):
    expected = content(home)
    (home / identity.IDENTITY).unlink()
    there = copy(home, tmp_path / "copy")
    assert content(there) == expected
    before = files(home)
    publish(there, 3)
    assert files(home) == before
    publish(home, 3)
    assert identity.identity_of(home).id


def test_a_lake_that_might_be_mounted_twice_needs_the_users_decision(home, tmp_path, monkeypatch):
    there = home.rename(tmp_path / "mounted")
    monkeypatch.setattr(identity, "_view", lambda: "mnt:[container]")
    before = files(there)
    with pytest.raises(MeshError, match="run `mesh adopt`"):
        Lake(there).states()
    after = files(there)
    assert {path: after[path] for path in before} == before
    assert identity.settle(there, confirmed=True)
    assert content(there)[ORDERS][0][0] == 2
    # In the first mount namespace the lake has its former path, and nothing is rewritten.
    there.rename(home)
    monkeypatch.setattr(identity, "_view", lambda: "mnt:[host]")
    with pytest.raises(MeshError, match="run `mesh adopt`"):
        Lake(home).states()


def test_one_lake_under_two_paths_is_not_rewritten(home, tmp_path):
    there = tmp_path / "second"
    there.mkdir()
    (there / "lake").symlink_to(home / "lake")
    with pytest.raises(MeshError, match=f"set MESH_HOME={home}"):
        Lake(there).states()
    linked = tmp_path / "link"
    linked.symlink_to(home)
    assert Lake(linked).home == home
    assert content(Path(f"{linked}/")) == content(home)


@pytest.mark.parametrize("is_same_disk", [True, False])
@pytest.mark.parametrize("target", ["absolute", "relative"])
def test_a_link_at_the_old_path_leads_a_moved_lake_on(home, target, is_same_disk, tmp_path, caplog):
    expected, known = content(home), identity.identity_of(home)
    there = tmp_path / "big" / "mesh"
    there.parent.mkdir()
    if is_same_disk:
        home.rename(there)
    else:  # `mv` to another disk copies
        copy(home, there)
        shutil.rmtree(home)
    home.symlink_to(there if target == "absolute" else Path("big", "mesh"))
    assert content(identity.clean(home)) == expected
    assert "has moved" in caplog.text
    assert content(there) == expected
    assert identity.identity_of(there).id == known.id
    assert identity.identity_of(there).home == str(there)
    publish(home, 3)
    assert content(there)[ORDERS][0][0] == 3


def test_a_link_in_another_mount_namespace_does_not_prove_a_move(home, tmp_path, monkeypatch):
    there = home.rename(tmp_path / "mounted")
    home.symlink_to(there)
    monkeypatch.setattr(identity, "_view", lambda: "mnt:[container]")
    with pytest.raises(MeshError, match="run `mesh adopt`"):
        Lake(there).states()


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """A lake whose tables are all in an object store."""
    made = tmp_path / "mesh"
    with catalog_file.writing(made / identity.CATALOG) as connection:
        connection.execute(
            "insert into iceberg_tables values ('mesh', 'shop', 'orders', "
            "'s3://bucket/shop/orders/metadata/2.metadata.json', "
            "'s3://bucket/shop/orders/metadata/1.metadata.json', 'TABLE')"
        )
        connection.execute("commit")
    identity.note_identity(made, identity.own_identity(made))
    return made


def test_a_lake_in_an_object_store_may_be_mounted_under_several_paths(
    remote, tmp_path, monkeypatch, caplog
):
    known, before = identity.identity_of(remote), files(remote)
    there = tmp_path / "mounted"
    for view in ("container", "host", "container"):
        (remote if remote.exists() else there).rename(there if remote.exists() else remote)
        monkeypatch.setattr(identity, "_view", lambda view=view: f"mnt:[{view}]")
        home = there if there.exists() else remote
        assert identity.settle(home)
        assert identity.identity_of(home).id == known.id
        assert not identity.settle(home)
    assert {path: each[2] for path, each in files(there).items() if "catalog" in path} == {
        path: each[2] for path, each in before.items() if "catalog" in path
    }
    assert "is a copy" not in caplog.text


def test_a_lake_in_an_object_store_may_be_seen_under_two_paths_at_once(remote, tmp_path):
    there = tmp_path / "second"
    there.mkdir()
    (there / "lake").symlink_to(remote / "lake")
    assert identity.settle(there)
    assert identity.settle(remote)


@pytest.mark.parametrize("what", ["local table", "local file", "build catalog", "earlier state"])
def test_a_file_that_names_the_folder_needs_the_users_decision(remote, what, tmp_path, monkeypatch):
    name, location = "mesh", f"file://{remote}/lake/shop/lines/metadata/1.metadata.json"
    catalog = remote / identity.CATALOG
    if what == "local file":
        Path(plain_path(location)).parent.mkdir(parents=True)
        Path(plain_path(location)).write_text("{}")
    else:
        if what == "build catalog":
            name, location = f"shop_{catalog_paths.catalog_digest(remote)}", "s3://bucket/1.json"
            catalog = remote / "spark" / "shop" / "catalog.db"
        with catalog_file.writing(catalog) as connection:
            shown = "s3://bucket/3.metadata.json" if what == "earlier state" else location
            connection.execute(
                "insert into iceberg_tables values (?, 'shop', 'lines', ?, ?, 'TABLE')",
                (name, shown, location),
            )
            connection.execute("commit")
    there = remote.rename(tmp_path / "mounted")
    monkeypatch.setattr(identity, "_view", lambda: "mnt:[container]")
    with pytest.raises(MeshError, match="run `mesh adopt`"):
        identity.settle(there)


def test_a_lake_whose_folder_alone_is_a_link_goes_on_where_it_was(home, tmp_path):
    expected = content(home)
    (home / "lake").rename(tmp_path / "big")
    (home / "lake").symlink_to(tmp_path / "big")
    assert content(home) == expected


def test_a_relative_home_is_the_same_lake(home, monkeypatch):
    monkeypatch.chdir(home.parent)
    assert Lake(Path("mesh/../mesh/")).states() == Lake(home).states()


def test_a_copy_of_hard_links_is_refused(home, tmp_path):
    there = tmp_path / "links"
    shutil.copytree(home, there, copy_function=os.link)
    before = files(home)
    with pytest.raises(MeshError, match="hard link"):
        Lake(there).states()
    after = files(home)
    assert {path: after[path][1:] for path in before} == {
        path: each[1:] for path, each in before.items()
    }


def test_a_path_in_neither_place_is_refused_and_nothing_is_changed(home, tmp_path):
    there = copy(home, tmp_path / "copy")
    with closing(sqlite3.connect(there / "lake/catalog.db")) as catalog:
        strange = "file:///elsewhere/lake/shop/orders/metadata/0-x.metadata.json"
        catalog.execute(
            "update iceberg_tables set metadata_location = ? where table_name = 'orders'", [strange]
        )
        catalog.commit()
    before = files(there)
    with pytest.raises(MeshError, match=r"names file:///elsewhere.* neither in .*mesh"):
        Lake(there).states()
    after = files(there)
    assert {path: after[path] for path in before} == before


def test_a_copy_that_lacks_metadata_is_refused(home, tmp_path):
    there = copy(home, tmp_path / "copy")
    shown = Path(plain_path(Lake(home).states()[ORDERS]))
    (there / shown.relative_to(home)).unlink()
    with pytest.raises(MeshError, match="has no copy in"):
        Lake(there).states()


def test_one_damaged_file_does_not_stop_the_rewriting_of_others(home, tmp_path):
    there = copy(home, tmp_path / "copy")
    [manifest, *_] = sorted((there / "lake/shop/order_lines/metadata").glob("*-m0.avro"))
    manifest.write_bytes(b"damaged")
    with connect_memory() as connection:
        states = Lake(there).states()
        create_views(connection, {ORDERS: states[ORDERS]})
        assert connection.execute(f"select max(round) from {ORDERS}").fetchone() == (2,)
    assert manifest.read_bytes() == b"damaged"


def test_a_user_without_the_right_to_write_gets_the_remedy(home, tmp_path, monkeypatch):
    there = copy(home, tmp_path / "copy")

    def refused(*arguments: Any) -> None:
        raise PermissionError(13, "Permission denied", str(there))

    monkeypatch.setattr(identity, "lock", refused)
    with pytest.raises(MeshError, match="must run `mesh adopt` once"):
        Lake(there).states()


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_sequence_of_moves_and_copies_keeps_every_lake_readable(tmp_path_factory, data):
    base = tmp_path_factory.mktemp("places")
    rounds = {base / "0": [0, 1]}
    for number in (0, 1):
        publish(base / "0", number)
    for step in range(1, 7):
        at = data.draw(st.sampled_from(sorted(rounds)))
        act = data.draw(st.sampled_from(["run", "copy", "move", "maintain", "rollback"]))
        others = {each: files(each) for each in rounds if each != at}
        lake = Lake(at)
        if act == "run":
            publish(at, step + 1)
            rounds[at].append(step + 1)
        elif act == "copy":
            rounds[copy(at, base / str(step))] = [*rounds[at]]
        elif act == "move":
            rounds[at.rename(base / str(step))] = rounds.pop(at)
        elif act == "maintain":
            lake.states()
            make_old(at)
            maintain(lake, older_than=NOW, retention=NOW)
        elif len(rounds[at]) > 1:
            rollback(DuckDBEngine(killing._Home(at)), LakeLedger(lake), killing.PRODUCTS[0])
            rollback(DuckDBEngine(killing._Home(at)), LakeLedger(lake), killing.PRODUCTS[1])
            rounds[at].pop()
        for each, before in others.items():
            assert files(each) == before, act
    for each, published in rounds.items():
        assert killing.problems(each) == []
        with connect_memory() as connection:
            create_views(connection, Lake(each).states())
            shown = connection.execute(f"select distinct round from {ORDERS}").fetchall()
        assert shown == [(published[-1],)]
