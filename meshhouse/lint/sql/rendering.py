"""A domain's SQL as dbt would send it to a target, without connecting to the target.

Belongs here: making dbt render for any target. Not here: judging the rendered SQL
(targets.py).

dbt-core renders with the macros of the target's adapter; `--no-introspect` prevents it from
opening a connection. One process can render for several targets, one after another.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import meshhouse.repository
from meshhouse import files
from meshhouse.dbt import DbtFailed, environment, invoke
from meshhouse.lint.sql.dialects import Dialect, contract_dialect, dialect_in_use
from meshhouse.lint.sql.fixed_clock import fixed_clock
from meshhouse.repository import Repository
from meshhouse.repository.project import project_fingerprint

_INCREMENTAL = "macro.dbt.is_incremental"
_IS_INCREMENTAL = (
    "{% macro is_incremental() %}"
    "{{ return(model.config.materialized == 'incremental') }}{% endmacro %}"
)
PLAIN_TESTS = frozenset({"unique", "not_null"})
"""Data tests that read one column and compare it with nothing."""
PLACE = re.compile(r"\(([\w./-]+\.(?:sql|yml))\)")
"""How dbt names the file of a model in a message."""
_OFFLINE = ("--no-introspect", "--no-populate-cache")
_IS_NEVER_INCREMENTAL = "{% macro is_incremental() %}{{ return(false) }}{% endmacro %}"


@dataclass(frozen=True)
class Rendered:
    """SQL of a model or test as dbt would send it to one target."""

    path: Path
    """The file that contains the template."""
    sql: str
    macros: Mapping[str, str]
    """Name -> text of every macro of the repository."""
    relation: str = ""
    """`schema.table` that the SQL builds, in lower case."""


def render(
    repository: Repository, domain: str, dialect: Dialect, left_out: Sequence[str] = ()
) -> list[Rendered]:
    """The SQL of a domain's models and singular tests, models before those that read them.

    Incremental models are rendered twice: for their first build and for later builds. What was
    rendered is noted: of the 17 s that a check of six domains for three targets takes, dbt takes
    15.

    Args:
        repository: where the domain is declared.
        domain: the domain's name.
        dialect: the dialect of the target to render for.
        left_out: files to skip, relative to the domain's folder.

    Raises:
        DbtFailed: a file does not render.
    """
    note = repository.home / "check" / dialect.target / domain / "rendered.json"
    digest = _digest(repository, domain, dialect, left_out)
    with suppress(TypeError, KeyError):  # a note of another version
        if (noted := _noted(note, digest)) is not None:
            return [Rendered(**{**each, "path": Path(each["path"])}) for each in noted]
    found = _rendered(repository, domain, dialect, left_out)
    _note(note, digest, [{**asdict(each), "path": str(each.path)} for each in found])
    return found


def _noted(note: Path, digest: str) -> list[dict[str, Any]] | None:
    """What was rendered before from the same files; None if they changed, or nothing was noted."""
    try:
        content = json.loads(note.read_text())
        return list(content["rendered"]) if content["digest"] == digest else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _note(note: Path, digest: str, rendered: Sequence[Mapping[str, Any]]) -> None:
    with suppress(OSError):  # the next time renders again
        note.parent.mkdir(parents=True, exist_ok=True)
        files.replace(note, json.dumps({"digest": digest, "rendered": rendered}))


def _digest(repository: Repository, domain: str, dialect: Dialect, left_out: Sequence[str]) -> str:
    """A digest of everything that rendering depends on, the code that injects nodes included."""
    with environment({"MESH_TARGET": dialect.target}):
        project = project_fingerprint(repository, repository.reading(domain))
    code = hashlib.sha256()
    folders = Path(__file__).parent, Path(meshhouse.repository.__file__).parent
    for path in sorted(path for folder in folders for path in folder.glob("*.py")):
        code.update(path.read_bytes())
    parts = [
        project, code.hexdigest(), str(repository.root), repository.environment, dialect.output,
        list(left_out),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()


def _rendered(
    repository: Repository, domain: str, dialect: Dialect, left_out: Sequence[str]
) -> list[Rendered]:
    rendered: dict[tuple[str, str], Rendered] = {}
    with _dbt(repository, domain, dialect) as dbt:
        manifest = dbt("parse")
        macros = {
            macro.name: macro.macro_sql
            for macro in manifest.macros.values()
            if macro.package_name == domain
        }
        ways = [(_IS_INCREMENTAL, ["resource_type:model", "test_type:singular"])]
        if any(node.config.materialized == "incremental" for node in manifest.nodes.values()):
            ways.append((_IS_NEVER_INCREMENTAL, ["config.materialized:incremental"]))
        for is_incremental, select in ways:
            # dbt's own macro would ask the target whether the table exists.
            manifest.macros[_INCREMENTAL].macro_sql = is_incremental
            arguments = [*_OFFLINE, "--select", *select]
            if left_out:
                arguments += ["--exclude", *(f"path:{path}" for path in left_out)]
            result = dbt("compile", *arguments, manifest=manifest)
            for each in getattr(result, "results", ()):
                if each.node.language != "sql":
                    continue
                # Without the ephemeral models that dbt injects: they are separate results.
                sql = each.node._pre_injected_sql or each.node.compiled_code or ""
                path = repository.folder(domain) / each.node.original_file_path
                relation = _relation(each.node)
                rendered[each.node.unique_id, sql] = Rendered(path, sql, macros, relation)
    return list(rendered.values())


@dataclass(frozen=True)
class FirstBuild:
    """SQL of a model, snapshot or test as a first build would run it, whatever is built already."""

    unique_id: str
    name: str
    version: int | None
    relation: str
    """`schema.table` that the SQL builds, in lower case."""
    sql: str
    materialized: str
    later_sql: str | None = None
    """As later builds run it, with the branches of `is_incremental()`; None if the model is not
    incremental."""


def first_builds(repository: Repository, domain: str) -> list[FirstBuild]:
    """The SQL of a domain's models, without the branches of `is_incremental()`, and with them.

    Snapshots and data tests are among them, except tests that are a plain `unique` or `not_null`.

    Contracts store this SQL, because it is the same before and after a table is built, on every
    target, and at any time: see `contract_dialect` and `fixed_clock`. What was rendered is noted,
    because dbt takes a second for it, which is a third of a run without changed code.

    Raises:
        DbtFailed: a model does not render.
    """
    dialect = contract_dialect()
    note = repository.workspace / "check" / dialect.target / domain / "first_builds.json"
    digest = _digest(repository, domain, dialect, ())
    with suppress(TypeError):  # a note of another version
        if (noted := _noted(note, digest)) is not None:
            return [FirstBuild(**each) for each in noted]
    found = _first_builds(repository, domain, dialect)
    if _digest(repository, domain, dialect, ()) == digest:  # no file was edited meanwhile
        _note(note, digest, [asdict(each) for each in found])
    return found


def _first_builds(repository: Repository, domain: str, dialect: Dialect) -> list[FirstBuild]:
    with _dbt(repository, domain, dialect) as dbt:
        if dialect is dialect_in_use():
            # Without changed files this parse takes 0.2 s, because it reads what the domain's last
            # parse noted. A parse for another profile or folder begins from nothing.
            manifest = invoke(repository, domain, ["parse", "--no-write-json"], {})
        else:
            manifest = dbt("parse")
        manifest.macros[_INCREMENTAL].macro_sql = _IS_NEVER_INCREMENTAL

        def compiled(*selected: str) -> list[FirstBuild]:
            select = ["--select", *selected, "--indirect-selection", "empty"]
            asking: list[str] = []
            while True:
                left_out = ["--exclude", *asking] if asking else []
                try:
                    result = dbt(
                        "compile", *_OFFLINE, *select, *left_out,
                        manifest=manifest, within=fixed_clock(),
                    )  # fmt: skip
                    return _built(result)
                except DbtFailed as error:
                    # Such a model counts as one in Python: what it reads and does is unknown.
                    place = asks_database(str(error))
                    if place is None or place in asking:
                        raise
                    asking.append(place)

        # Each call of dbt takes 0.1 s, so they are made only if there is something to compile.
        kinds = {node.resource_type for node in manifest.nodes.values()} & {"model", "snapshot"}
        first = compiled(*(f"resource_type:{each}" for each in sorted(kinds))) if kinds else []
        tests = [".".join(each.fqn) for each in manifest.nodes.values() if _is_telling(each)]
        if tests:
            with suppress(DbtFailed):  # then their lineage is unknown
                first += compiled(*tests)
        if not any(each.materialized == "incremental" for each in first):
            return first
        manifest.macros[_INCREMENTAL].macro_sql = _IS_INCREMENTAL
        later = {each.unique_id: each.sql for each in compiled("config.materialized:incremental")}
    return [replace(each, later_sql=later.get(each.unique_id)) for each in first]


def asks_database(message: str) -> str | None:
    """Dbt's selector of the model that could not be rendered because it queries the database.

    Args:
        message: dbt's.

    Returns:
        None if the message is about something else.
    """
    place = PLACE.search(message)
    asks = "connection never acquired" in message
    return f"path:{place[1]}" if asks and place is not None else None


def _is_telling(node: Any) -> bool:
    """Whether a node is a data test that compares a column with something, or has a filter."""
    if node.resource_type != "test":
        return False
    about = getattr(node, "test_metadata", None)
    is_plain = about is not None and not about.namespace and about.name in PLAIN_TESTS
    return not is_plain or bool(node.config.where)


def _built(result: Any) -> list[FirstBuild]:
    """The models of a call of `dbt compile`."""
    return [
        FirstBuild(
            unique_id=each.node.unique_id,
            name=each.node.name,
            version=getattr(each.node, "version", None),
            relation=_relation(each.node),
            sql=each.node._pre_injected_sql or each.node.compiled_code or "",
            materialized=each.node.config.materialized,
        )
        for each in getattr(result, "results", ())
        if each.node.language == "sql"
    ]


@contextmanager
def _dbt(repository: Repository, domain: str, dialect: Dialect) -> Iterator[Callable[..., Any]]:
    """A function that calls dbt for a domain and a target, offline."""
    with _options(repository, domain, dialect) as options:

        def dbt(command: str, *arguments: str, **options_of_call: Any) -> Any:
            # Macros may read the target from this variable.
            target = {"MESH_TARGET": dialect.target}
            arguments = (command, *arguments, "--no-write-json", *options)
            return invoke(repository, domain, arguments, target, **options_of_call)

        yield dbt


def _relation(node: Any) -> str:
    if node.config.materialized == "ephemeral":
        return f"__dbt__cte__{node.name}".lower()
    return f"{node.schema}.{node.alias}".lower()


@contextmanager
def _options(repository: Repository, domain: str, dialect: Dialect) -> Iterator[list[str]]:
    """Options that give dbt the dialect's profile and its own folder for artifacts."""
    target = dialect.target
    place = repository.workspace / "check" / target / domain
    with TemporaryDirectory(prefix="mesh-profiles-") as profiles, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the adapters' libraries about each other
        # JSON is valid YAML. If the file does not change, dbt parses only changed models.
        profile = {"meshhouse": {"target": target, "outputs": {target: dict(dialect.output)}}}
        Path(profiles, "profiles.yml").write_text(json.dumps(profile))
        yield [
            "--profiles-dir", profiles, "--profile", "meshhouse", "--target", target,
            "--target-path", str(place), "--threads", "1",
        ]  # fmt: skip
