"""Whether what an engine built has the columns and types of the contract.

Belongs here: the comparison of a built table with the contract, on every target. Not here:
the comparison of a model's SQL with the contract, which dbt makes before it builds
(macros/contracts.sql), and what the values are (audit/).
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
    """Column -> type, of a contract.

    Raises:
        MeshError: a type is not one that every target has.
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
    """Refuses a build whose columns are not those of the contract.

    dbt compares the SQL of a model with the contract, but an incremental model adds rows to a
    table of an earlier build, and a model whose contract is not enforced is not compared.

    Args:
        product: whose build it is.
        built: column -> type of the built table, in the words of declarations.

    Raises:
        MeshError: a column is missing, is not declared, or has another type; or the contract
            names a type that not every target has.
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
            f"({display_path(product.path)}:{product.line}); for a table of an earlier build, "
            f"run `mesh run {product.domain} --force`."
        )


def duckdb_type(name: str) -> str:
    """A type as DuckDB names it, in the words of declarations where they have one."""
    try:
        return str(parse_type(name))
    except ValueError:
        return name.lower()


def iceberg_types(schema: Schema) -> dict[str, str]:
    """Column -> type of an Iceberg table, in the words of declarations where they have one."""
    from pyiceberg.types import DecimalType

    from meshhouse.lake.schema import iceberg_type
    from meshhouse.repository.types import SIMPLE_TYPES

    words = {iceberg_type(DataType(kind)): kind for kind in SIMPLE_TYPES.values()}
    return {
        field.name: f"decimal({field.field_type.precision},{field.field_type.scale})"
        if isinstance(field.field_type, DecimalType)
        else words.get(field.field_type, str(field.field_type))
        for field in schema.fields
    }
