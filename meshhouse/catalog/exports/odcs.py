"""A product's contract in the Open Data Contract Standard (ODCS) 3.1, as YAML.

Belongs here: which fact becomes which field. Not here: the contract that the mesh itself keeps
(governance/contract.py), which says more: ODCS has no place for lineage or for the SQL.

Source: https://bitol-io.github.io/open-data-contract-standard/v3.1.0/.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from meshhouse.catalog import paths
from meshhouse.catalog.documents import (
    CheckFacts,
    ColumnFacts,
    Mesh,
    ProductFacts,
    PromiseFacts,
    is_listed,
)
from meshhouse.catalog.exports.standard import (
    as_yaml,
    status_of,
    support_of,
    team_of,
    without_empty,
)
from meshhouse.catalog.page import Page
from meshhouse.repository.datatype import DataType
from meshhouse.repository.types import parse_type

VERSION = "v3.1.0"
_LOGICAL = {
    "string": "string",
    "bigint": "integer",
    "integer": "integer",
    "decimal": "number",
    "double": "number",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
    "timestamptz": "timestamp",
    "struct": "object",
    "map": "object",
    "array": "array",
}
"""Kind of a declared type -> the standard's logical type."""
_PROMISES: Mapping[str, tuple[str, str]] = {
    "refreshed_within_hours": ("frequency", "h"),
    "latency_minutes": ("latency", "m"),
    "retention_days": ("retention", "d"),
    "availability_percent": ("availability", "percent"),
    "completeness_percent": ("completeness", "percent"),
}
"""Objective -> property and unit of a service level agreement."""


def pages(mesh: Mesh) -> Iterator[Page]:
    """One file for each product that is or was published."""
    for product in mesh.products:
        if is_listed(mesh, product.domain) and product.publications:
            path = paths.product(product.relation, "odcs.yaml")
            yield Page(path, product, partial(_text, product))


def _text(product: ProductFacts) -> str:
    return as_yaml(contract_of(product))


def contract_of(product: ProductFacts) -> dict[str, Any]:
    """The contract as the standard's fields."""
    of_columns: dict[str, list[CheckFacts]] = {}
    for check in product.checks:
        of_columns.setdefault(check.column, []).append(check)
    return without_empty(
        {
            "apiVersion": VERSION,
            "kind": "DataContract",
            "id": product.relation,
            "name": product.relation,
            "version": str(product.version),
            "status": status_of(product),
            "domain": product.domain,
            "dataProduct": f"{product.domain}.{product.model}",
            "description": {"purpose": product.description},
            "tags": list(product.tags),
            "schema": [
                {
                    "name": product.relation,
                    "physicalName": product.relation,
                    "logicalType": "object",
                    "physicalType": "table",
                    "description": product.sentence,
                    "dataGranularityDescription": product.grain_text,
                    "properties": [
                        _column(each, product.grain, of_columns.get(each.name, ()))
                        for each in product.columns
                    ],
                    "quality": [_check(each) for each in of_columns.get("", ())],
                }
            ],
            "team": team_of(product),
            "support": support_of(product),
            "slaProperties": [
                *(_promise(each) for each in product.promises if each.objective in _PROMISES),
                *_end(product),
            ],
        }
    )


def _column(
    column: ColumnFacts, grain: Sequence[str], checks: Iterable[CheckFacts]
) -> dict[str, Any]:
    position = grain.index(column.name) + 1 if column.name in grain else None
    unit = [{"property": "unit", "value": column.unit}] if column.unit else []
    return {
        "name": column.name,
        **_type(column.type),
        "description": column.description,
        "required": column.required,
        "unique": column.unique,
        "primaryKey": True if position else None,
        "primaryKeyPosition": position,
        "classification": column.classification,
        "transformSourceObjects": list(column.roots),
        "quality": [_check(each) for each in checks],
        "customProperties": unit,
    }


def _type(text: str) -> dict[str, Any]:
    """The physical type as declared, and the logical one if the type is known."""
    try:
        return {"physicalType": text, **_logical(parse_type(text))}
    except ValueError:  # a published contract may have a type of an engine
        return {"physicalType": text}


def _logical(found: DataType) -> dict[str, Any]:
    logical: dict[str, Any] = {"logicalType": _LOGICAL[found.kind]}
    if found.kind == "struct":
        logical["properties"] = [
            {"name": part.name, "physicalType": str(part.type), **_logical(part.type)}
            for part in found.parts
        ]
    elif found.kind == "array":
        [item] = found.parts
        logical["items"] = {"physicalType": str(item.type), **_logical(item.type)}
    return logical


def _check(check: CheckFacts) -> dict[str, Any]:
    return {
        "name": check.id,
        "type": "text",
        "description": check.name,
        "severity": "warning" if check.severity == "warn" else check.severity,
    }


def _promise(promise: PromiseFacts) -> dict[str, Any]:
    name, unit = _PROMISES[promise.objective]
    return {"property": name, "value": promise.target, "unit": unit}


def _end(product: ProductFacts) -> Iterator[dict[str, Any]]:
    if product.deprecated_on is not None:
        yield {"property": "endOfSupport", "value": product.deprecated_on.isoformat()}
