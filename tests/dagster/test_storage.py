"""Runs are recorded where dagster.yaml says: SQLite in any form, or a real PostgreSQL server."""

from __future__ import annotations

import dagster as dg
import pytest

from meshhouse.dagster.abandoned import PROCESS
from meshhouse.dagster.home import dagster_home
from meshhouse.dagster.sensor import landing_sensor
from meshhouse.locks import lock_if_free
from tests.conftest import Mesh
from tests.support import postgres_here


@pytest.fixture(scope="module")
def postgres():
    with postgres_here.running() as server:
        yield server


def seen(home) -> tuple[list[str], int]:
    """What the web page reads: states of all runs, and how often the product was made."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        runs = instance.get_run_records()
        made = instance.fetch_materializations(dg.AssetKey(["shop", "orders"]), limit=10)
        assert all(instance.all_logs(each.dagster_run.run_id) for each in runs)
        return [each.dagster_run.status.value for each in runs], len(made.records)


def test_mesh_run_and_the_web_page_share_a_postgresql_server(sold: Mesh, tmp_path, postgres):
    (tmp_path / "dagster.yaml").write_text(postgres.settings())
    place = {"DAGSTER_HOME": str(tmp_path), "DAGSTER_PG_PASSWORD": postgres.password}
    sold.run("run", "shop", "--force", environment=place)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_PG_PASSWORD", postgres.password)
        assert seen(tmp_path) == (["SUCCESS"], 1)
    [(events,)] = postgres.query("select count(*) from event_logs")
    assert events > 20
    # Nothing of it is in a file: neither in the user's folder nor in the mesh's.
    assert not list(tmp_path.rglob("*.db"))
    assert not (sold.home / "dagster").exists()


@pytest.mark.parametrize("form", ["storage", "the older keys"])
def test_sqlite_elsewhere_has_runs_and_events_in_one_place(sold: Mesh, tmp_path, form):
    place = tmp_path / "elsewhere"
    if form == "storage":
        text = f"storage:\n  sqlite:\n    base_dir: {place}\n"
    else:
        text = "".join(
            f"{key}:\n  module: dagster._core.storage.{module}\n  class: {name}\n"
            f"  config:\n    base_dir: {place}/{folder}\n"
            for key, module, name, folder in (
                ("run_storage", "runs", "SqliteRunStorage", "history"),
                ("event_log_storage", "event_log", "SqliteEventLogStorage", "history/runs"),
                ("schedule_storage", "schedules", "SqliteScheduleStorage", "schedules"),
            )
        )
    (tmp_path / "dagster.yaml").write_text(text)
    sold.run("run", "shop", "--force", environment={"DAGSTER_HOME": str(tmp_path)})
    assert seen(tmp_path) == (["SUCCESS"], 1)
    assert {path.parent for path in tmp_path.rglob("*.db")} <= {
        place / "history",
        place / "history/runs",
        place / "schedules",
    }


@dg.job
def killed() -> None: ...


def run_again(mesh: Mesh) -> None:
    mesh.run("run", "shop", "--force")


def look_of_the_sensor(mesh: Mesh) -> None:
    with dg.DagsterInstance.from_config(str(dagster_home(mesh.repository))) as instance:
        sensor = landing_sensor(mesh.repository, "events_wait", 30)
        sensor(dg.build_sensor_context(instance=instance))


@pytest.mark.parametrize("then", [run_again, look_of_the_sensor])
def test_a_run_whose_process_was_killed_takes_no_place_in_the_queue(sold: Mesh, then):
    locks = sold.home / "locks" / "runs"
    locks.mkdir(parents=True, exist_ok=True)
    dead, alive, elsewhere = "dead", "alive", "elsewhere"
    (locks / dead).touch()
    with dg.DagsterInstance.from_config(str(dagster_home(sold.repository))) as instance:
        runs = {
            name: instance.create_run_for_job(
                killed,
                status=dg.DagsterRunStatus.STARTED,
                tags={PROCESS: name},
            ).run_id
            for name in (dead, alive, elsewhere)
        }
    with lock_if_free(locks / alive):
        then(sold)
    with dg.DagsterInstance.from_config(str(dagster_home(sold.repository))) as instance:
        found = {name: instance.get_run_by_id(run).status.value for name, run in runs.items()}
        told = [str(entry.dagster_event) for entry in instance.all_logs(runs[dead])]
    assert found == {dead: "FAILURE", alive: "STARTED", elsewhere: "STARTED"}
    assert any("The process of this run was killed." in each for each in told)
    assert not (locks / dead).exists()


BAD = {
    "not YAML": ("storage: [", 2, "dagster.yaml:1: "),
    "unknown key": ("storge: {}\n", 2, 'Received unexpected config entry "storge"'),
    "no variable": ("storage: {sqlite: {base_dir: {env: NO_SUCH}}}\n", 1, '"NO_SUCH"'),
    "no driver": (
        "storage: {postgres: {postgres_url: 'postgresql://x:y@127.0.0.1:1/z'}}\n",
        1,
        "begins with `postgresql+psycopg2://`",
    ),
    "no server": (
        "storage: {postgres: {postgres_url: 'postgresql+psycopg2://x:y@127.0.0.1:1/z'}}\n",
        1,
        "Connection refused",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_home_that_cannot_be_opened_is_one_line(sold: Mesh, tmp_path, case):
    text, code, said = BAD[case]
    (tmp_path / "dagster.yaml").write_text(text)
    done = sold.run(
        "run", "shop", "--force", code=code, environment={"DAGSTER_HOME": str(tmp_path)}
    )
    [line] = done.stderr.splitlines()
    assert line.startswith(f"mesh: {tmp_path}/dagster.yaml:")
    assert said in line
