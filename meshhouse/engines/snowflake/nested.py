"""Nested columns in Snowflake, whose tables hold them as JSON values.

Belongs here: nested values as JSON text, and the SQL that makes values of them. Not here: which
types are nested (repository/datatype.py), or loading (landing.py).

Decimals of more than 15 digits are written as text, as a reader of JSON may take numbers for
doubles; times are ISO 8601. Parquet's nested columns are not used: Snowflake would load their times
and decimals in notations that it chooses.
"""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa

from meshhouse.engines.snowflake.session import quote
from meshhouse.repository.datatype import DataType

_EXACT_IN_DOUBLE = 15


def as_texts(table: pa.Table) -> pa.Table:
    """A table whose nested columns are JSON texts."""
    for place, field in enumerate(table.schema):
        if pa.types.is_nested(field.type):
            texts = [
                None if value is None else json_text(value, field.type)
                for value in table.column(place).to_pylist()
            ]
            table = table.set_column(place, field.name, pa.array(texts, pa.string()))
    return table


def json_text(value: Any, kind: pa.DataType) -> str:
    """A value of an Arrow type as JSON text."""
    if value is None:
        return "null"
    if pa.types.is_struct(kind):
        members = (_member(each.name, value[each.name], each.type) for each in kind)
        return f"{{{','.join(members)}}}"
    if pa.types.is_map(kind):
        members = (_member(str(key), each, kind.item_type) for key, each in value)
        return f"{{{','.join(members)}}}"
    if pa.types.is_list(kind):
        return f"[{','.join(json_text(each, kind.value_type) for each in value)}]"
    if isinstance(value, Decimal):
        return f"{value:f}" if kind.precision <= _EXACT_IN_DOUBLE else f'"{value:f}"'
    if isinstance(value, datetime | date):
        return json.dumps(value.isoformat())
    return json.dumps(value, ensure_ascii=False)


def _member(name: str, value: Any, kind: pa.DataType) -> str:
    return f"{json.dumps(name, ensure_ascii=False)}:{json_text(value, kind)}"


def loaded_column(name: str, kind: DataType | None) -> str:
    """SQL of a loaded column as the table stores it."""
    if kind is None or not kind.is_nested:
        return quote(name)
    return f"cast(parse_json({quote(name)}) as {'array' if kind.kind == 'array' else 'object'})"


def empty_column(name: str, kind: DataType | None) -> str:
    """SQL of a column that takes what is loaded."""
    if kind is None or not kind.is_nested:
        return quote(name)
    return f"cast(null as varchar) as {quote(name)}"
