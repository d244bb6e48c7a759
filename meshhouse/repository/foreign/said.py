"""What a source says about its tables, for the topic or the seed that a table becomes.

Belongs here: settings that dbt reads from a source and from its table, joined as dbt joins them.
Not here: what becomes of a table (sources.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_FRESHNESS = ("freshness", "loaded_at_field", "loaded_at_query")
_OF_SOURCE = {
    "name", "description", "tables", "schema", "database", "loader", "quoting", "config", "meta",
    "tags", "version", *_FRESHNESS,
}  # fmt: skip
_OF_TABLE = {
    "name", "description", "identifier", "columns", "tests", "data_tests", "loader", "quoting",
    "config", "meta", "tags", "docs", *_FRESHNESS,
}  # fmt: skip
_TESTS = ("data_tests", "tests")


def config_of(source: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, Any]:
    """The `config` of a table, with what its source says for all tables.

    Limits of `freshness` are joined, one by one; null switches them off. Tags are added up. Of
    anything else, the table's own comes first.
    """
    found: dict[str, Any] = {}
    tags: dict[str, None] = {}
    meta: dict[str, Any] = {}
    for entry in (source, table):
        config = _mapping(entry.get("config"))
        own = {key: entry[key] for key in (*_FRESHNESS, "meta", "tags") if key in entry}
        for place in (own, config):
            tags |= dict.fromkeys(_tags(place.get("tags")))
            meta |= _mapping(place.get("meta"))
            before = found.get("freshness")
            found |= {key: value for key, value in place.items() if key not in ("meta", "tags")}
            limits = place.get("freshness")
            if isinstance(before, Mapping) and isinstance(limits, Mapping):
                found["freshness"] = {**before, **limits}
    if tags:
        found["tags"] = list(tags)
    if meta:
        found["meta"] = meta
    return found


def is_watched(config: Mapping[str, Any]) -> bool:
    """Whether a table has a limit of freshness, or says when rows were loaded."""
    return any(config.get(key) for key in _FRESHNESS)


def not_kept(source: Mapping[str, Any]) -> Iterator[str]:
    """Settings of a source and its tables that have no meaning in a mesh, with their place."""
    name = source.get("name")
    for key in source:
        if key not in _OF_SOURCE:
            yield f"`{key}` of {name}"
    for table in source.get("tables") or []:
        for key in table if isinstance(table, dict) else ():
            if key not in _OF_TABLE:
                yield f"`{key}` of {name}.{table.get('name')}"


def merged(entry: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of a seed, with the description, columns and tests of another one added.

    Args:
        entry: what comes first where both say something.
        more: the other one.
    """
    new = {**more, **entry}
    tests = [key for each in (entry, more) for key in _TESTS if each.get(key)]
    joined: list[Any] = []
    for each in (entry, more):
        for key in _TESTS:
            new.pop(key, None)
            listed = each.get(key)
            joined += [one for one in (listed if isinstance(listed, list) else [])
                       if one not in joined]  # fmt: skip
    if tests:
        new[tests[0]] = joined
    columns: dict[str, dict[str, Any]] = {}
    for each in (entry, more):
        for column in each.get("columns") or []:
            if isinstance(column, dict):
                key = str(column.get("name")).lower()
                columns[key] = merged(columns[key], column) if key in columns else dict(column)
    if columns:
        new["columns"] = list(columns.values())
    if entry.get("config") and more.get("config"):
        new["config"] = {**_mapping(more["config"]), **_mapping(entry["config"])}
    return new


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _tags(value: Any) -> list[str]:
    if isinstance(value, list):
        return [str(each) for each in value]
    return [str(value)] if value else []
