"""`mesh doctor` names any damaged file of a mesh, and all other tables stay readable."""

from __future__ import annotations

import fcntl
import json
import random
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner
from pyiceberg.table import snapshots as pyiceberg_snapshots

import meshhouse
from meshhouse.cli.main import cli
from meshhouse.errors import MeshError
from meshhouse.health import Finding, Level, examine
from meshhouse.lake import Lake
from meshhouse.lake import ledger as lake_ledger
from meshhouse.lake.ledger import LakeLedger
from meshhouse.lake.storage import plain_path
from tests.conftest import Mesh
from tests.support.harm import HARM

PRODUCTS = ["shop.orders", "shop.totals", "crm.customers"]
FILES = 30
"""Damaged one after another, out of all that count."""


@pytest.fixture(scope="module")
def built(new_mesh: Callable[[], Mesh]) -> Mesh:
    mesh = new_mesh()
    mesh.sell(1, 2, 3)
    mesh.run("land")
    mesh.run("run", "shop", "crm")
    return mesh


def examined(mesh: Mesh, deep: bool = True) -> list[Finding]:
    # pyiceberg caches manifests by name; here their content changes within one process.
    for name in ("_manifests", "_manifest_cache"):
        cache = getattr(pyiceberg_snapshots, name, None)
        if hasattr(cache, "cache_clear"):
            cache.cache_clear()
    lake_ledger._reader.cache_clear()  # DuckDB caches a file that changed in the same second
    return examine(mesh.repository, Lake(mesh.home), deep)


def damaged(found: list[Finding]) -> list[Finding]:
    return [each for each in found if each.level is Level.DAMAGED]


def files_that_count(mesh: Mesh) -> dict[Path, str]:
    """Every file that is read by something -> the table or topic that it belongs to."""
    lake = Lake(mesh.home)
    found = {lake.catalog_path: "catalog"}
    for relation in lake.states():
        table = lake.load(relation)
        found[Path(plain_path(table.metadata_location))] = relation
        for snapshot in table.metadata.snapshots:
            found[Path(plain_path(snapshot.manifest_list))] = relation
            for manifest in snapshot.manifests(table.io):
                found[Path(plain_path(manifest.manifest_path))] = relation
                for entry in manifest.fetch_manifest_entry(table.io):
                    found[Path(plain_path(entry.data_file.file_path))] = relation
    found |= dict.fromkeys(mesh.home.glob("events/*/*/*.seg"), "events")
    found |= dict.fromkeys(mesh.home.glob("events/*/topic.json"), "events")
    found[mesh.home / "events" / "cluster.json"] = "events"
    return found


def test_any_damaged_file_is_named_and_hides_nothing_else(built: Mesh) -> None:
    assert damaged(examined(built)) == []
    dice = random.Random(20170101)
    files = files_that_count(built)
    chosen = dice.sample(sorted(files), min(FILES, len(files)))
    for number, path in enumerate({Lake(built.home).catalog_path: 0, **dict.fromkeys(chosen)}):
        harm, owner = [*HARM][number % len(HARM)], files[path]
        kept = path.read_bytes()
        HARM[harm](path)
        try:
            found = damaged(examined(built))
            text = " ".join(f"{each.file} {each.what}" for each in found)
            if path.suffix == ".seg" and harm in ("deleted", "emptied", "cut"):
                # A shortened log looks intact; only the raw table shows that events are missing.
                assert any("lost events" in each.what or str(path) in text for each in found), (
                    harm,
                    path,
                )
            else:
                assert str(path) in text, (harm, path, found)
            assert all(each.remedy or "estore" in each.what for each in found), found
            if owner == "catalog":
                continue
            with closing(meshhouse.connect(built.root)) as connection:
                for product in PRODUCTS:
                    if product != owner:
                        connection.execute(f"select * from {product}").fetchall()
        finally:
            path.write_bytes(kept)
    assert damaged(examined(built)) == []


def test_the_command_says_it_and_exits_with_one(built: Mesh) -> None:
    assert built.run("doctor").stdout.endswith("nothing is damaged\n")
    lake = Lake(built.home)
    path = Path(plain_path(lake.state("shop.orders")))
    kept = path.read_bytes()
    path.unlink()
    try:
        said = built.run("doctor", code=1).stdout
        assert f"damaged: shop.orders: {path} is missing." in said
        assert "mesh rollback shop.orders" in said
        assert said.endswith("1 thing damaged\n")
        found = json.loads(built.run("doctor", "--json", code=1).stdout)
        [one] = [each for each in found if each["level"] == "damaged"]
        assert (one["area"], one["subject"], one["file"]) == ("tables", "shop.orders", str(path))
    finally:
        path.write_bytes(kept)


def test_a_damaged_catalog_hides_neither_events_nor_versions(built: Mesh) -> None:
    path = Lake(built.home).catalog_path
    kept = path.read_bytes()
    path.unlink()
    try:
        found = examined(built)
        assert any(each.area == "catalog" for each in damaged(found))
        areas = {each.area for each in found if each.level is Level.OK}
        assert {"versions", "disk", "locks", "declarations"} <= areas
        assert not path.exists()
    finally:
        path.write_bytes(kept)


def test_a_broken_declaration_hides_no_damage(built: Mesh) -> None:
    file = built.root / "domains/crm/models/products/customers.yml"
    kept = file.read_text()
    file.write_text("models: [")
    path = Path(plain_path(Lake(built.home).state("shop.orders")))
    content = path.read_bytes()
    path.unlink()
    try:
        areas = {each.area for each in damaged(examined(built))}
        assert {"declarations", "tables"} <= areas
    finally:
        file.write_text(kept)
        path.write_bytes(content)


def test_a_torn_end_a_lock_and_an_unrecorded_landing_are_notes(built: Mesh, monkeypatch) -> None:
    [segment, *_] = sorted(built.home.glob("events/*/*/*.seg"))
    kept = segment.read_bytes()
    segment.write_bytes(kept + kept[:20])
    lock = built.home / "locks" / "shop.run"
    with lock.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            found = examined(built, deep=False)
        finally:
            segment.write_bytes(kept)
    notes = [each for each in found if each.level is Level.NOTE]
    assert any("did not finish" in each.what and each.file == str(segment) for each in notes)
    assert any(each.subject == "shop.run" and each.area == "locks" for each in notes)
    assert damaged(found) == []


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="only Linux lists who holds a lock")
def test_the_holder_of_a_lock_is_found_without_taking_it(built: Mesh, monkeypatch) -> None:
    """If doctor took the lock, a landing would mistake it for a follower and land nothing."""
    taken: list[str] = []
    flock = fcntl.flock

    def recording(file: Any, how: int) -> None:
        descriptor = file if isinstance(file, int) else file.fileno()
        taken.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        flock(file, how)

    path = built.home / "locks" / "shop_raw.sales.following"
    hold = (
        "import fcntl, sys; file = open(sys.argv[1]); fcntl.flock(file, fcntl.LOCK_SH); "
        "print(flush=True); sys.stdin.read()"
    )
    path.parent.mkdir(exist_ok=True)
    path.write_text("1")  # the process id that the last holder wrote
    started = [
        subprocess.Popen([sys.executable, "-c", hold, path], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE) for _ in range(2)
    ]  # fmt: skip
    try:
        for each in started:
            each.stdout.readline()
        monkeypatch.setattr(fcntl, "flock", recording)
        found = [each for each in examined(built, deep=False) if each.area == "locks"]
    finally:
        for each in started:
            each.communicate()
    assert sorted(each.what for each in found) == sorted(
        f"is held by process {each.pid}, which is running" for each in started
    )
    assert {each.subject for each in found} == {path.name}
    # Readers of the ledger share a lock, which stops nobody but the removal of its old files.
    assert not [each for each in taken if "/locks/" in each and not each.endswith("ledger.readers")]
    free = [each for each in examined(built, deep=False) if each.area == "locks"]
    assert [each.what for each in free] == ["no process on this machine holds a lock"]


def test_what_only_the_ledger_knows_is_found(new_mesh: Callable[[], Mesh], tmp_path: Path) -> None:
    mesh = new_mesh()
    mesh.sell(1, 2)
    mesh.run("land")
    ledgers = LakeLedger(Lake(mesh.home))
    ahead = datetime.now(UTC) + timedelta(hours=5)
    entry = {"domain": "shop", "raw_table": "shop_raw.gone", "topic": "x", "rows": 5}
    ledgers.commit([], {"landings": [{**entry, "finished_at": ahead}]})
    ledgers.commit([], {"publications": [
        {"domain": "shop", "product": "lost", "kind": "publish", "snapshot_id": 1}]})  # fmt: skip
    found = {each.subject: each for each in damaged(examined(mesh, deep=False))}
    assert set(found) == {"shop_raw.gone", "shop.lost", "clock"}
    assert "in the future" in found["clock"].what
    [whole] = [each for each in examined(mesh, deep=False) if each.subject == "shop_raw.sales"
               and each.area == "ledger"]  # fmt: skip
    assert (whole.level, whole.what) == (Level.OK, "lists all 2 rows")


def test_a_new_mesh_is_well(mesh: Mesh) -> None:
    assert damaged(examined(mesh)) == []
    assert not mesh.home.exists()
    done = CliRunner(env={"MESH_ROOT": str(mesh.root)}).invoke(cli, ["doctor"])
    assert done.output.endswith("nothing is damaged\n")
    assert not mesh.home.exists()


def test_a_reader_meets_the_damage_that_doctor_names(built: Mesh) -> None:
    lake = Lake(built.home)
    [task] = lake.load("shop.totals").scan().plan_files()
    path = Path(plain_path(task.file.file_path))
    kept = path.read_bytes()
    HARM["flipped"](path)
    try:
        assert [each.subject for each in damaged(examined(built))] == ["shop.totals"]
        with (
            closing(meshhouse.connect(built.root)) as connection,
            pytest.raises((duckdb.Error, MeshError)),
        ):
            connection.execute("select * from shop.totals").fetchall()
    finally:
        path.write_bytes(kept)


def test_the_target_spark_needs_java(
    mesh: Mesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_TARGET", "spark")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    missing = [each for each in damaged(examined(mesh, deep=False)) if each.subject == "java"]
    assert [each.remedy for each in missing] == [
        f"Spark needs Java 17 or 21. Found: {tmp_path}/bin/java does not run. "
        "Install one and set JAVA_HOME."
    ]

    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"17.0.9\"' >&2\n")
    java.chmod(0o755)
    assert ("java", Level.OK, str(java)) in [
        (each.subject, each.level, each.what) for each in examined(mesh, deep=False)
    ]
