"""Types and values of products in Cassandra.

Belongs here: which type of Cassandra holds a column, and values that it holds exactly. Not here:
statements (cassandra.py).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from meshhouse.errors import MeshError
from meshhouse.governance.types import type_of
from meshhouse.sinks.delivery import as_json

_TYPES = {
    "boolean": "boolean", "integer": "int", "bigint": "bigint", "double": "double",
    "decimal": "decimal", "string": "text", "date": "date", "timestamp": "timestamp",
    "timestamptz": "timestamp",
}  # fmt: skip


def type_in_cassandra(name: str, duckdb_type: str) -> str:
    """The type of a column in Cassandra; nested values are JSON.

    Raises:
        MeshError: it has no counterpart.
    """
    kind = type_of(duckdb_type)
    if kind.is_nested:
        return "text"
    if kind.kind not in _TYPES:
        raise MeshError(
            f"column `{name}` is of type {duckdb_type}, which has no counterpart in Cassandra. "
            "Leave it out (`without`)."
        )
    return _TYPES[kind.kind]


def converter(name: str, duckdb_type: str) -> Callable[[Any], Any]:
    """Makes values as the driver stores them, of values that are not null.

    It raises MeshError for a value that Cassandra cannot hold exactly, without the value.
    """
    kind = type_of(duckdb_type)
    if kind.is_nested:
        return as_json
    if kind.kind in ("timestamp", "timestamptz"):
        return lambda value: _in_milliseconds(name, value)
    return lambda value: value


def _in_milliseconds(name: str, value: datetime) -> datetime:
    if value.microsecond % 1000:
        raise MeshError(
            f"column `{name}` has microseconds, and a timestamp of Cassandra has milliseconds. "
            "Cut them off in the model (`date_trunc('milliseconds', ...)`), or leave the column "
            "out (`without`)."
        )
    return value
