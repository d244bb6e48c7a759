"""The sources of a dbt project: each table becomes a seed that is read, or a topic.

Belongs here: deciding which, and the declaration of the topics. Not here: edits of files
(edit.py, calls.py).

A table of which the project has a seed becomes a `ref` of that seed: the data are files of the
project, dbt's own state covers them, and nothing has to be landed. A topic made of the CSV would
be a second copy of the same rows, with its own offsets to look after. Every other table becomes
a topic, because events are the only way into a mesh.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from meshhouse.repository.foreign.calls import Source
from meshhouse.repository.foreign.project import ForeignProject
from meshhouse.repository.foreign.said import config_of, is_watched, merged, not_kept
from meshhouse.repository.foreign.settings import PLACES
from meshhouse.repository.foreign.types import mesh_type
from meshhouse.repository.names import bad_name

UNKNOWN = "string"


@dataclass
class SourcePlan:
    """What becomes of the sources."""

    calls: dict[Source, str] = field(default_factory=dict)
    """A call of `source` as it was -> the call that replaces it."""
    seeds: dict[str, list[str]] = field(default_factory=dict)
    """Source -> the seeds that its tables have become."""
    seed_entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Seed -> description, columns and tests that the source's table had."""
    topics: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Raw table -> its entry in models/topics.yml."""
    untyped: dict[str, list[str]] = field(default_factory=dict)
    """Raw table -> its columns whose type nothing says."""
    described: dict[str, str] = field(default_factory=dict)
    """Source -> its description."""
    unwatched: list[str] = field(default_factory=list)
    """Seeds whose source had a limit of freshness."""
    not_kept: list[str] = field(default_factory=list)
    """Settings of sources that were left out, with their place."""
    capitals: dict[str, list[str]] = field(default_factory=dict)
    """Raw table -> its declared columns with capitals."""
    decisions: list[str] = field(default_factory=list)


def plan_sources(
    project: ForeignProject,
    domain: str,
    declared: Sequence[Mapping[str, Any]],
    columns_read: Mapping[Source, Iterable[str]],
) -> SourcePlan:
    """Decides about each table of each source.

    Args:
        project: as it was found.
        domain: the domain's name.
        declared: the entries of `sources` of all YAML files.
        columns_read: the columns that models read of a table, for tables that declare none.
    """
    plan, seeds = SourcePlan(), project.seeds()
    for source in declared:
        for table in source.get("tables") or []:
            if isinstance(table, dict) and not _is_disabled(source, table):
                name = str(table.get("name"))
                key = (str(source.get("name")), name)
                seed = seeds.get(str(table.get("identifier") or name).lower())
                if seed is not None:
                    _read_seed(plan, key, seed, source, table)
                else:
                    read = columns_read.get(key, ())
                    _topic(plan, project, domain, key, source, table, read)
        if source.get("description"):
            plan.described[str(source.get("name"))] = str(source["description"])
        plan.not_kept += not_kept(source)
    plan.decisions += _about_topics(plan)
    plan.decisions += _about_settings(plan)
    return plan


def _about_topics(plan: SourcePlan) -> Iterator[str]:
    if plan.topics:
        yield (
            "The topics are empty. `mesh topic produce` sends rows from JSON lines, CSV or Parquet "
            "files. Which system will send events?"
        )
    if plan.untyped:
        tables = "; ".join(f"{name}: {_some(columns)}" for name, columns in plan.untyped.items())
        yield (
            f"Nothing says the types of these columns, so they are `{UNKNOWN}`. Correct them in "
            f"models/topics.yml, or import again with a target/catalog.json of `dbt docs "
            f"generate`. {tables}."
        )


def _about_settings(plan: SourcePlan) -> Iterator[str]:
    if plan.capitals:
        tables = "; ".join(f"{name}: {_some(columns)}" for name, columns in plan.capitals.items())
        yield (
            f"These columns have capitals, and a name in an event must match exactly: {tables}. Do "
            "events have these names? Correct them in models/topics.yml."
        )
    if plan.unwatched:
        yield (
            f"The freshness of the sources of {_some(plan.unwatched)} was left out: these are "
            "seeds now, whose rows change only with their files."
        )
    if plan.not_kept:
        listed = ", ".join(plan.not_kept)
        yield f"Settings of sources that a topic does not have were left out: {listed}."


def _read_seed(
    plan: SourcePlan, key: Source, seed: str, source: Mapping[str, Any], table: Mapping[str, Any]
) -> None:
    plan.calls[key] = f"ref('{seed}')"
    plan.seeds.setdefault(key[0], []).append(seed)
    kept = ("description", "columns", "tests", "data_tests", "docs")
    entry: dict[str, Any] = {"name": seed}
    entry |= {name: table[name] for name in kept if table.get(name)}
    config = config_of(source, table)
    if is_watched(config):
        plan.unwatched.append(seed)
    said = {name: config[name] for name in ("meta", "tags") if config.get(name)}
    if said:
        entry["config"] = said
    if len(entry) > 1:
        plan.seed_entries[seed] = merged(plan.seed_entries.get(seed, {}), entry)


def _topic(
    plan: SourcePlan,
    project: ForeignProject,
    domain: str,
    key: Source,
    source: Mapping[str, Any],
    table: Mapping[str, Any],
    read: Iterable[str],
) -> None:
    name = re.sub(r"\W+", "_", key[1]).lower()
    if name in plan.topics:
        name = f"{re.sub(r'[^a-z0-9]+', '_', key[0].lower())}_{name}"
    if bad_name("raw table", name):
        name = f"t_{name}".rstrip("_")
    raw = f"{domain}_raw"
    plan.calls[key] = f"source('{raw}', '{name}')"
    entry: dict[str, Any] = {"name": name}
    if table.get("description"):
        entry["description"] = table["description"]
    for kept in ("docs", "tests", "data_tests"):
        if kept in table:
            entry[kept] = table[kept]
    config = config_of(source, table)
    if config.pop("enabled", True) is not True:
        plan.not_kept.append(f"`enabled` of {key[0]}.{key[1]}")
    meta = {**config.get("meta", {}), "topic": f"{domain}.{name}", "format": "json"}
    entry["config"] = {
        **{each: value for each, value in config.items() if each not in PLACES}, "meta": meta,
    }  # fmt: skip
    entry["columns"], unknown = _columns(project, key, table, read)
    plan.topics[name] = entry
    if not entry["columns"]:
        entry["columns"] = [{"name": "id", "data_type": UNKNOWN}]
        plan.decisions.append(
            f"source('{key[0]}', '{key[1]}') became the topic `{domain}.{name}`, but nothing says "
            "which columns it has. List them in models/topics.yml."
        )
    elif unknown:
        plan.untyped[name] = unknown
    declared = [str(each.get("name")) for each in _declared(table)]
    if capitals := [each for each in declared if each != each.lower()]:
        plan.capitals[name] = capitals


def _columns(
    project: ForeignProject, key: Source, table: Mapping[str, Any], read: Iterable[str]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Columns of a topic, and the names of those whose type is not known."""
    found: dict[str, dict[str, Any]] = {}
    for column in _declared(table):
        found[str(column["name"]).lower()] = dict(column)
    reported = {name.lower(): kind for name, kind in project.catalogue.get(key, {}).items()}
    for name in [*reported, *(str(each).lower() for each in read)]:
        found.setdefault(name, {"name": name})
    columns, unknown = [], []
    for name, column in found.items():
        kind = mesh_type(str(column.get("data_type") or reported.get(name) or ""), project.adapter)
        if kind is None:
            unknown.append(str(column["name"]))
        columns.append({**column, "data_type": kind or UNKNOWN})
    return columns, unknown


def _declared(table: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    columns = table.get("columns")
    return [
        each
        for each in (columns if isinstance(columns, list) else [])
        if isinstance(each, dict) and each.get("name")
    ]


def topics_file(domain: str, plan: SourcePlan) -> dict[str, Any]:
    """The content of models/topics.yml."""
    raw = f"{domain}_raw"
    source: dict[str, Any] = {"name": raw, "schema": raw}
    if plan.described:
        said = (f"{name}: {text.strip()}" for name, text in plan.described.items())
        source["description"] = "\n".join(said)
    return {"sources": [{**source, "tables": list(plan.topics.values())}]}


def _is_disabled(*entries: Mapping[str, Any]) -> bool:
    return any(_config(each).get("enabled", True) is False for each in entries)


def _config(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    config = entry.get("config")
    return config if isinstance(config, dict) else {}


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(f"`{each}`" for each in names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
