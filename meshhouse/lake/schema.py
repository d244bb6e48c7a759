"""Iceberg schemas from declared columns.

Belongs here: the only mapping from `DataType` to Iceberg and back. Not here: new columns and fields
of a table that exists, and their ids (evolution.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from pyiceberg.schema import Schema, assign_fresh_schema_ids
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    IcebergType,
    IntegerType,
    ListType,
    LongType,
    MapType,
    NestedField,
    StringType,
    StructType,
    TimestampType,
    TimestamptzType,
)

from meshhouse.repository.datatype import DataType, Part

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
    """Iceberg's name for a declared type. The ids of nested fields are all 0."""
    if data_type.kind == "decimal":
        return DecimalType(data_type.precision, data_type.scale)
    types = [iceberg_type(part.type) for part in data_type.parts]
    if data_type.kind == "struct":
        named = zip(data_type.parts, types, strict=True)
        return StructType(
            *(NestedField(0, part.name, kind, required=False) for part, kind in named)
        )
    if data_type.kind == "array":
        return ListType(0, types[0], element_required=False)
    if data_type.kind == "map":
        return MapType(0, types[0], 0, types[1], value_required=False)
    return _SIMPLE[data_type.kind]


def declared_type(kind: IcebergType) -> DataType | None:
    """The declared type that an Iceberg type stands for; None if no declared type does."""
    if isinstance(kind, DecimalType):
        return DataType("decimal", kind.precision, kind.scale)
    if isinstance(kind, StructType):
        named = [(field.name, field.field_type) for field in kind.fields]
    elif isinstance(kind, ListType):
        named = [("element", kind.element_type)]
    elif isinstance(kind, MapType):
        named = [("key", kind.key_type), ("value", kind.value_type)]
    else:
        words = (word for word, simple in _SIMPLE.items() if simple == kind)
        return next((DataType(word) for word in words if word != "binary"), None)
    parts = []
    for name, inner in named:
        found = declared_type(inner)
        if found is None:
            return None
        parts.append(Part(name, found))
    names = {StructType: "struct", ListType: "array", MapType: "map"}
    return DataType(names[type(kind)], parts=tuple(parts))


def iceberg_schema(
    columns: Iterable[tuple[str, DataType]], docs: Mapping[str, str] = EMPTY
) -> Schema:
    """An Iceberg schema with fresh field ids, every column and field optional.

    The contract promises which columns are never null, and the audit verifies it. Every engine can
    read an optional column after any later change.

    Args:
        columns: name and type of each column.
        docs: name of a column in lower case -> description.
    """
    schema = Schema(
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
    if all(field.field_type.is_primitive for field in schema.fields):
        return schema
    return assign_fresh_schema_ids(schema)


def widens(old: IcebergType, new: IcebergType) -> bool:
    """Whether Iceberg can promote type `old` to `new` without rewriting files."""
    if isinstance(old, IntegerType):
        return isinstance(new, LongType)
    if isinstance(old, DecimalType) and isinstance(new, DecimalType):
        return new.scale == old.scale and new.precision > old.precision
    return False
