"""What running a mesh costs beside dbt and SQLMesh: many small domains, and the demo.

    python -m benchmarks.mesh [--domains 20] [--location-domains 100] [--publications 200]
                               [--skip demo,sqlmesh,location,publications]

Every figure is of whole processes, their start included. Wall time says what a person waits for.
CPU time, the second figure, is what to compare while other programs use the machine. SQLMesh has a
separate environment in the user's cache, made with uv at first use, before the clock starts.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.environments import environment
from benchmarks.generated import dbt_project_of, mesh_of, sqlmesh_project_of
from benchmarks.growth import EARLY, growth
from benchmarks.runs import run_costs

ROOT = Path(__file__).parent.parent
SQLMESH = "sqlmesh[duckdb]==0.236.4"
_LOAD = """
import os
import time
started = time.process_time()
from orchestration.definitions import definitions
from meshhouse.repository import Repository
imported = time.process_time()
definitions(Repository.find(), {domains}).get_repository_def()
print(imported - started, time.process_time() - imported, flush=True)
os._exit(0)
"""
"""A code server stays, so the second that Python needs to end with so many objects is left out."""


@dataclass(frozen=True)
class Cost:
    """What a command took: seconds, and seconds of all cores together."""

    wall: float
    cpu: float
    said: str = ""

    def __str__(self) -> str:
        if not self.cpu:
            return f"{self.wall:.1f} s"
        return f"{self.wall:.1f} s, CPU {self.cpu:.1f} s"


def cost_of(command: Sequence[str], folder: Path, variables: Mapping[str, str] = {}) -> Cost:
    """Runs a command to its end.

    Raises:
        RuntimeError: it failed; the message has its output.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MESH_")}
    settings = {**kept, "PYTHONPATH": str(ROOT), **variables}
    with tempfile.TemporaryFile("w+") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env=settings, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        said = output.read()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {said[-800:]}")
    return Cost(seconds, used.ru_utime + used.ru_stime, said)


class Rows:
    """The table; a measurement that fails is a row that says so, and the others go on."""

    def __init__(self) -> None:
        self._table = Table(title="Overhead", title_justify="left")
        for column in ("what", "measured", "beside", "ratio", "aim"):
            self._table.add_column(column)

    def add(self, what: str, measured: Cost, aim: str, beside: Mapping[str, Cost] = {}) -> None:
        """One row; `beside` are other programs that did the same."""
        self._table.add_row(
            what,
            str(measured),
            "\n".join(f"{name}: {cost}" for name, cost in beside.items()),
            "\n".join(f"{measured.wall / cost.wall:.2f}" for cost in beside.values()),
            aim,
        )

    def trying(self, name: str, work: Callable[[], None]) -> None:
        """Does a part of the measurements."""
        try:
            work()
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            self._table.add_row(name, f"failed: {error}", "", "", "")

    def show(self) -> None:
        """Prints the table."""
        Console(width=120).print(self._table)
        print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")


def runs(rows: Rows, scratch: Path, domains: int, with_sqlmesh: bool) -> None:
    """Full run, nothing new, and one changed model, beside one dbt project and SQLMesh."""
    mesh, plain, other = scratch / "mesh", scratch / "plain", scratch / "sqlmesh"
    mesh_of(mesh, domains)
    dbt_project_of(plain, domains)
    run = [sys.executable, "-m", "meshhouse.cli.main", "run", "--quiet", "--confirm", "measured"]
    build = [str(Path(sys.executable).with_name("dbt")), "--quiet", "build", "--profiles-dir", "."]
    quiet = {"DBT_SEND_ANONYMOUS_USAGE_STATS": "false", "DBT_ENGINE_USE_V2_PARSER": "false"}
    plan: list[str] = []
    if with_sqlmesh:
        sqlmesh_project_of(other, domains)
        program = environment("sqlmesh-0.236.4", [SQLMESH]) / "sqlmesh"
        plan = [str(program), "plan", "--auto-apply", "--no-prompts"]

    def sqlmesh_plan() -> dict[str, Cost]:
        return {"SQLMesh plan": cost_of(plan, other)} if plan else {}

    full = cost_of(run, mesh)
    built = {"dbt build": cost_of(build, plain, quiet)}
    rows.add(
        f"full run, {domains} domains of 10 products", full, "at most 0.8 of dbt's",
        built | sqlmesh_plan(),
    )  # fmt: skip
    rows.add("nothing new", cost_of(run, mesh), "at most 2 s", sqlmesh_plan())
    _change(mesh / "domains" / "d007" / "models" / "p3.sql", 3)
    _change(plain / "models" / "d007" / "d007_p3.sql", 3)
    if plan:
        _change(other / "models" / "d007" / "p3.sql", 3)
    one = {"dbt build -s": cost_of([*build, "-s", "d007_p3"], plain, quiet)} | sqlmesh_plan()
    rows.add("one model changed, mesh run", cost_of(run, mesh), "at most 5 s", one)
    _change(mesh / "domains" / "d007" / "models" / "p3.sql", 4)
    rows.add("one model changed, mesh run PRODUCT", cost_of([*run, "d007.p3"], mesh), "at most 5 s")


def _change(sql: Path, factor: int) -> None:
    text = sql.read_text()
    changed = text.replace(f"amount * {factor - 1}", f"amount * {factor}")
    if changed == text:
        raise RuntimeError(f"{sql} has no `amount * {factor - 1}`, so nothing would be measured")
    sql.write_text(changed)


def location(rows: Rows, scratch: Path, domains: int) -> None:
    """Dagster's code location of a large mesh, the process of a run in it, and `mesh check`."""
    mesh = scratch / "large"
    mesh_of(mesh, domains)
    size = f"{domains} domains of 10 products"

    def loaded(names: str) -> tuple[Cost, float]:
        cost = cost_of([sys.executable, "-W", "ignore", "-c", _LOAD.format(domains=names)], mesh)
        return cost, float(cost.said.split()[-1])

    cold, _ = loaded("None")
    rows.add(f"code location, {size}, cold", cold, "at most 45 s")
    warm, _ = loaded("None")
    rows.add(f"code location, {size}, warm", warm, "at most 3 s of CPU")
    started, beyond = loaded('["d007"]')
    own = Cost(started.wall, beyond)
    rows.add("start of a run's process in that mesh, CPU beyond imports", own, "at most 2 s of CPU")
    check = [sys.executable, "-m", "meshhouse.cli.main", "check"]
    rows.add(f"mesh check, {size}", cost_of(check, mesh), "at most 2 s of CPU")


def publications(rows: Rows, count: int) -> None:
    """The last publication of a product beside an early one, and the size of all of them."""
    found = growth(count)
    rows.add(
        f"publication {count} of a product, 20 new rows each; .mesh {found.megabytes:.1f} MB",
        Cost(found.late, found.late), "ratio at most 1.2, at most 10 MB",
        {f"publication {EARLY}": Cost(found.early, found.early)},
    )  # fmt: skip


def demo(rows: Rows) -> None:
    """The demo's full run beside plain dbt."""
    found = run_costs()
    rows.add(
        "the demo, mesh run --force", Cost(found["forced"], 0), "at most 0.5",
        {"plain dbt build of each domain": Cost(found["plain"], 0)},
    )  # fmt: skip


def main() -> None:
    """Measures, and prints one table."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.mesh")
    parser.add_argument("--domains", type=int, default=20, help="at least 8")
    parser.add_argument("--location-domains", type=int, default=100, help="at least 8")
    parser.add_argument("--publications", type=int, default=200, help="more than 25")
    parser.add_argument(
        "--skip", default="", help="of runs, sqlmesh, location, publications and demo"
    )
    asked = parser.parse_args()
    skipped = set(asked.skip.split(","))
    rows = Rows()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        if "runs" not in skipped:
            with_sqlmesh = "sqlmesh" not in skipped
            rows.trying("runs", lambda: runs(rows, scratch, asked.domains, with_sqlmesh))
        if "location" not in skipped:
            rows.trying("location", lambda: location(rows, scratch, asked.location_domains))
    if "publications" not in skipped:
        rows.trying("publications", lambda: publications(rows, asked.publications))
    if "demo" not in skipped:
        rows.trying("demo", lambda: demo(rows))
    rows.show()


if __name__ == "__main__":
    main()
