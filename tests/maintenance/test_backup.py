"""A backup is a consistent copy of a mesh, and can be restored to any path."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField

from meshhouse.engines.builds import publishable, work_lake
from meshhouse.engines.duckdb.engine import DuckDBEngine
from meshhouse.errors import MeshError, UsageError
from meshhouse.events import event_log
from meshhouse.lake import Lake
from meshhouse.lake.identity import identity_of, settle
from meshhouse.lake.ledger import LakeLedger
from meshhouse.lake.views import connect_memory, create_views
from meshhouse.lake.zero_copy import register_snapshot
from meshhouse.locks import lock
from meshhouse.maintenance.backup import back_up
from meshhouse.maintenance.bundle import Bundle
from meshhouse.maintenance.restore import restore
from meshhouse.runs.publication import rollback
from tests.conftest import make_mesh
from tests.support import killing


def content(home: Path) -> dict[str, list]:
    """The rows of every table, including the ledger's."""
    with connect_memory() as connection:
        states = Lake(home).states()
        create_views(connection, states)
        return {
            relation: connection.execute(f"from {relation} order by all").fetchall()
            for relation in states
        }


def snapshots(home: Path) -> dict[str, list[int]]:
    lake = Lake(home)
    return {
        relation: [each.snapshot_id for each in lake.load(relation).metadata.snapshots]
        for relation in lake.states()
    }


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A mesh that has landed 200 events and published twice."""
    made = tmp_path / "mesh"
    killing.write_events(made, 200)
    killing.publish_round(made, 1)
    killing.finish(made)
    return made


def test_a_restored_mesh_equals_the_original_and_goes_on_alone(home, tmp_path):
    said: list[str] = []
    back_up(Lake(home), str(tmp_path / "backup"), say=said.append)
    assert any(line.startswith("shop.orders: ") and "KiB" in line for line in said)
    expected, history = content(home), snapshots(home)
    shutil.rmtree(home)
    there = tmp_path / "another place" / ".mesh"
    restore(there, str(tmp_path / "backup"))
    assert content(there) == expected
    assert snapshots(there) == history
    topic = event_log(there).describe(killing.TOPIC)
    assert sum(each.end for each in topic.partitions.values()) == 200
    # Landing continues at the offsets of the backup.
    killing.write_events(there, 100)
    killing.finish(there)
    assert killing.problems(there) == []
    raw = content(there)[killing.raw_table().relation]
    assert len(raw) == len(expected[killing.raw_table().relation]) + 99
    for each in killing.PRODUCTS:
        rollback(DuckDBEngine(killing._Home(there)), LakeLedger(Lake(there)), each)
    assert content(there)["shop.orders"] == expected["shop.orders"]
    assert not home.exists()


def test_two_meshes_of_one_backup_have_different_ids(home, tmp_path):
    back_up(Lake(home), str(tmp_path / "backup"))
    for name in ("one", "two"):
        restore(tmp_path / name, str(tmp_path / "backup"))
    ids = {identity_of(each).id for each in (home, tmp_path / "one", tmp_path / "two")}
    assert len(ids) == 3


def test_an_interrupted_backup_does_not_count_but_the_next_one_does(home, tmp_path, monkeypatch):
    folder, add, calls = tmp_path / "backup", Bundle.add, []

    def stopped(bundle: Bundle, *arguments: str):
        calls.append(arguments)
        if len(calls) == stop_at:
            raise KeyboardInterrupt
        return add(bundle, *arguments)

    monkeypatch.setattr(Bundle, "add", stopped)
    stop_at = 0
    whole = back_up(Lake(home), str(tmp_path / "first"))
    for stop_at in (1, len(calls) // 2, len(calls)):  # noqa: B007 - the patch reads it
        calls.clear()
        with pytest.raises(KeyboardInterrupt):
            back_up(Lake(home), str(folder))
        with pytest.raises(UsageError, match="does not hold a complete backup"):
            restore(tmp_path / "nothing", str(folder))
        assert not (tmp_path / "nothing").exists()
    stop_at = 0
    again = back_up(Lake(home), str(folder))
    assert [each.path for each in again.files] == [each.path for each in whole.files]
    assert len([*folder.glob("files-*")]) == 1
    # If an overwriting backup is interrupted, the old backup stays complete.
    calls.clear()
    stop_at = 5
    with pytest.raises(KeyboardInterrupt):
        back_up(Lake(home), str(folder), overwrite=True)
    restore(tmp_path / "there", str(folder))
    assert content(tmp_path / "there") == content(home)


def test_an_interrupted_restore_leaves_no_mesh_and_the_next_one_is_complete(
    home, tmp_path, monkeypatch
):
    from meshhouse.maintenance import restore as module

    folder, there = str(tmp_path / "backup"), tmp_path / "there"
    back_up(Lake(home), folder)
    for name in ("_copy_out", "_rename_places", "_show"):
        whole = getattr(module, name)

        def stopped(*arguments, whole=whole):
            if whole.__name__ != "_show":
                whole(*arguments)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(module, name, stopped)
            # A killed process cannot remove its files either.
            patch.setattr(module.shutil, "rmtree", lambda *arguments, **options: None)
            with pytest.raises(KeyboardInterrupt):
                restore(there, folder)
        assert not there.exists()
    restore(there, folder)
    assert content(there) == content(home)
    assert not [*tmp_path.glob(".*restoring")]


def test_nothing_is_overwritten_without_being_asked(home, tmp_path):
    folder = str(tmp_path / "backup")
    first = back_up(Lake(home), folder)
    with pytest.raises(UsageError, match="holds a backup"):
        back_up(Lake(home), folder)
    second = back_up(Lake(home), folder, overwrite=True)
    assert Bundle(folder).index().id == second.id != first.id
    with pytest.raises(UsageError, match="is not empty"):
        restore(home, folder)
    before = content(home)
    killing.publish_round(home, 9)
    restore(home, folder, overwrite=True)
    assert content(home) == before
    [kept] = tmp_path.glob("mesh.replaced-*")
    assert content(kept)["shop.orders"][0][0] == 9
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").touch()
    with pytest.raises(UsageError, match=r"other files, such as letter\.txt"):
        back_up(Lake(home), str(tmp_path / "full"))
    with pytest.raises(UsageError, match="inside the mesh"):
        back_up(Lake(home), str(home / "backup"))


_RESTORE_INTO_A_MOUNT = """
mount --bind "$1" "$2" && exec "$3" -c '
import sys
from pathlib import Path
from meshhouse.errors import UsageError
from meshhouse.maintenance.restore import restore
home, folder = Path(sys.argv[1]), sys.argv[2]
for overwrite in (False, True):
    try:
        restore(home, folder, overwrite, say=print)
    except UsageError as error:
        print(error)
restore(home / "mesh", folder)
' "$2" "$4"
"""


def test_a_mount_point_is_refused_before_anything_is_copied(home, tmp_path):
    folder, there, volume = tmp_path / "backup", tmp_path / "my data", tmp_path / "volume"
    back_up(Lake(home), str(folder))
    there.mkdir()
    volume.mkdir()
    shell = ["unshare", "-rm", "sh", "-c", _RESTORE_INTO_A_MOUNT, "sh"]
    if shutil.which("unshare") is None or subprocess.run([*shell[:2], "true"]).returncode:
        pytest.skip("mounting is not allowed here")
    done = subprocess.run(
        [*shell, volume, there, sys.executable, folder], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert len(said) == 2
    for line in said:
        assert "is a mount point" in line
        assert f"MESH_HOME='{there}/mesh'" in line
    assert {path.name for path in volume.iterdir()} == {"mesh"}
    assert not [*tmp_path.glob(".*restoring")]
    # Outside the mount namespace, the mesh has another path.
    assert settle(volume / "mesh", confirmed=True)
    assert content(volume / "mesh") == content(home)


@pytest.mark.parametrize("how", ["cut", "changed", "missing", "index", "escape"])
def test_a_damaged_backup_is_not_restored(home, tmp_path, how):
    folder = tmp_path / "backup"
    index = back_up(Lake(home), str(folder))
    file = folder / f"files-{index.id}" / index.files[-1].path
    if how == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    elif how == "changed":
        file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])
    elif how == "missing":
        file.unlink()
    elif how == "index":
        (folder / "backup.json").write_text("{")
    else:
        text = (folder / "backup.json").read_text()
        (folder / "backup.json").write_text(text.replace("home/lake/catalog.db", "home/../../x"))
    with pytest.raises(MeshError, match=r"damaged|missing"):
        restore(tmp_path / "there", str(folder))
    assert not (tmp_path / "there").exists()
    assert not (tmp_path / "x").exists()


def test_a_backup_names_the_file_that_the_mesh_itself_lacks(home, tmp_path):
    [lost, *_] = sorted((home / "lake/shop/orders/data").glob("*.parquet"))
    lost.unlink()
    with pytest.raises(MeshError, match=f"shop.orders needs .*{lost.name}"):
        back_up(Lake(home), str(tmp_path / "backup"))
    with pytest.raises(UsageError, match="nothing to back up"):
        back_up(Lake(tmp_path / "empty"), str(tmp_path / "backup2"))


def test_a_backup_taken_while_a_mesh_works_is_consistent(home, tmp_path):
    killing.write_events(home, 3_000)
    worker = threading.Thread(target=killing.work, args=(home,))
    worker.start()
    try:
        for number in range(3):
            back_up(Lake(home), str(tmp_path / f"backup-{number}"))
    finally:
        worker.join()
    for number in range(3):
        there = tmp_path / f"there-{number}"
        restore(there, str(tmp_path / f"backup-{number}"))
        assert killing.problems(there) == []
        killing.finish(there)
        assert killing.problems(there) == []
        assert sum(killing.offsets(Lake(there)).values()) >= 3_000


def test_maintenance_and_runs_wait_for_a_backup_and_the_other_way_round(home, tmp_path):
    held, said = threading.Event(), []
    with lock(home / "locks" / "shop.run"):
        worker = threading.Thread(
            target=back_up,
            args=(Lake(home), str(tmp_path / "backup")),
            kwargs={"say": lambda line: (said.append(line), held.set())},
        )
        worker.start()
        assert held.wait(30)
    worker.join()
    assert said[0].startswith("builds of shop: waiting for a run of shop")


def publish_a_build(home: Path) -> None:
    """Publishes a table as Spark does: zero-copy, with the files of a build."""
    builds, lake = work_lake(home, "shop"), Lake(home)
    table = builds.stage("shop_build.built", Schema(NestedField(1, "id", LongType())))
    table.append(pa.table({"id": pa.array([7], pa.int64())}))
    entry = {"domain": "shop", "product": "built", "kind": "publish", "snapshot_id": 1,
             "finished_at": datetime.now(UTC)}  # fmt: skip
    LakeLedger(lake).commit(
        [register_snapshot(lake, "shop.built", table)], {"publications": [entry]}
    )


def test_a_mesh_in_an_object_store_is_restored_to_a_folder_and_to_another_bucket(
    tmp_path, store, monkeypatch
):
    bucket, other, copies = store.bucket(), store.bucket(), store.bucket()
    monkeypatch.setenv("MESH_WAREHOUSE", f"s3://{bucket}/lake")
    home = tmp_path / "mesh"
    killing.write_events(home, 200)
    killing.publish_round(home, 1)
    killing.finish(home)
    publish_a_build(home)
    expected, before = content(home), store.keys(bucket)
    folder = f"s3://{copies}/of mesh"
    back_up(Lake(home), folder)
    with pytest.raises(UsageError, match="holds a backup"):
        back_up(Lake(home), folder)
    copy = shutil.copytree(home, tmp_path / "copy")
    with pytest.raises(MeshError, match=r"both name the same files.*mesh restore"):
        Lake(copy).states()
    monkeypatch.delenv("MESH_WAREHOUSE")
    restore(tmp_path / "local", folder)
    assert content(tmp_path / "local") == expected
    monkeypatch.setenv("MESH_WAREHOUSE", f"s3://{other}/lake")
    restore(tmp_path / "remote", folder)
    assert content(tmp_path / "remote") == expected
    for name in ("local", "remote"):
        if name == "local":
            monkeypatch.delenv("MESH_WAREHOUSE")
        else:
            monkeypatch.setenv("MESH_WAREHOUSE", f"s3://{other}/lake")
        places = publishable(tmp_path / name, ["shop"])
        for task in Lake(tmp_path / name).load("shop.built").scan().plan_files():
            assert any(task.file.file_path.startswith(each) for each in places)
    killing.publish_round(tmp_path / "remote", 5)
    killing.publish_round(tmp_path / "local", 6)
    assert store.keys(bucket) == before
    moved = home.rename(tmp_path / "moved")
    assert content(moved) == expected


def test_the_commands_say_what_they_do(tmp_path):
    mesh = make_mesh(tmp_path / "tiny")
    mesh.sell(1, 2, 3)
    mesh.run("run", "shop")
    done = mesh.run("backup", str(tmp_path / "backup"))
    assert "checksums compared" in done.stderr
    assert "not included: " in done.stderr
    there = {"MESH_HOME": str(tmp_path / "other")}
    answer = json.loads(
        mesh.run("restore", str(tmp_path / "backup"), "--json", environment=there).stdout
    )
    assert answer["files"] > 10
    status = [
        json.loads(mesh.run("status", "--json", environment=each).stdout) for each in ({}, there)
    ]
    assert status[0] == status[1]
    done = mesh.run("run", "shop", environment=there)
    assert "0 rows landed, 0 products published, 2 unchanged" in done.stderr + done.stdout
    assert mesh.run("adopt", environment=there).returncode == 0
    refused = mesh.run("backup", str(tmp_path / "backup"), code=2)
    assert "--overwrite" in refused.stderr
