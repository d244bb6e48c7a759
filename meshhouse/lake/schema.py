"""Iceberg schemas from declared columns.

Belongs here: the only mapping from `DataType` to Iceberg. Not here: new columns of a table that
exists, and their field ids (states.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from pyiceberg.schema import Schema
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    IcebergType,
    IntegerType,
    LongType,
    NestedField,
    StringType,
    TimestampType,
    TimestamptzType,
)

from meshhouse.repository.types import DataType

EMPTY: Mapping[str, str] = MappingProxyType({})
_SIMPLE: dict[str, IcebergType] = {
    "bigint": LongType(),
    "integer": IntegerType(),
    "string": StringType(),
    "boolean": BooleanType(),
    "date": DateType(),
    "timestamp": TimestampType(),
    "timestamptz": TimestamptzType(),
    "double": DoubleType(),
    "binary": BinaryType(),
}


def iceberg_type(data_type: DataType) -> IcebergType:
    """Iceberg's name for a declared type."""
    if data_type.kind == "decimal":
        return DecimalType(data_type.precision, data_type.scale)
    return _SIMPLE[data_type.kind]


def iceberg_schema(
    columns: Iterable[tuple[str, DataType]], docs: Mapping[str, str] = EMPTY
) -> Schema:
    """An Iceberg schema with fresh field ids, every column optional.

    The contract promises which columns are never null, and the audit verifies it. Every engine can
    read an optional column after any later change.

    Args:
        columns: name and type of each column.
        docs: name of a column in lower case -> description.
    """
    return Schema(
        *(
            NestedField(
                field_id=index,
                name=name,
                field_type=iceberg_type(data_type),
                doc=docs.get(name.lower()),
            )
            for index, (name, data_type) in enumerate(columns, start=1)
        )
    )


def widens(old: IcebergType, new: IcebergType) -> bool:
    """Whether Iceberg can promote type `old` to `new` without rewriting files."""
    if isinstance(old, IntegerType):
        return isinstance(new, LongType)
    if isinstance(old, DecimalType) and isinstance(new, DecimalType):
        return new.scale == old.scale and new.precision > old.precision
    return False
