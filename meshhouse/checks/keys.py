"""Which keys YAML files of a domain may have.

Belongs here: the keys of dbt's files that the mesh reads, of `config.meta`, and of checks
files, so that a misspelt key is found instead of ignored. Does not: what values mean.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from meshhouse.checks.finding import Finding
from meshhouse.repository.yaml import Located

_PROPERTIES = {"version", "models", "sources", "unit_tests", "groups", "exposures", "macros",
               "data_tests", "snapshots", "seeds", "analyses", "functions"}  # fmt: skip
_MODEL = {"name", "description", "config", "columns", "constraints", "data_tests", "versions",
          "latest_version", "deprecation_date", "docs", "access", "group"}  # fmt: skip
_VERSION = {"v", "defined_in", "description", "access", "config", "constraints", "docs", "tests",
            "data_tests", "columns", "deprecation_date"}  # fmt: skip
_COLUMN = {"name", "description", "data_type", "config", "constraints", "data_tests", "quote",
           "tags", "granularity", "meta"}  # fmt: skip
_SOURCE = {"name", "description", "schema", "database", "tables", "config", "loader", "quoting",
           "tags", "meta"}  # fmt: skip
_TABLE = {"name", "description", "columns", "config", "identifier", "data_tests", "loader",
          "quoting", "tags", "meta", "external"}  # fmt: skip
_TABLE_META = {
    "topic", "format", "pattern", "schema", "changelog", "max_rejected_percent", "dagster",
}  # fmt: skip
_PRODUCT_META = {"grain", "promises", "classification", "dagster", "every_run"}
_PROMISES = {"refreshed_within_hours", "keeps_rows_percent"}
_COLUMN_META = {"required", "classification"}
_CHECKS_FILE = {"columns", "checks", "filter", "variables", "description"}
_CHECKS_COLUMN = {"name", "checks", "optional"}
_COLUMN_CHECKS = {"missing", "invalid", "duplicate", "aggregate", "failed_rows", "metric"}
_CHECKS = {"schema", "row_count", "freshness", "duplicate", "failed_rows", "metric"}


def unknown_keys(path: Path, content: Located) -> Iterator[Finding]:
    """A finding for each key that means nothing where it stands."""
    if path.name.endswith(".checks.yml"):
        yield from _checks_file(path, content)
    elif path.name == "dependencies.yml":
        yield from _unknown(path, content, {"projects", "packages"}, "dependencies.yml")
        for project in _list(content, "projects"):
            yield from _unknown(path, project, {"name"}, "a project")
    else:
        yield from _properties_file(path, content)


def _properties_file(path: Path, content: Located) -> Iterator[Finding]:
    yield from _unknown(path, content, _PROPERTIES, "a dbt properties file")
    for model in _list(content, "models"):
        yield from _unknown(path, model, _MODEL, "a model")
        meta = _meta(model)
        yield from _unknown(path, meta, _PRODUCT_META, "config.meta of a model")
        yield from _unknown(path, _map(meta, "promises"), _PROMISES, "promises")
        yield from _columns(path, model)
        for version in _list(model, "versions"):
            yield from _unknown(path, version, _VERSION, "a version")
            yield from _unknown(path, _meta(version), _PRODUCT_META, "config.meta of a model")
    for source in _list(content, "sources"):
        yield from _unknown(path, source, _SOURCE, "a source")
        for table in _list(source, "tables"):
            yield from _unknown(path, table, _TABLE, "a source table")
            yield from _unknown(path, _meta(table), _TABLE_META, "config.meta of a source table")
            yield from _columns(path, table)


def _columns(path: Path, entry: Located) -> Iterator[Finding]:
    for column in _list(entry, "columns"):
        yield from _unknown(path, column, _COLUMN, "a column")
        yield from _unknown(path, _meta(column), _COLUMN_META, "config.meta of a column")


def _checks_file(path: Path, content: Located) -> Iterator[Finding]:
    yield from _unknown(path, content, _CHECKS_FILE, "a checks file")
    for column in _list(content, "columns"):
        yield from _unknown(path, column, _CHECKS_COLUMN, "a checked column")
        for each in _list(column, "checks"):
            yield from _unknown(path, each, _COLUMN_CHECKS, "the checks of a column")
    for each in _list(content, "checks"):
        yield from _unknown(path, each, _CHECKS, "the checks of a product")


def _unknown(
    path: Path, entry: Located | None, known: Collection[str], where: str
) -> Iterator[Finding]:
    for key in entry or ():
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            remedy = (
                f"Did you mean `{close[0]}`?" if close else f"Known: {', '.join(sorted(known))}."
            )
            yield Finding(path, entry.line_of(key), f"`{key}` means nothing in {where}.", remedy)


def _list(entry: Located, key: str) -> list[Located]:
    value: Any = entry.get(key)
    return [each for each in value if isinstance(each, Located)] if isinstance(value, list) else []


def _map(entry: Located | None, key: str) -> Located | None:
    value = (entry or {}).get(key)
    return value if isinstance(value, Located) else None


def _meta(entry: Located) -> Located | None:
    return _map(_map(entry, "config"), "meta")
