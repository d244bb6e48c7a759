"""What dbt says about the models of a project that was built once.

Belongs here: reading the manifest of that build. Not here: which models become products
(products.py), or building (runs/import_project.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshhouse.repository.foreign.project import mapping_of


@dataclass(frozen=True)
class BuiltModel:
    """A model of the project itself."""

    name: str
    path: str
    """Its SQL, relative to the project."""
    declared_in: str | None
    """Its YAML, relative to the project."""
    relation: str
    """The name of the table or view that dbt built."""
    materialized: str
    language: str
    group: str | None
    is_private: bool
    """Whether the project says that only its group may read it."""
    is_versioned: bool
    is_time_spine: bool
    on_schema_change: str
    types: Mapping[str, str]
    """Column in lower case -> the type that its YAML declares."""
    keys: tuple[tuple[str, ...], ...]
    """Columns that tests, constraints or the semantic layer call a key, the best evidence first."""
    not_null: frozenset[str]
    """Columns, in lower case, that a test or constraint keeps from being null."""
    is_read: bool
    """Whether another model reads it."""
    is_exposed: bool
    """Whether an exposure or a semantic model reads it."""


def built_models(manifest: Path, domain: str) -> list[BuiltModel]:
    """The models of a domain in a manifest, in the order of their names."""
    content = mapping_of(manifest)
    nodes = content.get("nodes", {})
    own = {
        identifier: node
        for identifier, node in nodes.items()
        if node["resource_type"] == "model" and node["package_name"] == domain
    }
    tests = [node for node in nodes.values() if node["resource_type"] == "test"]
    read = {
        parent
        for node in nodes.values()
        if node["resource_type"] in ("model", "snapshot")
        for parent in node["depends_on"]["nodes"]
    }
    exposed = {
        parent
        for kind in ("exposures", "semantic_models")
        for node in content.get(kind, {}).values()
        for parent in node["depends_on"]["nodes"]
    }
    return sorted(
        (
            _model(
                identifier,
                node,
                [each for each in tests if each.get("attached_node") == identifier],
                list(_entities(content, identifier)),
                identifier in read,
                identifier in exposed,
            )
            for identifier, node in own.items()
        ),
        key=lambda each: each.name,
    )


def _model(
    identifier: str,
    node: Mapping[str, Any],
    tests: list[Mapping[str, Any]],
    entities: list[str],
    is_read: bool,
    is_exposed: bool,
) -> BuiltModel:
    config = node["config"]
    patch = node.get("patch_path")
    unique, not_null = _tested(tests, "unique"), set(_tested(tests, "not_null"))
    constrained = list(_constrained(node, "primary_key"))
    not_null |= {each for columns in _constrained(node, "not_null") for each in columns}
    not_null |= {each for columns in constrained for each in columns}
    combined = [
        tuple(str(each).lower() for each in _arguments(test).get("combination_of_columns") or ())
        for test in tests
        if _metadata(test).get("name") == "unique_combination_of_columns" and _is_strict(test)
    ]
    keys = [
        *constrained,
        *((each,) for each in unique if each in not_null),
        *(each for each in combined if each),
        *((each,) for each in entities),
        *((each,) for each in unique),
    ]
    return BuiltModel(
        name=node["name"],
        path=node["original_file_path"],
        declared_in=patch.partition("://")[2] if patch else None,
        relation=node["alias"],
        materialized=config["materialized"],
        language=node.get("language") or "sql",
        group=node.get("group"),
        is_private=(node.get("access") or config.get("access")) == "private",
        is_versioned=node.get("version") is not None,
        is_time_spine=bool(node.get("time_spine")) or node["name"] == "metricflow_time_spine",
        on_schema_change=config.get("on_schema_change") or "ignore",
        types={
            name.lower(): column["data_type"]
            for name, column in node["columns"].items()
            if column.get("data_type")
        },
        keys=tuple(dict.fromkeys(keys)),
        not_null=frozenset(not_null),
        is_read=is_read,
        is_exposed=is_exposed,
    )


def _metadata(test: Mapping[str, Any]) -> Mapping[str, Any]:
    return test.get("test_metadata") or {}


def _arguments(test: Mapping[str, Any]) -> Mapping[str, Any]:
    return _metadata(test).get("kwargs") or {}


def _is_strict(test: Mapping[str, Any]) -> bool:
    """Whether a test covers every row, and one failure fails it."""
    config = test["config"]
    return (
        str(config.get("severity")).lower() == "error"
        and not config.get("where")
        and not config.get("limit")
        and config.get("error_if") in (None, "!= 0")
        and config.get("enabled", True)
    )


def _tested(tests: list[Mapping[str, Any]], name: str) -> list[str]:
    return [
        str(_arguments(test).get("column_name")).strip('"`').lower()
        for test in tests
        if _metadata(test).get("name") == name
        and _metadata(test).get("namespace") is None
        and _is_strict(test)
    ]


def _constrained(node: Mapping[str, Any], kind: str) -> Iterator[tuple[str, ...]]:
    for constraint in node.get("constraints") or []:
        if constraint["type"] == kind and constraint.get("columns"):
            yield tuple(str(each).lower() for each in constraint["columns"])
    for name, column in node["columns"].items():
        if any(each["type"] == kind for each in column.get("constraints") or []):
            yield (name.lower(),)


def _entities(content: Mapping[str, Any], identifier: str) -> Iterator[str]:
    """What semantic models call the primary key of a model."""
    for semantic in content.get("semantic_models", {}).values():
        if identifier in semantic["depends_on"]["nodes"]:
            for entity in semantic.get("entities") or []:
                if entity["type"] == "primary":
                    yield str(entity.get("expr") or entity["name"]).lower()
