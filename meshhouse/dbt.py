"""dbt in this process: parse a domain, build a domain.

Belongs here: how dbt is called and what comes back, without Dagster. Does not: which
models to build and what follows (runs.py), or reading manifests (repository/manifest.py).

One `dbt` command costs seconds before it does anything, so all domains of a run share
one process. dbt keeps state in the process and is not thread-safe: one call at a time.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from meshhouse.deadline import Limit, TooLong, time_limit
from meshhouse.engines import dbt_variables
from meshhouse.engines.failures import plain
from meshhouse.engines.iceberg import PINS_VARIABLE
from meshhouse.errors import MeshError, UsageError
from meshhouse.repository import Repository, display_path, printable
from meshhouse.repository.manifest import target_folder

OnLine = Callable[[str, str], None]
"""Called with level (`debug`, `info`, `warn`, `error`) and text of each line dbt logs."""

_LOCK = threading.Lock()
_QUIET_ENVIRONMENT = {
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    "DBT_VERSION_CHECK": "false",
    # Its package is not installed (pyproject.toml); a project could ask for it with a flag.
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
"""Variables that make dbt build tables without rows, or of some rows, or elsewhere, or leave
tests out: left from somebody's session, they would decide what is published."""


@dataclass(frozen=True)
class NodeResult:
    """What became of one model or test."""

    unique_id: str
    resource_type: str
    name: str
    status: str
    """dbt's word: success, pass, warn, fail, error, skipped."""
    message: str
    seconds: float
    failures: int | None
    rows: int | None
    compiled_sql: str | None

    @property
    def has_failed(self) -> bool:
        """Whether it failed itself, rather than being skipped because of another."""
        return self.status not in ("success", "pass", "warn", "no-op", "skipped")


@dataclass(frozen=True)
class BuildResult:
    """What one `dbt build` did."""

    nodes: tuple[NodeResult, ...]

    @property
    def failed(self) -> tuple[NodeResult, ...]:
        """Nodes that failed themselves; what was skipped because of them is not listed."""
        return tuple(node for node in self.nodes if node.has_failed)


class DbtFailed(MeshError):
    """dbt could not even start: the message is dbt's own."""


def parse(repository: Repository, domain: str) -> None:
    """Writes a fresh manifest of a domain to its target folder.

    Raises:
        DbtFailed: the project does not parse; the message begins with file and line.
    """
    # dbt 1.12 keeps, for instance, a unit test that was taken out of a file while its model got
    # versions. A build after this reads what is parsed here.
    try:
        invoke(repository, domain, ["parse", "--no-partial-parse"], {}, None)
    except DbtFailed as error:
        text = str(error).removeprefix(f"{domain}: ")
        located = located_message(repository.folder(domain), text)
        raise DbtFailed(f"{domain}: {located}") from error


def build(
    repository: Repository,
    domain: str,
    select: Sequence[str],
    exclude: Sequence[str] = (),
    pins: Mapping[str, str] | None = None,
    full_refresh: bool = False,
    unit_tests: bool = True,
    on_line: OnLine | None = None,
) -> BuildResult:
    """Runs `dbt build` in a domain.

    Args:
        repository: where the domain is declared.
        domain: its name.
        select: dbt selectors; empty selects everything.
        exclude: selectors of what is not built or tested all the same.
        pins: relation -> metadata file of everything the domain reads.
        full_refresh: rebuild incremental models from nothing.
        unit_tests: also run dbt's unit tests.
        on_line: receives what dbt logs.

    Raises:
        DbtFailed: dbt could not start, for instance because SQL does not compile.
    """
    # Its artefacts are those of the parse; a build would write the same manifest twice more.
    # A project's flag `indirect_selection` would leave tests out; an option comes before it.
    arguments = ["build", "--no-write-json", "--indirect-selection", "eager"]
    if select:
        arguments += ["--select", *select]
    if exclude:
        arguments += ["--exclude", *exclude]
    if full_refresh:
        arguments.append("--full-refresh")
    if not unit_tests:
        arguments += ["--exclude-resource-type", "unit_test"]
    with _pins_file(pins) as variables:
        result = invoke(repository, domain, arguments, variables, on_line)
    return BuildResult(tuple(_node_result(each) for each in getattr(result, "results", ())))


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
    on_line: OnLine | None = None,
    manifest: Any = None,
) -> Any:
    """Calls dbt in a domain, and returns what dbt returns.

    Args:
        repository: where the domain is declared.
        domain: its name.
        arguments: a command of dbt's and its options, which count before ours.
        variables: set in the environment meanwhile.
        on_line: receives what dbt logs.
        manifest: what dbt works on, instead of parsing the domain.

    Raises:
        DbtFailed: dbt could not do it; the message is dbt's own.
    """
    from dbt.cli.main import dbtRunner

    def on_event(event: Any) -> None:
        if on_line is not None and event.info.msg:
            on_line(event.info.level, event.info.msg)

    command, *more = arguments
    folder = repository.folder(domain)
    options = ["--project-dir", str(folder), "--profiles-dir", str(repository.root / "profiles")]
    options += ["--log-path", str(repository.workspace / "logs" / domain), "--log-level", "none"]
    options += ["--target-path", str(target_folder(repository, domain))]
    with (
        _LOCK,
        _without(_PARTS_ONLY),
        environment({**_QUIET_ENVIRONMENT, **_mesh_variables(repository, domain), **variables}),
    ):
        runner = dbtRunner(manifest=manifest, callbacks=[on_event])
        try:
            # Jinja runs while dbt parses: a loop without end must not stop the mesh.
            with time_limit(parse_seconds()) if command == "parse" else nullcontext() as limit:
                # Of an option that is given twice, dbt takes the last.
                outcome = runner.invoke(["--quiet", command, *options, *more])
        except TooLong:
            pass
        finally:
            close_connections()
        if limit is not None and limit.is_over:
            raise DbtFailed(f"{domain}: {_too_long(limit)}")
    if outcome.exception is not None and not isinstance(outcome.exception, Exception):
        raise outcome.exception  # Ctrl-C, or how the orchestrator passes it on
    if outcome.exception is not None:
        raise DbtFailed(f"{domain}: {plain(_plain(outcome.exception))}") from outcome.exception
    return outcome.result


def _mesh_variables(repository: Repository, domain: str) -> dict[str, str]:
    own = {"MESH_ROOT": str(repository.root), "MESH_HOME": str(repository.home)}
    return {**own, **dbt_variables(domain)}


@contextmanager
def _without(names: Sequence[str]) -> Iterator[None]:
    """Takes variables out of the environment meanwhile."""
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(before)


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Sets environment variables and the working directory back afterwards: dbt moves both."""
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
    """Gives up the database files that dbt holds for as long as the process lives."""
    from dbt.adapters.factory import FACTORY

    for adapter in FACTORY.adapters.values():
        close = getattr(type(adapter.connections), "close_all_connections", None)
        if close is not None:
            close()


PARSE_SECONDS = 120.0
"""How long dbt may parse a domain; one of 1,000 models takes some 30 s."""


def parse_seconds() -> float:
    """How long dbt may parse a domain: `MESH_PARSE_SECONDS`, or `PARSE_SECONDS`.

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
    """What dbt was at when its time was over."""
    found = (
        getattr(value, "original_file_path", None)
        for frame in limit.frames
        for value in list(frame.f_locals.values())
    )
    path = next((each for each in found if isinstance(each, str)), None)
    place = f" ({path})" if path else ""
    return (
        f"dbt parsed it for {parse_seconds():g} s and did not finish{place}; its Jinja may loop. "
        "Shorten the loop, or give more time with MESH_PARSE_SECONDS."
    )


_FILE = re.compile(r"[\w./-]+\.(?:sql|ya?ml|py|csv|md)\b")
_FILE_PATH = re.compile(r"FilePath\(searched_path='models', relative_path='([^']*)'[^)]*\)")
_PLACED = re.compile(r"[\w./-]+\.(?:sql|ya?ml):\d+")
_LINE = re.compile(r"\bline (\d+)\b")
_NODE = re.compile(r"\b(?:model|test|unit_test|snapshot|seed)\.\w+\.(\w+)")
_HEADING = re.compile(r"^(?:\w+ Error(?: in \S+ \S+ \(\S+\))?\s*)+")


def located_message(folder: Path, text: str) -> str:
    """Dbt's message with file and line in front, as far as it names them.

    Args:
        folder: the dbt project.
        text: what dbt said.
    """
    text = printable(text)
    if _PLACED.search(text):
        return text  # it is an explanation of ours
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


_TRACE = re.compile(r" > in macro | at [\w.$/<>]+\([\w.$ ]+(:\d+)?\)")
"""Where the stack of dbt's own macros begins, or that of a server in Java."""


def _without_trace(message: str) -> str:
    """Dbt's message in one line, without anybody's stack."""
    return _TRACE.split(" ".join(message.split()), maxsplit=1)[0]


def _node_result(result: Any) -> NodeResult:
    node = result.node
    response = result.adapter_response or {}
    rows = response.get("rows_affected")
    return NodeResult(
        unique_id=node.unique_id,
        resource_type=str(node.resource_type),
        name=node.name,
        status=str(result.status),
        message=plain(_without_trace(str(result.message or ""))),
        seconds=float(result.execution_time),
        failures=result.failures,
        rows=int(rows) if isinstance(rows, int) and rows >= 0 else None,
        compiled_sql=getattr(node, "compiled_code", None),
    )
