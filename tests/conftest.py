"""Fixtures for all tests: a small mesh, used through the command line, and shared servers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import uuid4

import hypothesis
import pytest

import meshhouse
from meshhouse.engines import Engine, engine
from meshhouse.repository import Repository
from tests.support import killing, pace, ram, snowflake_here, spark_here
from tests.support.kept import Kept
from tests.support.tiny import ROOT, copy_tiny
from tests.support.warm import Warm

# The same generated values each time, so that a test fails because of a change and not by chance.
# `make explore` draws other values each time. A busy machine must not fail a test, so there is no
# deadline.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.register_profile("explore", derandomize=False, deadline=None)
hypothesis.settings.load_profile("repeatable")

# Before pytest chooses its folder; its workers inherit the choice.
ram.use_memory()

WARM = Warm()
QUICK_JAVA = (
    "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC "
    "-XX:+UnlockDiagnosticVMOptions -XX:-BytecodeVerificationRemote "
    "-XX:ReservedCodeCacheSize=256m"
)
"""Java of tests does not live long enough to earn what a full compiler costs: half of the processor
time of the demo's run on Spark, and 3.5 of 9 s of a Kafka broker. The check of each class's code
takes 15% of the start of Spark. Without the full compiler, 48 MB are reserved for compiled code:
five runs of two domains on Spark fill them, and then code is dropped and compiled again."""
SERVERS = {"broker", "browser", "fakesnow", "nessie", "spark", "store"}
"""Fixtures that start a server or a Java process."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests that need a server, and moves the files that take longest to the front.

    Workers get the files in this order. With a long file at the end, the others would be idle.
    """
    for item in items:
        if SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.server)
        if pace.is_slow(item.path):
            item.add_marker(pytest.mark.slow)
    begins = {path: pace.begins(path) for path in {item.path for item in items}}
    items.sort(key=lambda item: begins[item.path])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Gives each file to one worker, and files that share much to the same one."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return pace.together(config.rootpath / super()._split_scope(nodeid))

    return Scheduling(config, log)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Lists the files that took longest, where `--durations` asks for the slowest tests."""
    if not terminalreporter.config.option.durations:
        return
    seconds: Counter[str] = Counter()
    for report in chain.from_iterable(terminalreporter.stats.values()):
        if isinstance(report, pytest.TestReport):
            seconds[report.nodeid.partition("::")[0]] += report.duration
    terminalreporter.write_sep("=", "files of over 10 s")
    for file, spent in seconds.most_common():
        if spent >= 10:
            terminalreporter.write_line(f"{spent:6.0f} s {file}")


@dataclass(frozen=True)
class Mesh:
    """A repository in a separate folder, used through the command line."""

    root: Path

    @property
    def home(self) -> Path:
        return self.root / ".mesh"

    @property
    def repository(self) -> Repository:
        """The repository with its present declarations."""
        return Repository(self.root)

    @property
    def environment(self) -> dict[str, str]:
        # Without a bytecode cache, every process would compile all its imports.
        dropped = ("MESH_", "DAGSTER_", "PYTHONDONTWRITEBYTECODE")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        # Imports come from this repository, in whatever folder a command runs.
        python_path = os.pathsep.join(filter(None, [str(ROOT), kept.get("PYTHONPATH")]))
        # Processes for each domain would double the time of most tests; dagster/test_jobs.py has
        # those that are about them.
        own = {"MESH_ROOT": str(self.root), "COLUMNS": "200", "NO_COLOR": "1", "MESH_JOBS": "1"}
        return {**kept, **own, "PYTHONPATH": python_path}

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "meshhouse.cli.main", *arguments]

    def run(
        self,
        *arguments: str,
        code: int | None = 0,
        folder: Path | None = None,
        environment: dict[str, str] | None = None,
        seconds: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        """Runs `mesh ARGUMENTS`; `code` is the expected exit code."""
        return self._run(arguments, code, folder or self.root, environment or {}, seconds)

    def dbt(
        self,
        domain: str,
        *arguments: str,
        code: int | None = 0,
        environment: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Runs plain `dbt ARGUMENTS` in a domain's folder, as an author does."""
        tool = str(Path(sys.executable).with_name("dbt"))
        variables = {"DBT_PROFILES_DIR": str(self.root / "profiles"), **(environment or {})}
        return self._run([tool, *arguments], code, self.root / "domains" / domain, variables, 300)

    def _run(
        self,
        arguments: Sequence[str],
        code: int | None,
        folder: Path,
        variables: dict[str, str],
        seconds: float,
    ) -> subprocess.CompletedProcess[str]:
        with tempfile.TemporaryDirectory() as place:
            output = Path(place, "out"), Path(place, "err")
            process = WARM.start(arguments, folder, {**self.environment, **variables}, output)
            status = WARM.wait(process, seconds)
            out, err = (path.read_text(errors="replace") for path in output)
            # Java says that it uses the variable of these tests, which users do not set.
            err = re.sub(r"^NOTE: Picked up JDK_JAVA_OPTIONS.*\n", "", err, flags=re.MULTILINE)
            done = subprocess.CompletedProcess(["mesh", *arguments], status, out, err)
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return done

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts `mesh ARGUMENTS` in a new process and does not wait for it."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def query(self, sql: str) -> list[dict]:
        """Rows as `mesh sql` prints them; decimals are texts."""
        return json.loads(self.run("sql", sql, "--format", "json").stdout, parse_float=str)

    def rows(self, sql: str) -> list[tuple]:
        """Rows as Python consumers read them; faster than `query`."""
        with meshhouse.connect(self.root) as connection:
            return connection.execute(sql).fetchall()

    def row(self, sql: str) -> tuple:
        """The only row of a query."""
        [only] = self.rows(sql)
        return only

    def history(self, product: str) -> list[dict]:
        """A product's entries in the ledger, newest first."""
        return json.loads(self.run("history", product, "--json").stdout)

    def send(self, topic: str, events: list[tuple[bytes | None, bytes | None]]) -> None:
        """Writes events (key, value) to a topic of the event log."""
        from meshhouse.events import event_log

        log = event_log(self.home)
        log.create_topic(topic, 2)
        now = int(datetime.now(UTC).timestamp() * 1000)
        log.append_events(topic, [(key, value, now, []) for key, value in events], "test")

    def sell(self, *numbers: int, **fields: Any) -> None:
        """Sends sales with these numbers; `fields` are arguments of `sale`."""
        self.send("shop.sales", [sale(number, **fields) for number in numbers])

    def edit(self, path: str, old: str, new: str) -> None:
        """Replaces text in a file of the repository."""
        file = self.root / path
        text = file.read_text()
        assert old in text, f"{old!r} is not in {path}"
        file.write_text(text.replace(old, new))

    def write(self, path: str, text: str) -> None:
        """Writes a file of the repository, and creates its folder if necessary."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def sale(number: int, customer: int = 1, amount: float = 1.5) -> tuple[bytes, bytes]:
    """An event of the tiny mesh's topic `shop.sales`."""
    value = {
        "sale_id": number,
        "customer_id": customer,
        "amount": amount,
        "sold_at": "2017-01-01T12:00:00Z",
    }
    return str(customer).encode(), json.dumps(value).encode()


def make_mesh(folder: Path) -> Mesh:
    """A copy of the tiny mesh, with the real macros and profiles."""
    copy_tiny(folder)
    return Mesh(folder)


@pytest.fixture(scope="session", autouse=True)
def _only_the_tests_decide_where_the_mesh_is() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("MESH_", "DAGSTER_"))]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session", autouse=True)
def _what_tests_make_is_private() -> Iterator[None]:
    """New files are private, as in a mesh's home; else the first command warns about them."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.fixture(scope="session", autouse=True)
def _java_compiles_quickly() -> Iterator[None]:
    """Every Java that tests start reads this variable, a user's settings on top of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JDK_JAVA_OPTIONS", QUICK_JAVA)
        yield


@pytest.fixture(scope="session", autouse=True)
def _dbt_parses_each_text_once() -> None:
    """Caches parsed macros, as dbt's tests do: dbt's own macros take 0.6 s of each parse."""
    from dbt_common.tests import enable_test_caching

    enable_test_caching()


@pytest.fixture(scope="session", autouse=True)
def _dbt_does_not_ask_where_its_flags_come_from() -> Iterator[None]:
    """dbt looks through the stack for each flag of its behavior, for the text of a warning.

    pytest's stack is deep: 0.3 of the 2.2 s of processor time that runs of two domains take.
    """
    from dbt_common.behavior_flags import BehaviorFlagRendered

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BehaviorFlagRendered, "_default_source", staticmethod(lambda: "dbt"))
        yield


@pytest.fixture(scope="session", autouse=True)
def _warm_process_ends_with_the_tests() -> Iterator[None]:
    yield
    WARM.close()


@pytest.fixture(autouse=True)
def _forked_processes_end_with_their_test() -> Iterator[None]:
    """A forked process holds pipes of servers, which would wait for it at the end of all tests."""
    yield
    killing.end_forked()


@pytest.fixture
def mesh(tmp_path: Path) -> Mesh:
    """A small mesh without data: domains shop -> crm -> mesh."""
    return make_mesh(tmp_path / "tiny")


@pytest.fixture(scope="session")
def new_mesh(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Mesh]:
    """Makes small meshes for tests that share one, such as the steps of a story."""
    return lambda: make_mesh(tmp_path_factory.mktemp("mesh") / "tiny")


@pytest.fixture(scope="session")
def sold_once(new_mesh: Callable[[], Mesh]) -> Kept:
    """See `sold`."""
    # Here, because dbt takes a second to import and most tests do without it.
    from meshhouse.landing import land_table
    from meshhouse.runs.run import run_domain

    mesh = new_mesh()
    mesh.sell(1, 2, 3)
    repository = mesh.repository
    chosen, shop = engine(repository), repository.domain("shop")
    for raw in shop.raw_tables:
        land_table(repository, chosen.store, raw)
    done = run_domain(repository, chosen, shop)
    assert done.outcome == "published", done.message
    return Kept(mesh.root)


@pytest.fixture
def sold(sold_once: Kept) -> Mesh:
    """A small mesh that has published three sales of shop; tests may change it."""
    return Mesh(sold_once.restored())


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real Kafka broker, shared by all tests; each test creates separate topics."""
    from meshhouse.events.kafka.broker import Broker

    running = Broker(tmp_path_factory.mktemp("broker"))
    # Groups of tests may notice sooner than by default who left.
    running.start(port=0, properties={"group.min.session.timeout.ms": "1000"})
    yield running
    running.stop()


@pytest.fixture(scope="session")
def fakesnow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[snowflake_here.Snowflake]:
    """A server that imitates Snowflake; each test uses a separate database."""
    server, process = snowflake_here.start(tmp_path_factory.mktemp("fakesnow"))
    yield server
    process.kill()
    process.wait()


@pytest.fixture
def chosen(mesh: Mesh, fakesnow: snowflake_here.Snowflake, monkeypatch) -> Engine:
    """The engine of target `snowflake`, with a separate database."""
    from meshhouse.engines.snowflake.session import connect

    database = f"MESH_{uuid4().hex[:8].upper()}"
    for name, value in fakesnow.environment(database).items():
        monkeypatch.setenv(name, value)
    connect().execute(f"create database if not exists {database}")
    connect().execute(f"use database {database}")
    return engine(mesh.repository)


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The Spark session of this process, on two cores, with settings for small tables."""
    from meshhouse.engines.spark.session import session

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MESH_SPARK_MASTER", "local[2]")
        patch.setenv("MESH_SPARK_CONF", spark_here.QUICK)
        started = session(log=tmp_path_factory.mktemp("spark") / "spark.log")
    yield started
    started.stop()


@pytest.fixture(scope="session")
def store() -> Iterator[Any]:
    """An object store, shared by all tests; each test creates separate buckets."""
    from tests.support.object_store import running_store

    with running_store() as running:
        yield running


@pytest.fixture(scope="session")
def nessie(store: Any) -> Iterator[Any]:
    """A catalog service, shared by all tests; each test creates separate schemas."""
    from tests.support.nessie import running_nessie

    with running_nessie(store) as running:
        yield running
