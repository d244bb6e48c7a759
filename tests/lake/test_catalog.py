"""A catalog file that cannot be used is explained, and is never taken for a new mesh."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from meshhouse.errors import MeshError
from meshhouse.lake import Lake
from meshhouse.lake.ledger import LakeLedger
from tests.conftest import ROOT, Mesh
from tests.support import killing


def test_a_catalog_that_another_program_keeps_locked_is_named_and_readers_go_on(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("meshhouse.lake.catalog_file.BUSY_SECONDS", 0)
    lake = Lake(tmp_path)
    lake.commit([])
    with closing(sqlite3.connect(lake.catalog_path, isolation_level=None)) as other:
        other.execute("begin immediate")
        assert lake.states() == {}
        with pytest.raises(MeshError) as refused:
            lake.commit([])
    assert str(refused.value) == (
        f"The catalog {lake.catalog_path} has been locked by another program for 0 s. "
        "Let that finish or end it; then run the same command again."
    )
    lake.commit([])


def with_a_table(home: Path) -> Lake:
    lake = Lake(home)
    LakeLedger(lake).commit([], {"runs": [{"domain": "shop"}]})
    return lake


def foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table notes (text varchar)")


def emptied(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("vacuum")
        connection.execute("create table x (y int)")
        connection.execute("drop table x")


HARM: dict[str, tuple[Callable[[Path], object], str]] = {
    "deleted": (Path.unlink, "is missing, but its folder holds tables"),
    "empty": (lambda path: path.write_bytes(b""), "is empty, but its folder holds tables"),
    "nothing in it": (emptied, "holds nothing, but its folder holds tables"),
    "text": (lambda path: path.write_text("x" * 9000), "is damaged: file is not a database"),
    "foreign": (foreign, "is not a catalog of Iceberg: it holds notes"),
    "zeros": (lambda path: path.write_bytes(bytes(8192)), "is damaged"),
    "cut": (lambda path: os.truncate(path, 6000), "is damaged"),
    "short": (lambda path: os.truncate(path, 50), "is damaged"),
    "page": (lambda path: overwrite(path, 4096, b"\xff" * 4096), "is damaged"),
}


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


@pytest.mark.parametrize("harm", HARM)
def test_a_catalog_that_was_lost_is_never_taken_for_a_new_mesh(tmp_path: Path, harm: str) -> None:
    lake = with_a_table(tmp_path)
    act, says = HARM[harm]
    act(lake.catalog_path)
    left = lake.catalog_path.read_bytes() if lake.catalog_path.exists() else None
    for use in (
        lake.states,
        lake.everything,
        lambda: with_a_table(tmp_path),
        lambda: LakeLedger(lake).entries("runs"),
    ):
        with pytest.raises(MeshError) as refused:
            use()
        assert says in str(refused.value)
        assert str(lake.catalog_path) in str(refused.value)
    assert left == (lake.catalog_path.read_bytes() if lake.catalog_path.exists() else None)


def test_a_lost_catalog_lands_nothing_again(mesh: Mesh) -> None:
    mesh.sell(1, 2)
    mesh.run("land")
    lake = Lake(mesh.home)
    kept = lake.catalog_path.read_bytes()
    lake.catalog_path.unlink()
    for command in (["land"], ["status"], ["run"], ["sql", "select 1"], ["maintain"]):
        said = mesh.run(*command, code=1).stderr
        assert "is missing, but its folder holds tables" in said
        assert "Traceback" not in said
    lake.catalog_path.write_bytes(kept)
    assert json.loads(mesh.run("land", "--json").stdout or "[]") is not None
    assert lake.load("shop_raw.sales").current_snapshot().summary["total-records"] == "2"


def test_a_first_command_killed_anywhere_leaves_a_home_that_works(tmp_path: Path) -> None:
    """A kill at each step up to the first commit: the catalog is created before any other file."""
    from meshhouse.lake import catalog_file, jdbc_catalog, staging

    def dying_at(place: object, name: str, when: str) -> None:
        was = getattr(place, name)

        def dies(*arguments: object, **options: object) -> None:
            if when == "after":
                was(*arguments, **options)
            os.kill(os.getpid(), signal.SIGKILL)

        setattr(place, name, dies)

    for at, (place, name) in enumerate(
        [
            (catalog_file, "_leave_write_ahead_log"),
            (catalog_file, "make"),
            (staging, "write_metadata"),
            (jdbc_catalog.JdbcCatalog, "move"),
        ]
    ):
        for when in ("before", "after"):
            home = tmp_path / f"{at}-{when}"

            def killed(place=place, name=name, when=when, home=home) -> None:
                dying_at(place, name, when)
                with_a_table(home)

            status = os.waitpid(killing.forked(killed), 0)[1]
            assert os.WIFSIGNALED(status), (name, when)
            assert os.waitpid(killing.forked(lambda home=home: with_a_table(home)), 0)[1] == 0
    blank = tmp_path / "blank" / "lake" / "catalog.db"
    blank.parent.mkdir(parents=True)
    blank.touch()
    assert Lake(tmp_path / "blank").states() == {}
    with_a_table(tmp_path / "blank")


def reader(home: Path, user: int = 65534) -> subprocess.CompletedProcess[str]:
    """Reads a lake as another user, in a separate process."""
    code = (
        "import os, sys; from pathlib import Path; from meshhouse.lake import Lake\n"
        f"os.setgroups([]); os.setgid({user}); os.setuid({user})\n"
        f"print(sorted(Lake(Path({str(home)!r})).states()))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user can reach; pytest's temporary folders are private."""
    folder = Path(tempfile.mkdtemp(prefix="mesh-shared-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("log", ["delete", "wal"])
def test_a_user_with_the_right_to_read_only_can_read_and_leaves_no_file(
    shared: Path, log: str
) -> None:
    lake = with_a_table(shared / "home")
    with closing(sqlite3.connect(lake.catalog_path)) as connection:
        connection.execute(f"pragma journal_mode = {log}")
    for path in (shared, *shared.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    before = {path: path.stat().st_mtime_ns for path in lake.warehouse.rglob("*")}
    done = reader(lake.home)
    assert done.stdout == "['meshhouse.heads', 'meshhouse.runs']\n", done.stderr
    # Also if the other user may write to the folder: the owner could not open a file made there.
    lake.warehouse.chmod(0o777)
    assert reader(lake.home).stdout == "['meshhouse.heads', 'meshhouse.runs']\n"
    assert {path: path.stat().st_mtime_ns for path in lake.warehouse.rglob("*")} == before
    with_a_table(lake.home)


def test_a_reader_without_the_right_to_read_gets_a_message_of_one_line(shared: Path) -> None:
    lake = with_a_table(shared / "home")
    lake.warehouse.chmod(0o700)
    done = reader(lake.home)
    assert "you lack the right to read" in done.stderr.splitlines()[-1]
    lake.warehouse.chmod(0o755)
    lake.catalog_path.chmod(0o600)
    assert "you lack the right to read" in reader(lake.home).stderr.splitlines()[-1]


def test_a_writer_killed_in_its_commit_does_not_block_the_owner(tmp_path: Path) -> None:
    """The next process that may write rolls back the unfinished transaction."""
    lake = with_a_table(tmp_path)

    def killed() -> None:
        connection = sqlite3.connect(lake.catalog_path, isolation_level=None)
        connection.execute("pragma cache_size = 1")
        connection.execute("begin immediate")
        connection.execute("delete from iceberg_tables")
        for number in range(3000):  # more than the cache holds, so pages are written to the file
            connection.execute(
                "insert into iceberg_tables values ('x', 'x', ?, 'x', null, null)", (number,)
            )
        os.kill(os.getpid(), signal.SIGKILL)

    os.waitpid(killing.forked(killed), 0)
    assert Path(f"{lake.catalog_path}-journal").exists()
    assert list(lake.states()) == ["meshhouse.heads", "meshhouse.runs"]
