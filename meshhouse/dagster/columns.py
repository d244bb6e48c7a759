"""Columns of raw tables, builds and products as Dagster shows them.

Belongs here: types, constraints and tags of columns. Not here: where their values come from
(lineage.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from meshhouse.repository import Column, keys
from meshhouse.repository.manifest import Manifest

_UNIQUE, _NOT_NULL = "unique", "not_null"
_IMPLIED = {"primary_key": {_UNIQUE, _NOT_NULL}, _UNIQUE: {_UNIQUE}, _NOT_NULL: {_NOT_NULL}}
"""A constraint or test of dbt -> what it says of the values of a column."""


def column_schema(columns: Sequence[Column], grain: Sequence[str] = ()) -> dg.TableSchema:
    """Declared columns of a raw table or a product.

    Args:
        columns: in their order.
        grain: the columns that identify a row.
    """
    alone = {each.lower() for each in grain} if len(grain) == 1 else set()
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                each.name,
                each.data_type,
                description=each.description,
                constraints=dg.TableColumnConstraints(
                    nullable=not each.required, unique=each.name.lower() in alone
                ),
                tags=_tags({"classification": each.classification, "unit": each.unit}),
            )
            for each in columns
        ],
        constraints=_one_row_per(grain),
    )


@dataclass(frozen=True)
class BuiltColumns:
    """What dbt's manifest says of the columns of a domain's models."""

    promised: Mapping[tuple[str, str], set[str]]
    """Unique id of a model and column in lower case -> `unique`, `not_null`, from dbt's tests."""

    @classmethod
    def of(cls, manifest: Manifest) -> BuiltColumns:
        """Reads the tests of a manifest once for all its models."""
        promised: dict[tuple[str, str], set[str]] = {}
        for model, column, kind in _strict_tests(manifest):
            promised.setdefault((model, column.lower()), set()).update(_IMPLIED[kind])
        return cls(promised)

    def schema(self, node: Mapping[str, Any], grain: Sequence[str] = ()) -> dg.TableSchema | None:
        """The declared columns of a model; None if it declares none.

        Args:
            node: of the manifest.
            grain: the columns that identify a row, where they are known.
        """
        found = [self._column(node, each, grain) for each in node.get("columns", {}).values()]
        return dg.TableSchema(found, constraints=_one_row_per(grain)) if found else None

    def _column(
        self, node: Mapping[str, Any], column: Mapping[str, Any], grain: Sequence[str]
    ) -> dg.TableColumn:
        name = column["name"]
        says = set(self.promised.get((node["unique_id"], name.lower()), ()))
        for constraint in column.get("constraints") or ():
            says |= _IMPLIED.get(str(constraint["type"]), set())
        if [each.lower() for each in grain] == [name.lower()]:
            says.add(_UNIQUE)
        config = column.get("config") or {}
        meta = {**(column.get("meta") or {}), **(config.get("meta") or {})}
        known = {"classification": keys.CLASSIFICATION.of(meta), "unit": keys.UNIT.of(meta)}
        return dg.TableColumn(
            name,
            # Dagster's own word for a type that nobody declared.
            column.get("data_type") or "?",
            description=column.get("description") or None,
            constraints=dg.TableColumnConstraints(
                nullable=_NOT_NULL not in says, unique=_UNIQUE in says
            ),
            tags={**{str(each): "" for each in column.get("tags") or ()}, **_tags(known)},
        )


def _strict_tests(manifest: Manifest) -> Iterator[tuple[str, str, str]]:
    """Model, column and kind of each test that holds for all rows and stops a publication."""
    for node in manifest.nodes.values():
        if node["resource_type"] != "test" or not node.get("column_name"):
            continue
        about, config = node.get("test_metadata") or {}, node.get("config") or {}
        is_strict = (
            not config.get("where") and str(config.get("severity", "error")).lower() != "warn"
        )
        if node.get("attached_node") and about.get("name") in _IMPLIED and is_strict:
            yield node["attached_node"], node["column_name"], about["name"]


def _tags(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items() if value}


def _one_row_per(grain: Sequence[str]) -> dg.TableConstraints | None:
    return dg.TableConstraints(other=[f"one row per {', '.join(grain)}"]) if grain else None
