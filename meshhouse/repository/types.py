"""The types that declarations use, one meaning on every target.

Belongs here: reading a `data_type`. Does not: what an engine, Iceberg or Soda calls it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SIMPLE_TYPES = {
    "bigint": "bigint",
    "integer": "integer",
    "int": "integer",
    "string": "string",
    "text": "string",
    "varchar": "string",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
    "timestamptz": "timestamptz",
    "timestamp with time zone": "timestamptz",
    "double": "double",
}
_DECIMAL = re.compile(r"(?:decimal|numeric)\s*\(\s*(\d+)\s*,\s*(\d+)\s*\)")


@dataclass(frozen=True)
class DataType:
    """A declared type: its kind, and precision and scale of a decimal."""

    kind: str
    precision: int = 0
    scale: int = 0

    def __str__(self) -> str:
        return f"decimal({self.precision},{self.scale})" if self.kind == "decimal" else self.kind


def parse_type(text: str) -> DataType:
    """The type that a declaration means.

    Raises:
        ValueError: no such type; the message lists those there are.
    """
    normal = " ".join(text.lower().split())
    if normal in SIMPLE_TYPES:
        return DataType(SIMPLE_TYPES[normal])
    match = _DECIMAL.fullmatch(normal)
    if match and 1 <= int(match[1]) <= 38 and int(match[2]) <= int(match[1]):
        return DataType("decimal", int(match[1]), int(match[2]))
    names = ", ".join(sorted(set(SIMPLE_TYPES.values())))
    raise ValueError(f"`{text}` is no type that is known here. Types: {names}, decimal(p,s).")
