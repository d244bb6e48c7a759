"""Comparison of a built table with the columns and types of its contract.

Belongs here: that comparison, on every target. Not here: the comparison of a model's SQL with
the contract, which dbt makes before it builds (meshhouse/macros/contracts.sql), or checks of values
(audit/).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from meshhouse.errors import MeshError
from meshhouse.repository import Product, display_path
from meshhouse.repository.types import DataType, parse_type

if TYPE_CHECKING:
    from pyiceberg.schema import Schema


def contract_types(product: Product) -> dict[str, DataType]:
    """Returns column -> type of a contract.

    Raises:
        MeshError: a type does not exist on every target.
    """
    found = {}
    for column in product.columns:
        try:
            found[column.name] = parse_type(column.data_type)
        except ValueError as error:
            raise MeshError(
                f"{display_path(product.path)}:{column.line}: column `{column.name}` of "
                f"{product.relation}: {error}"
            ) from error
    return found


def require_contract_types(product: Product, built: Mapping[str, str]) -> None:
    """Refuses a build whose columns differ from the contract.

    dbt compares the SQL of a model with its contract. That is not enough: an incremental model adds
    rows to a table of an earlier build, and dbt does not compare a contract that is not enforced.

    Args:
        product: the product that was built.
        built: column -> type of the built table, in declared names of types.

    Raises:
        MeshError: a column is missing, is not declared, or has another type; or the contract names
            a type that does not exist on every target.
    """
    found = {name.lower(): data_type for name, data_type in built.items()}
    declared = {name.lower(): str(kind) for name, kind in contract_types(product).items()}
    problems = [
        f"`{name}` is {found[name]} and the contract says {data_type}"
        for name, data_type in declared.items()
        if name in found and found[name] != data_type
    ]
    problems += [f"`{name}` is missing" for name in declared if name not in found]
    problems += [f"`{name}` is not in the contract" for name in found if name not in declared]
    if problems:
        raise MeshError(
            f"{product.relation} was not built as its contract says: {', '.join(problems)}. "
            f"Cast the column in {product.sql_path.name} or change the contract "
            f"({display_path(product.path)}:{product.line}). If the table is from an earlier "
            f"build, run `mesh run {product.domain} --force`."
        )


def duckdb_type(name: str) -> str:
    """The declared name of a DuckDB type, or DuckDB's own name if no declared type matches."""
    try:
        return str(parse_type(name))
    except ValueError:
        return name.lower()


def iceberg_types(schema: Schema) -> dict[str, str]:
    """Column -> declared name of its Iceberg type, or Iceberg's own name if none matches."""
    from meshhouse.lake.schema import declared_type

    return {
        field.name: str(declared_type(field.field_type) or field.field_type)
        for field in schema.fields
    }
