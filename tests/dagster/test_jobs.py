"""Several domains run at once: the same results, one run in Dagster, and no process that stays."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from benchmarks.generated import mesh_of
from tests.cli.test_interrupts import LINE, interrupted
from tests.conftest import Mesh

SAID = {"building", "auditing", "published", "publishin"}
READER = "select id, amount from {{ ref('d000', 'p0') }}\n"


@pytest.fixture
def many(tmp_path) -> Mesh:
    """Three domains; the second reads the first."""
    root = mesh_of(tmp_path / "mesh", 3, 1).root
    reader = root / "domains" / "d001"
    (reader / "dependencies.yml").write_text("projects:\n  - name: d000\n")
    (reader / "models" / "p0.sql").write_text(READER)
    return Mesh(root)


def test_what_three_domains_publish_and_in_which_order(many) -> None:
    done = many.run("run", "--jobs", "2")
    lines = done.stderr.splitlines()
    assert sum(line.startswith("published ") for line in lines) == 3
    published = lines.index(next(line for line in lines if line.startswith("published d000.p0:")))
    begun = lines.index(next(line for line in lines if line.startswith("building  d001.p0")))
    assert published < begun, "a domain starts when those that it reads are done"
    assert all(line[:9].strip() in SAID for line in lines[:-1]), "nothing else is printed"
    assert many.rows("select count(*), sum(amount) from d001.p0") == [(1, 2)]
    runs = [*(many.home / "dagster" / "history" / "runs").glob("*-*.db")]
    assert len(runs) == 1
    again = json.loads(many.run("run", "--jobs", "2", "--json").stdout)
    assert (len(again["unchanged"]), again["published"], again["failed"]) == (3, [], [])


def test_a_failed_domain_keeps_back_only_what_reads_it(many) -> None:
    many.edit("domains/d000/models/p0.sql", "amount * 2", "amount / (1 - 1) * error('no')")
    summary = json.loads(many.run("run", "--jobs", "2", "--json", code=1).stdout)
    assert [each["domain"] for each in summary["failed"]] == ["d000"]
    assert summary["not_run"] == ["d001"]
    assert {each["product"][:4] for each in summary["published"]} == {"d002"}


def test_ctrl_c_ends_every_process_with_one_line(many) -> None:
    arguments = ["run", "--jobs", "2"]
    code, text = interrupted(many, arguments, lambda said: "building" in said)
    assert (code, text.splitlines()[-1]) == (130, LINE)
    assert "Traceback" not in text
    _wait_until_no_process_is_left(many)
    many.run("run", "--jobs", "2")


def test_no_process_goes_on_when_the_run_is_killed(many) -> None:
    run = many.start("run", "--jobs", "2")
    assert run.stderr is not None
    while "building" not in run.stderr.readline():
        assert run.poll() is None
    run.send_signal(signal.SIGKILL)
    run.communicate()
    _wait_until_no_process_is_left(many)
    summary = json.loads(many.run("run", "--jobs", "2", "--json").stdout)
    assert len(summary["published"]) + len(summary["unchanged"]) == 3


def _wait_until_no_process_is_left(mesh: Mesh) -> None:
    """Nobody waits for some helpers, such as multiprocessing's resource tracker: they end last."""
    end = time.monotonic() + 60
    while left := _processes_of(mesh):
        assert time.monotonic() < end, left
        time.sleep(0.1)


def _processes_of(mesh: Mesh) -> list[str]:
    """Command lines of the processes that work in the mesh's folder."""
    found = []
    for folder in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if folder.resolve() == mesh.root and int(folder.parent.name) != os.getpid():
                found.append((folder.parent / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def test_a_target_with_one_session_refuses_several_jobs(many) -> None:
    said = many.run("run", "--jobs", "2", code=2, environment={"MESH_TARGET": "spark"}).stderr
    assert "builds one domain at a time" in said
    assert len(said.splitlines()) == 1
