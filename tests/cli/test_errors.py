"""After any failure a command prints one line with the remedy; no event is lost or doubled."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshhouse.cli.main import explain
from meshhouse.events import event_log
from tests.conftest import WARM, Mesh, sale

ORDERS_SQL = "domains/shop/models/products/orders.sql"
TOPICS = "domains/shop/models/topics.yml"


@pytest.fixture(scope="module")
def landed(new_mesh) -> Mesh:
    """A mesh with ten landed sales and no publication; tests undo their changes."""
    mesh = new_mesh()
    mesh.sell(*range(10))
    mesh.run("land")
    return mesh


def said(mesh: Mesh, *arguments: str, code: int, **options) -> str:
    """The one line of a command that fails."""
    done = mesh.run(*arguments, code=code, **options)
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("mesh: ")
    assert "Traceback" not in line
    return line


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["stat"], "mesh: There is no command `stat`. Did you mean `mesh status`?"),
        (["zzz"], "mesh: There is no command `zzz`. See `mesh --help`."),
        (["run", "--froce"], "Did you mean '--force'? See `mesh --help`."),
        (["history"], "mesh: Missing argument 'DOMAIN.PRODUCT'. See `mesh --help`."),
        (["run", "shp"], "mesh: There is no domain `shp`. Domains: crm, shop, mesh."),
        (["run", "shop.order"], "mesh: shop publishes no product `order`. shop publishes: orders"),
        (["run", "shop.stg_sales"], "mesh: `stg_sales` is a private model of shop"),
        (["history", "shop"], "`shop` is a domain, not a product. Its products: shop.orders"),
        (["rollback", "shop.zzz"], "mesh: shop publishes no product `zzz`."),
        (["land", "mesh"], "mesh: `mesh` is neither a domain with topics nor a raw table."),
        (["replay", "shop.sales"], "mesh: The demo has no topic shop.sales. It has: customers."),
        (["replay", "--until", "soon"], "mesh: `soon` is not a date. Write it as 2017-03-01."),
    ],
)
def test_a_wrong_request_is_exit_code_2_with_what_there_is(landed, arguments, line):
    assert line in said(landed, *arguments, code=2)


def test_help_lists_every_command_with_what_it_does(landed):
    _, _, listed = landed.run("--help").stdout.partition("Commands:")
    shown = dict(line.split(maxsplit=1) for line in listed.splitlines() if line)
    assert set(shown) >= {"check", "demo", "history", "land", "rollback", "run", "sql", "status"}
    assert all(text.endswith(".") for text in shown.values())


def test_outside_a_repository_every_command_says_so(landed, tmp_path):
    nowhere = {"folder": tmp_path, "environment": {"MESH_ROOT": ""}}
    for command in ("check", "status", "run", "land"):
        line = said(landed, command, code=2, **nowhere)
        assert f"{tmp_path} is not inside a Meshhouse repository" in line
        assert "set MESH_ROOT" in line


def test_a_repository_is_found_from_any_folder_inside_it(landed):
    inside = landed.root / "domains" / "crm" / "models"
    done = landed.run("check", folder=inside, environment={"MESH_ROOT": ""})
    assert "0 findings in 3 domains" in done.stderr


def test_broken_yaml_is_named_with_file_and_line_and_consumers_read_on(mesh):
    mesh.edit("domains/crm/models/products/customers.yml", "description: Who", "description: : Who")
    problem = (
        "domains/crm/models/products/customers.yml:4: this is not valid YAML: "
        "mapping values are not allowed in this context."
    )
    assert said(mesh, "run", "crm", code=2) == f"mesh: {problem}"
    assert said(mesh, "land", "crm", code=2) == f"mesh: {problem}"
    assert mesh.run("status").stderr == f"mesh: crm is broken: {problem}\n"
    assert mesh.run("sql", "select 1", "--format", "csv").stdout.split() == ['"1"', "1"]


def test_a_failure_before_anything_was_published_is_exit_code_1(landed):
    line = said(landed, "rollback", "shop.orders", code=1)
    assert line == "mesh: shop.orders was never published, so there is nothing to go back to."


def test_debug_shows_where_it_happened(landed):
    done = landed.run("run", "shp", "--debug", code=1)
    assert done.stderr.startswith("Traceback")
    assert "There is no domain `shp`" in done.stderr


class Wrapped(Exception):
    """An error that wraps the database's error, as SQLAlchemy does."""

    orig = OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            OSError(13, "Permission denied", "/data"),
            "[Errno 13] Permission denied: '/data'. Correct this and run the same command again.",
        ),
        (
            Wrapped("[SQL: INSERT ...] (Background on this error at: ...)"),
            "[Errno 28] No space left on device. Correct this and run the same command again.",
        ),
        (KeyError("a\nb"), "KeyError: 'a\\nb' (`--debug` shows where this happened.)"),
    ],
)
def test_an_unforeseen_failure_is_one_line_too(error, line):
    assert explain(error) == (line, 1)


@pytest.fixture
def restored(landed: Mesh) -> Iterator[Mesh]:
    """The shared mesh, whose files are restored after the test."""
    files = {landed.root / path: (landed.root / path).read_bytes() for path in (ORDERS_SQL, TOPICS)}
    yield landed
    for path, content in files.items():
        path.write_bytes(content)


def failed(mesh: Mesh) -> str:
    """The line of a run of shop that fails."""
    done = mesh.run("run", "shop", code=1)
    assert "Traceback" not in done.stderr
    assert "0 products published, 0 unchanged, 1 domain failed" in done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("failed ")]
    assert mesh.repository.home.joinpath("lake").exists()
    return line


def test_an_error_in_sql_names_the_model_and_what_the_database_says(restored):
    restored.edit(ORDERS_SQL, "cast(sale_id as", "cast(sale_no as")
    line = failed(restored)
    assert "dbt build of shop failed; consumers keep what was published." in line
    assert "models/products/orders" in line
    assert 'Referenced column "sale_no" not found' in line


def test_a_column_that_the_contract_lacks_is_named(restored):
    restored.edit(ORDERS_SQL, "select\n", "select\n    1 as extra,\n")
    line = failed(restored)
    # dbt's message: the comparison with the contract is part of dbt's build.
    assert "model orders: Compilation Error" in line
    assert "| extra | INTEGER | | missing in contract |" in line


def test_a_missing_topic_is_named_beside_those_there_are(restored):
    restored.edit(TOPICS, "topic: shop.sales", "topic: shop.sale")
    for line in (failed(restored), said(restored, "land", "shop", code=2)):
        assert "There is no topic `shop.sale` in the event log" in line
        assert "It holds: shop.sales." in line


def test_a_damaged_segment_is_named_and_once_it_is_restored_everything_lands(restored):
    restored.sell(10)
    segments = restored.home.glob("events/*/*/*.seg")
    damaged = max(segments, key=lambda path: path.stat().st_mtime_ns)
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-1] + bytes([content[-1] ^ 0xFF]))
    for line in (failed(restored), said(restored, "land", code=1)):
        assert f"{damaged} is damaged at byte" in line
        assert "Restore the file from a copy" in line
    damaged.write_bytes(content)
    assert "1 rows landed" in restored.run("land").stderr


def test_a_file_where_the_data_folder_should_be_is_named(landed, tmp_path):
    place = tmp_path / "home"
    place.write_text("not a folder")
    for arguments in (["run"], ["replay", "--until", "2017-01-01"]):
        assert str(place) in said(landed, *arguments, code=2, environment={"MESH_HOME": str(place)})


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 MiB, mounted for one test."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m,mode=700", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this user cannot mount a disk")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(disk: Path, left: int) -> None:
    """Fills a disk until so many bytes are left."""
    filler = disk / "filler"
    filler.unlink(missing_ok=True)
    free = os.statvfs(disk)
    with filler.open("wb") as file:
        file.write(bytes(free.f_bavail * free.f_bsize - left))


@pytest.mark.parametrize("left", [0, 50_000, 100_000, 150_000])
def test_a_full_disk_stops_landing_and_room_is_all_that_it_needs(mesh, small_disk, left):
    # With these sizes, the log, the data files or the new catalog do not fit.
    here = {"environment": {"MESH_HOME": str(small_disk)}}
    log = event_log(small_disk)
    log.create_topic("shop.sales", 1)
    log.append_events("shop.sales", [(b"k", sale(number)[1], 0, []) for number in range(50)], "t")
    fill(small_disk, left)
    done = mesh.run("land", code=None, **here)
    if done.returncode:
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert "No space left" in done.stderr or "make room" in done.stderr
    assert done.returncode == 1 or left > 100_000
    fill(small_disk, 30_000_000)
    mesh.run("land", **here)
    assert landed_sales(mesh, small_disk) == list(range(50))


def landed_sales(mesh: Mesh, home: Path) -> list[int]:
    from meshhouse.lake import Lake
    from meshhouse.lake.views import connect_memory, create_views

    with connect_memory() as connection:
        create_views(connection, Lake(home).states())
        rows = connection.execute("select sale_id from shop_raw.sales order by all").fetchall()
    return [number for (number,) in rows]


@pytest.mark.parametrize("left", [300_000, 1_200_000, 2_400_000])
def test_a_full_disk_during_a_run_is_one_line_that_names_the_folder(mesh, small_disk, left):
    # Dagster's files grow first: the disk is full at the start, or during the run.
    mesh.sell(*range(10))
    shutil.copytree(mesh.home, small_disk, dirs_exist_ok=True)
    small_disk.chmod(0o700)  # otherwise `mesh` prints that it changes the folder's permissions
    fill(small_disk, left)
    done = mesh.run("run", "shop", code=1, environment={"MESH_HOME": str(small_disk)})
    [line] = [line for line in done.stderr.splitlines() if line.startswith("mesh: ")]
    assert f"Dagster's record of runs in {small_disk}/dagster cannot be written: " in line
    assert "(0 MiB are free on its disk)" in line or "disk is full" in line
    assert done.stderr.splitlines()[-1] == line
    assert "Exception while" not in done.stderr
    assert "Background on this error" not in done.stderr


def test_plain_dbt_in_an_empty_mesh_says_what_to_do_first(mesh):
    done = mesh.dbt("shop", "build", code=None)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "topic `shop.sales` was never landed. Run `mesh land shop` first." in said
    assert "Traceback" not in said


def test_a_read_only_disk_is_explained(landed, small_disk):
    shutil.copytree(landed.home, small_disk, dirs_exist_ok=True)
    here = {"environment": {"MESH_HOME": str(small_disk)}}
    landed.run("status", **here)  # corrects the paths of the copy, which writes files
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for command in (["land"], ["run"]):
        assert "Read-only file system" in said(landed, *command, code=1, **here)
    assert "shop.orders" in landed.run("status", **here).stdout  # reading writes nothing


def test_a_run_interrupted_in_any_step_continues_with_nothing_lost_and_nothing_twice(
    new_mesh, tmp_path
):
    mesh = new_mesh()
    mesh.sell(*range(30))
    for step in ("landed", "building", "auditing", "publishing"):
        code, text = interrupted(mesh, tmp_path, step)
        assert code == 130
        assert text.endswith(
            "mesh: Interrupted. Nothing is half done: run the same command again to continue.\n"
        )
        assert "Traceback" not in text
    mesh.run("run", "shop")
    assert mesh.row("select count(*), count(distinct order_id) from shop.orders") == (30, 30)
    assert mesh.row("select orders from shop.totals") == (30,)


def interrupted(mesh: Mesh, folder: Path, step: str) -> tuple[int, str]:
    """Sends Ctrl-C to a run at a step; returns the exit code and the output."""
    pipe = folder / step
    os.mkfifo(pipe)
    process = WARM.start(
        ["run", "shop"], mesh.root, mesh.environment, (folder / "standard output", pipe)
    )
    text = ""
    with pipe.open() as lines:
        for line in lines:
            text += line
            if line.startswith(step):
                os.kill(process, signal.SIGINT)
    return WARM.wait(process, 60), text
