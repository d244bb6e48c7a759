"""Which models of a dbt project become products, and how they are declared.

Belongs here: the choice, the entry of a model's YAML, the SQL that gives columns their types. Not
here: what dbt says about a model (built.py), or writing files (runs/import_project.py).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from meshhouse.repository.foreign.built import BuiltModel
from meshhouse.repository.foreign.types import mesh_type
from meshhouse.repository.names import bad_column, bad_name

_MARTS = {"mart", "marts"}
_WITHIN = ("stg_", "int_", "base_", "src_", "tmp_", "prep_", "raw_", "staging_", "intermediate_")
"""Prefixes of models that are steps on the way to others."""
_WITHIN_FOLDERS = {"staging", "intermediate", "base", "utils", "util", "prep"}
_SIMPLE = re.compile(r"[a-z_][a-z0-9_]*")
_KEPT = {"not_null", "unique", "primary_key", "check"}
"""Constraints of columns that a product can have; DuckDB enforces all of them."""
_WRITTEN = {"string": "{{ dbt.type_string() }}", "timestamptz": "{{ type_timestamptz() }}"}
"""Type -> how a cast writes it, where targets call it differently."""


@dataclass(frozen=True)
class NewProduct:
    """A model that becomes a product."""

    model: BuiltModel
    grain: tuple[str, ...]
    columns: Mapping[str, str]
    """Column -> its type, in the order of the SQL."""
    casts: bool
    """Whether the SQL gives some column another type, so that casts are needed."""


def chosen(models: Sequence[BuiltModel], public: Collection[str]) -> list[BuiltModel]:
    """The models that are meant for others.

    Args:
        models: all models of the project.
        public: names of those that the project calls public.

    Returns:
        Those that the project calls public; without any, those in a folder `marts`; without one,
        those that no other model reads, and those of exposures and semantic models.
    """
    candidates = [
        each
        for each in models
        if not each.is_time_spine and each.language == "sql" and not each.is_versioned
    ]
    if public:
        return [each for each in candidates if each.name in public]
    candidates = [each for each in candidates if not each.is_private]
    marts = [each for each in candidates if _MARTS & set(PurePosixPath(each.path).parts[:-1])]
    if marts:
        return marts
    return [
        each
        for each in candidates
        if (each.is_exposed or not each.is_read)
        and not each.name.startswith(_WITHIN)
        and not _WITHIN_FOLDERS & set(PurePosixPath(each.path).parts[:-1])
    ]


def product_of(model: BuiltModel, found: Mapping[str, str] | None) -> NewProduct | str:
    """A model as a product, or why it has to stay private.

    Args:
        model: as dbt knows it.
        found: column -> type of what was built; None if it was not built.
    """
    if found is None:
        return "it was not built"
    if problem := bad_name("product", model.name):
        return problem
    columns: dict[str, str] = {}
    casts = False
    for name, kind in found.items():
        if problem := bad_column(name):
            return f"its column `{name}` cannot be published: {problem}"
        declared = model.types.get(name.lower())
        meant = mesh_type(declared) if declared else None
        columns[name] = meant or mesh_type(kind, "duckdb") or ""
        if not columns[name]:
            return (
                f"its column `{name}` has the type {kind}, which a contract cannot have. Make it "
                "text or several columns"
            )
        casts = casts or mesh_type(kind, "duckdb") != columns[name] or not _is_exact(kind)
    by_name = {name.lower(): name for name in columns}
    grain = next((each for each in model.keys if all(column in by_name for column in each)), None)
    if grain is None:
        return (
            "nothing says which columns identify a row: no test `unique` and `not_null`, no "
            "constraint, no primary entity"
        )
    return NewProduct(model, tuple(by_name[each] for each in grain), columns, casts)


_EXACT = re.compile(
    r"BIGINT|INTEGER|DOUBLE|VARCHAR|BOOLEAN|DATE|TIMESTAMP( WITH TIME ZONE)?|DECIMAL\(\d+,\d+\)"
)


def _is_exact(kind: str) -> bool:
    """Whether a type of the trial build is the same as a type of the mesh."""
    return _EXACT.fullmatch(kind) is not None


def entry_of(
    product: NewProduct,
    before: Mapping[str, Any] | None,
    group: str,
    text: str,
    reserved: Collection[str],
) -> tuple[dict[str, Any], list[str]]:
    """The entry of a product's YAML, and the declared columns that the model does not have.

    Args:
        product: what is declared.
        before: the model's entry as it was; None if it had none.
        group: the group that owns it, unless the project gave the model one.
        text: its description, if it had none.
        reserved: words that need quotes as names of columns.
    """
    before = dict(before or {})
    config = dict(before.pop("config", None) or {})
    meta = {**(before.pop("meta", None) or {}), **(config.pop("meta", None) or {})}
    for moved in ("access", "group"):
        before.pop(moved, None)
        config.pop(moved, None)
    config.pop("contract", None)
    config = {
        "access": "public",
        "group": product.model.group or group,
        "contract": {"enforced": True},
        **config,
    }
    if product.model.materialized not in ("table", "incremental"):
        config["materialized"] = "table"
    if product.model.materialized == "incremental" and product.model.on_schema_change not in (
        "fail",
        "append_new_columns",
    ):
        config["on_schema_change"] = "append_new_columns"
    config["meta"] = {**meta, "grain": list(product.grain)}
    described = {
        str(each.get("name")).lower(): each
        for each in before.pop("columns", None) or []
        if isinstance(each, dict)
    }
    columns = []
    for name, kind in product.columns.items():
        is_key = product.grain == (name,)
        old = dict(described.pop(name.lower(), {}))
        if needs_quotes(name, reserved):
            old["quote"] = True
        columns.append(_column(name, kind, old, name.lower() in product.model.not_null, is_key))
    name, said = before.pop("name", product.model.name), before.pop("description", None)
    return (
        {"name": name, "description": said or text, "config": config, **before, "columns": columns},
        [str(each["name"]) for each in described.values()],
    )


def _column(
    name: str, kind: str, before: Mapping[str, Any], is_not_null: bool, is_key: bool
) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": name, "data_type": kind}
    if before.get("description"):
        entry["description"] = before["description"]
    constraints = [each for each in before.get("constraints") or [] if isinstance(each, dict)]
    implied = {"unique", "primary_key"} if is_key else set()
    constraints = [each for each in constraints if each.get("type") in _KEPT - implied]
    if is_not_null and not any(each["type"] == "not_null" for each in constraints):
        constraints = [{"type": "not_null"}, *constraints]
    if constraints:
        entry["constraints"] = constraints
    implied |= {each["type"] for each in constraints if each["type"] == "not_null"}
    for key, value in before.items():
        if key in ("name", "data_type", "description", "constraints"):
            continue
        if key in ("tests", "data_tests") and isinstance(value, list):
            value = [each for each in value if not (isinstance(each, str) and each in implied)]
            if not value:
                continue
        entry[key] = value
    return entry


def left_out_constraints(before: Mapping[str, Any] | None) -> list[str]:
    """Constraints of columns that a product cannot have, each as `type` of `column`."""
    columns = (before or {}).get("columns")
    return [
        f"`{constraint.get('type')}` of `{column.get('name')}`"
        for column in (columns if isinstance(columns, list) else [])
        if isinstance(column, dict)
        for constraint in column.get("constraints") or []
        if isinstance(constraint, dict) and constraint.get("type") not in _KEPT
    ]


def needs_quotes(name: str, reserved: Collection[str]) -> bool:
    """Whether SQL takes the name of a column in quotes only."""
    return not _SIMPLE.fullmatch(name) or name in reserved


def sql_type(kind: str) -> str:
    """A type of the mesh as SQL writes it, the same on every target."""
    if "<" in kind:
        return f"{{{{ engine_type('{kind}') }}}}"
    return _WRITTEN.get(kind, kind)


def typed_sql(sql: str, columns: Mapping[str, str], reserved: Collection[str]) -> str:
    """A model's SQL whose columns have the types of the contract.

    Args:
        sql: the model as it was.
        columns: column -> type.
        reserved: words that need quotes as names of columns.
    """
    casts = []
    for name, kind in columns.items():
        written = f"{{{{ adapter.quote('{name}') }}}}" if needs_quotes(name, reserved) else name
        casts.append(f"    cast({written} as {sql_type(kind)}) as {written}")
    body = sql.strip().rstrip(";").rstrip()
    return (
        "{#- Each column gets the type of its contract, which means the same on every target. -#}\n"
        "select\n" + ",\n".join(casts) + f"\nfrom (\n\n{body}\n\n) as imported\n"
    )
