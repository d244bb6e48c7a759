"""dbt in this process: parse a domain, build a domain.

Belongs here: calling dbt, and what is kept of a call. Not here: dbt's events and results as plain
objects (watch.py), choosing the models to build (runs/), or reading manifests
(repository/manifest.py).

A `dbt` process takes seconds to start, so all domains of a run share one process. dbt keeps
global state and is not thread-safe, so a lock allows one call at a time.
"""

from __future__ import annotations

import filecmp
import json
import logging
import os
import re
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from meshhouse.dbt.watch import UNWATCHED, NodeResult, Watch, node_result, pass_on
from meshhouse.deadline import Limit, TooLong, time_limit
from meshhouse.engines import dbt_variables
from meshhouse.engines.failures import plain
from meshhouse.engines.iceberg import PINS_VARIABLE
from meshhouse.errors import MeshError, UsageError
from meshhouse.repository import Repository, display_path, printable
from meshhouse.repository.manifest_file import manifest_path, target_folder

_LOCK = threading.Lock()
_PARSED = "partial_parse.msgpack"
_QUIET_ENVIRONMENT = {
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    "DBT_VERSION_CHECK": "false",
    # The package of that parser is not installed, but a project's flag could switch it on.
    "DBT_ENGINE_USE_V2_PARSER": "false",
    "DBT_USE_COLORS": "false",
}
_NAMES_OF_PARTS = """
    EMPTY SAMPLE EVENT_TIME_START EVENT_TIME_END
    RESOURCE_TYPES EXCLUDE_RESOURCE_TYPES INDIRECT_SELECTION
    DEFER DEFER_TO_STATE FAVOR_STATE FAVOR_STATE_MODE TARGET PROFILE"""
_PARTS_ONLY = tuple(
    f"DBT_{infix}{name}" for infix in ("", "ENGINE_") for name in _NAMES_OF_PARTS.split()
)
"""Variables that make dbt build only some rows, skip tests, or build elsewhere. They are removed
for each call: set in a user's shell, they would change what is published."""


@dataclass(frozen=True)
class BuildResult:
    """The result of one `dbt build`."""

    nodes: tuple[NodeResult, ...]

    @property
    def failed(self) -> tuple[NodeResult, ...]:
        """The failed nodes, without those that were skipped because of them."""
        return tuple(node for node in self.nodes if node.has_failed)


class DbtFailed(MeshError):
    """dbt failed before it ran a node; the message is dbt's own."""


def parse(repository: Repository, domain: str) -> None:
    """Writes a fresh manifest of a domain to its target folder.

    Raises:
        DbtFailed: the project does not parse; the message begins with file and line.
    """
    # dbt 1.12's partial parsing keeps stale nodes, for instance a unit test that was removed
    # while its model got versions. A later build reuses the result of this full parse.
    try:
        invoke(repository, domain, ["parse", "--no-partial-parse"], {})
    except DbtFailed as error:
        text = str(error).removeprefix(f"{domain}: ")
        located = located_message(repository.folder(domain), text)
        raise DbtFailed(f"{domain}: {located}") from error


def keep_parsed_macros() -> None:
    """Lets dbt read each macro once in this process, for processes that only parse projects.

    dbt reads the macros of its packages again for each project: 0.4 of the 0.66 CPU s of a project
    with ten models. The switch belongs to dbt's own tests, which parse many projects as well. What
    it keeps are syntax trees and blocks, by the text that they were read from.
    """
    from dbt_common.tests import enable_test_caching  # loaded where dbt is used, as above

    enable_test_caching()


def build(
    repository: Repository,
    domain: str,
    select: Sequence[str],
    exclude: Sequence[str] = (),
    pins: Mapping[str, str] | None = None,
    full_refresh: bool = False,
    unit_tests: bool = True,
    watch: Watch = UNWATCHED,
    logs: Path | None = None,
) -> BuildResult:
    """Runs `dbt build` in a domain.

    Args:
        repository: where the domain is declared.
        domain: the domain's name.
        select: dbt selectors; empty selects everything.
        exclude: dbt selectors of nodes to leave out.
        pins: relation -> metadata location of everything the domain reads.
        full_refresh: rebuild all rows of incremental models.
        unit_tests: also run dbt's unit tests.
        watch: learns what dbt does while it works.
        logs: the folder that keeps dbt's log and artifacts; None to keep none.

    Raises:
        DbtFailed: dbt could not start, for instance because SQL does not compile.
    """
    # A project's flag `indirect_selection` could leave tests out; the option overrides it.
    arguments = ["build", "--indirect-selection", "eager"]
    if select:
        arguments += ["--select", *select]
    if exclude:
        arguments += ["--exclude", *exclude]
    if full_refresh:
        arguments.append("--full-refresh")
    if not unit_tests:
        arguments += ["--exclude-resource-type", "unit_test"]
    return _run(repository, domain, arguments, pins, watch, logs)


def run_tests(
    repository: Repository,
    domain: str,
    select: Sequence[str],
    pins: Mapping[str, str] | None = None,
    watch: Watch = UNWATCHED,
    logs: Path | None = None,
) -> BuildResult:
    """Runs `dbt test` of some data tests and unit tests of a domain; builds nothing.

    Args:
        repository: where the domain is declared.
        domain: the domain's name.
        select: dbt selectors of tests.
        pins: see `build`.
        watch: see `build`.
        logs: see `build`.

    Raises:
        DbtFailed: dbt could not start.
    """
    # Of a test that reads two models, `eager` also selects it by one of them; here it is named.
    arguments = ["test", "--indirect-selection", "empty", "--select", *select]
    return _run(repository, domain, arguments, pins, watch, logs)


def _run(
    repository: Repository,
    domain: str,
    arguments: Sequence[str],
    pins: Mapping[str, str] | None,
    watch: Watch,
    logs: Path | None,
) -> BuildResult:
    # The parse has written the artifacts; dbt would write the same manifest twice more.
    command = [arguments[0], "--no-write-json", *arguments[1:]]
    with _pins_file(pins) as variables:
        result = invoke(repository, domain, command, variables, watch, logs=logs)
    if logs is not None and hasattr(result, "write"):
        result.write(str(logs / "run_results.json"))
        _keep_manifest(manifest_path(repository, domain), logs / "manifest.json")
    return BuildResult(tuple(node_result(each) for each in getattr(result, "results", ())))


def _runner_class() -> Any:
    """The runner of dbt, without the handler that its telemetry gives to the root logger.

    It would print every warning of other libraries, such as Kafka's while a broker is away.
    """
    handlers = list(logging.root.handlers)
    from dbt.cli.main import dbtRunner
    from dbt_common import behavior_flags

    logging.root.handlers[:] = handlers
    # For each flag of an adapter, dbt looks up the module that declares it, for a log message. The
    # lookup reads the source of every function on the stack: 0.2 s of CPU in a process's first
    # call, 0.1 s in each later one.
    if rendered := getattr(behavior_flags, "BehaviorFlagRendered", None):
        rendered._default_source = staticmethod(lambda: "dbt")
    return dbtRunner


def _keep_manifest(manifest: Path, kept: Path) -> None:
    """Keeps a run's manifest, as one file for all runs with the same: it has 0.6 MB and more."""
    others = [each for each in kept.parent.parent.glob(f"*/{kept.name}") if each != kept]
    newest = max(others, key=lambda each: each.stat().st_mtime_ns, default=None)
    kept.unlink(missing_ok=True)  # it may be a file that other runs share
    if newest is not None and filecmp.cmp(manifest, newest, shallow=False):
        with suppress(OSError):  # a volume without hard links
            os.link(newest, kept)
            return
    shutil.copyfile(manifest, kept)


@contextmanager
def _pins_file(pins: Mapping[str, str] | None) -> Iterator[dict[str, str]]:
    if pins is None:
        yield {}
        return
    with NamedTemporaryFile("w", suffix=".json", prefix="mesh-pins-") as file:
        json.dump(dict(pins), file)
        file.flush()
        yield {PINS_VARIABLE: file.name}


def invoke(
    repository: Repository,
    domain: str,
    arguments: Sequence[str],
    variables: Mapping[str, str],
    watch: Watch = UNWATCHED,
    manifest: Any = None,
    within: AbstractContextManager[Any] | None = None,
    logs: Path | None = None,
) -> Any:
    """Calls dbt in a domain, and returns dbt's result.

    Args:
        repository: where the domain is declared.
        domain: the domain's name.
        arguments: a dbt command and its options, which override the default options.
        variables: environment variables for the call.
        watch: learns what dbt does while it works.
        manifest: the manifest to use instead of parsing the domain.
        within: entered for the call, while no other call can run.
        logs: the folder for dbt's log; None to keep none.

    Raises:
        DbtFailed: dbt failed; the message is dbt's own.
    """
    command, *more = arguments
    folder = repository.folder(domain)
    options = ["--project-dir", str(folder), "--profiles-dir", str(repository.root / "profiles")]
    options += ["--log-path", str(logs or repository.workspace / "logs" / domain)]
    options += ["--log-level", "none", "--log-level-file", "debug" if logs else "none"]
    if command != "deps":  # it writes no artifacts
        options += ["--target-path", str(artifacts(repository, domain))]
    with (
        _LOCK,
        _without(_PARTS_ONLY),
        environment({**_QUIET_ENVIRONMENT, **_mesh_variables(repository, domain), **variables}),
        within or nullcontext(),
    ):
        runner = _runner_class()(manifest=manifest, callbacks=[lambda event: pass_on(event, watch)])
        try:
            # dbt runs Jinja while it parses, and an endless loop must not block the mesh.
            with time_limit(parse_seconds()) if command == "parse" else nullcontext() as limit:
                # If an option is given twice, dbt uses the last one.
                outcome = runner.invoke(["--quiet", command, *options, *more])
        except TooLong:
            pass
        finally:
            close_connections()
        if limit is not None and limit.is_over:
            raise DbtFailed(f"{domain}: {_too_long(limit)}")
    if outcome.exception is not None and not isinstance(outcome.exception, Exception):
        raise outcome.exception  # Ctrl-C, or the exception by which Dagster passes it on
    if outcome.exception is not None:
        raise DbtFailed(f"{domain}: {plain(_plain(outcome.exception))}") from outcome.exception
    return outcome.result


def artifacts(repository: Repository, domain: str) -> Path:
    """Where dbt writes: the target folder, or one beside the builds if the checkout is read-only.

    The second one begins with what `mesh prepare` wrote, so that dbt parses nothing again.
    """
    prepared = target_folder(repository, domain)
    if not prepared.exists() or os.access(prepared, os.W_OK):
        return prepared
    own = repository.workspace / "target" / domain
    own.mkdir(parents=True, exist_ok=True)
    before, copy = prepared / _PARSED, own / _PARSED
    if before.exists() and (not copy.exists() or copy.stat().st_mtime < before.stat().st_mtime):
        shutil.copy2(before, copy)
    return own


def _mesh_variables(repository: Repository, domain: str) -> dict[str, str]:
    own = {"MESH_ROOT": str(repository.root), "MESH_HOME": str(repository.home)}
    return {**own, **dbt_variables(domain)}


@contextmanager
def _without(names: Sequence[str]) -> Iterator[None]:
    """Removes environment variables, and restores them afterwards."""
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(before)


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Sets environment variables, and restores them and the working directory afterwards.

    dbt changes the working directory.
    """
    before = {name: os.environ.get(name) for name in variables}
    folder = Path.cwd()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.chdir(folder)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def close_connections() -> None:
    """Closes the database files that dbt would keep open until the process ends."""
    from dbt.adapters.factory import FACTORY

    for adapter in FACTORY.adapters.values():
        close = getattr(type(adapter.connections), "close_all_connections", None)
        if close is not None:
            close()


PARSE_SECONDS = 120.0
"""Default time limit for parsing a domain; one with 1,000 models takes about 30 s."""


def parse_seconds() -> float:
    """Time limit for parsing a domain: `MESH_PARSE_SECONDS`, or `PARSE_SECONDS`.

    Raises:
        UsageError: the setting is not a positive number.
    """
    text = os.environ.get("MESH_PARSE_SECONDS") or str(PARSE_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1_000_000:
        raise UsageError(f"MESH_PARSE_SECONDS is `{printable(text)}`; give a number of seconds.")
    return seconds


def _too_long(limit: Limit) -> str:
    """The message for a parse that took too long, with the file that dbt was parsing."""
    found = (
        getattr(value, "original_file_path", None)
        for frame in limit.frames
        for value in list(frame.f_locals.values())
    )
    path = next((each for each in found if isinstance(each, str)), None)
    place = f" ({path})" if path else ""
    return (
        f"dbt parsed it for {parse_seconds():g} s and did not finish{place}; its Jinja may loop. "
        "Shorten the loop, or raise the limit with MESH_PARSE_SECONDS."
    )


_FILE = re.compile(r"[\w./-]+\.(?:sql|ya?ml|py|csv|md)\b")
_FILE_PATH = re.compile(r"FilePath\(searched_path='models', relative_path='([^']*)'[^)]*\)")
_PLACED = re.compile(r"[\w./-]+\.(?:sql|ya?ml):\d+")
_LINE = re.compile(r"\bline (\d+)\b")
_NODE = re.compile(r"\b(?:model|test|unit_test|snapshot|seed)\.\w+\.(\w+)")
_HEADING = re.compile(r"^(?:\w+ Error(?: in \S+ \S+ \(\S+\))?\s*)+")


def located_message(folder: Path, text: str) -> str:
    """Dbt's message with the file and line that it names in front.

    Args:
        folder: the dbt project.
        text: dbt's message.
    """
    text = printable(text)
    if _PLACED.search(text):
        return text  # the message already has a place, such as those of the mesh
    path = folder / "dbt_project.yml"
    text = _FILE_PATH.sub(r"models/\1", text)
    named = [folder / each for each in _FILE.findall(text)]
    stems = _NODE.findall(text)
    by_name = [each for stem in stems for each in folder.glob(f"models/**/{stem}.*")]
    for candidate in [*named, *sorted(by_name, reverse=True)]:
        if candidate.is_file():
            path = candidate
            break
    line = _LINE.search(text)
    # The heading is `Compilation Error in model orders (models/orders.sql)`.
    said = _HEADING.sub("", text) or text
    return f"{display_path(path)}:{line[1] if line else 1}: {said}"


def _plain(error: BaseException) -> str:
    """Dbt's message without its headings."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    headings = ("Runtime Error", "Compilation Error", "Parsing Error", "Database Error")
    lines = [line for line in lines if line not in headings]
    return " ".join(lines).removeprefix("get_nodes: ") or type(error).__name__
