"""Ctrl-C at any time gives exit code 130 and one line, and damages nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Mesh, sale

LINE = "mesh: Interrupted. Nothing is half done: run the same command again to continue."
HUGE = "select a.range + b.range as n from range(1000000000) a, range(1000000000) b"


def interrupted(mesh: Mesh, arguments: list[str], when: Callable[[str], bool]) -> tuple[int, str]:
    """Sends Ctrl-C to all processes of a command, as a terminal does.

    Args:
        mesh: the mesh in which the command runs.
        arguments: arguments of the command.
        when: whether to send it now, given the command's output so far.
    """
    said = mesh.root / "said"
    with said.open("wb") as file:
        process = subprocess.Popen(
            mesh.command(*arguments),
            cwd=mesh.root,
            env=mesh.environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    end = time.monotonic() + 120
    while not when(said.read_text()):
        assert process.poll() is None, said.read_text()
        assert time.monotonic() < end, said.read_text()
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    return process.wait(120), said.read_text()


@pytest.mark.parametrize(
    ("form", "query"), [("csv", f"select count(*) from ({HUGE}) where n = 3"), ("parquet", HUGE)]
)
def test_a_query_stops_and_leaves_the_old_file(mesh, form, query):
    file = mesh.root / f"old.{form}"
    file.write_text("old")
    arguments = ["sql", query, "-o", str(file)]
    # The file beside the old one is opened when the query begins.
    code, text = interrupted(mesh, arguments, lambda said: bool([*mesh.root.glob("~old.*")]))
    assert (code, text.splitlines()) == (130, [LINE])
    assert file.read_text() == "old"
    assert not [*mesh.root.glob("~old*")]


def test_a_table_that_is_still_computed_stops(mesh):
    query = f"select 1 as n union all select count(*) from ({HUGE}) where n = 3"
    busy = _uses_two_seconds_of_processor(mesh)
    code, text = interrupted(mesh, ["sql", query], busy)
    assert (code, text.splitlines()) == (130, [LINE])


def _uses_two_seconds_of_processor(mesh: Mesh) -> Callable[[str], bool]:
    """Whether the process in the mesh's folder has computed for longer than its start takes."""

    def busy(said: str) -> bool:
        ticks = 0
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                if Path(status.with_name("cwd")).resolve() == mesh.root:
                    ticks += sum(map(int, status.read_text().rpartition(") ")[2].split()[11:13]))
            except OSError:
                continue
        return ticks / os.sysconf("SC_CLK_TCK") > 4

    return busy


@pytest.mark.parametrize("step", ["building", "auditing"])
def test_a_run_says_nothing_but_that_it_was_interrupted(mesh, step):
    mesh.sell(*range(30))
    code, text = interrupted(mesh, ["run", "shop"], lambda said: step in said)
    assert code == 130
    lines = text.splitlines()
    assert lines[-1] == LINE
    assert all(line.split()[0] in ("landed", "building", "auditing", "mesh:") for line in lines)
    mesh.run("run", "shop")
    assert mesh.row("select count(*), count(distinct order_id) from shop.orders") == (30, 30)


def test_landing_stops_and_goes_on(mesh):
    mesh.send("shop.sales", [sale(number) for number in range(200_000)])
    landing = mesh.home / "lake" / "shop_raw" / "sales"
    code, text = interrupted(mesh, ["land"], lambda said: landing.exists())
    assert (code, text.splitlines()) == (130, [LINE])
    mesh.run("run", "shop")
    assert mesh.row("select count(*), count(distinct order_id) from shop.orders") == (200_000,) * 2
