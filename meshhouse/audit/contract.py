"""The Soda contract of a product: its checks file, completed from its dbt contract.

Belongs here: adding columns, types and derived checks, so that a domain need not declare them
twice. Not here: which checks are derived (derived.py), or running the contract (verify.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from meshhouse.audit.derived import derived_checks
from meshhouse.engines.protocol import Names, PlainNames
from meshhouse.repository import Product
from meshhouse.repository.types import DataType, parse_type
from meshhouse.repository.yaml import Located, read_yaml

DATA_SOURCE = "mesh"
_SQL = ("expression", "filter", "query", "rows_tested_query")
"""Keys of a check whose values are SQL."""


def read_checks(product: Product) -> Located:
    """The content of `<product>.checks.yml`; empty if there is no such file.

    Raises:
        DeclarationError: the file is not YAML.
    """
    return read_yaml(product.checks_path) if product.checks_path.exists() else Located()


class _AsDeclared(PlainNames):
    type_names: ClassVar[Mapping[str, str]] = {}


def soda_contract(product: Product, names: Names | None = None) -> dict[str, Any]:
    """The complete contract, ready for Soda.

    Columns and types come from the dbt contract. Checks that the declaration implies are added
    unless the domain wrote them; see derived.py.

    Args:
        product: the product that the contract describes.
        names: the engine's names of relations, columns and types; by default as declared.
    """
    names = names or _AsDeclared()
    written = read_checks(product)
    checks_of = {
        str(column.get("name")): column for column in written.get("columns") or [] if column
    }
    derived = derived_checks(product, written)
    columns = []
    for column in product.columns:
        entry = dict(checks_of.pop(column.name, {}))
        checks = [
            *(entry.pop("checks", None) or []),
            *({each.kind: dict(each.body)} for each in derived if each.column == column.name),
        ]
        if checks:  # Soda refuses an empty list
            entry["checks"] = checks
        kind = _type(parse_type(column.data_type), names.type_names)
        columns.append({**_named(entry, names), "name": names.column(column.name), **kind})
    columns += [dict(unknown) for unknown in checks_of.values()]
    checks = [
        *(written.get("checks") or []),
        *({each.kind: dict(each.body)} for each in derived if each.column is None),
    ]
    return {
        **{key: value for key, value in written.items() if key not in ("columns", "checks")},
        "dataset": f"{DATA_SOURCE}/{names.dataset(product.relation)}",
        "columns": columns,
        "checks": [_named(check, names) for check in checks],
    }


def declared_checks(product: Product) -> dict[str, str]:
    """Key -> title of every check that the audit of a product evaluates."""
    contract = soda_contract(product)
    return {
        check_key(kind, column, (body or {}).get("qualifier")): str(
            (body or {}).get("name") or f"{kind} {column or product.name}"
        )
        for column, checks in [
            (None, contract["checks"]),
            *((each["name"], each.get("checks") or []) for each in contract["columns"]),
        ]
        for check in checks
        for kind, body in check.items()
    }


def check_key(kind: str, column: str | None, qualifier: object) -> str:
    """The key of a check, unique within a product: column, kind and qualifier."""
    parts = [str(part) for part in (column, kind, qualifier) if part not in (None, "")]
    # Dagster allows only ASCII letters, digits and underscores.
    return re.sub(r"\W", "_", "__".join(parts), flags=re.ASCII)


def _named(written: Any, names: Names) -> Any:
    """A part of a checks file, with its SQL and column names rewritten for the engine."""
    if isinstance(written, list):
        return [_named(each, names) for each in written]
    if not isinstance(written, Mapping):
        return written
    found = {}
    for key, value in written.items():
        if key in _SQL and isinstance(value, str):
            found[key] = names.sql(value)
        elif key == "columns" and isinstance(value, list):
            found[key] = [names.column(str(each)) for each in value]
        else:
            found[key] = _named(value, names)
    return found


def _type(data_type: DataType, type_names: Mapping[str, str]) -> dict[str, Any]:
    if data_type.is_nested:
        return {}  # Soda compares only the outermost word; engines/types.py compares all of it
    if data_type.kind == "decimal":
        return {
            "data_type": "decimal",
            "numeric_precision": data_type.precision,
            "numeric_scale": data_type.scale,
        }
    return {"data_type": type_names.get(data_type.kind, data_type.kind)}
