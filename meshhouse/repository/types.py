"""The types that declarations use; each means the same on every target.

Belongs here: reading a `data_type`. Not here: the names of a type in an engine, in Iceberg or
in Soda (engines/types.py, lake/schema.py, audit/contract.py).
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
_INSTEAD = {
    # Types that are missing, or mean something else, on some target -> what to declare instead.
    "float float4 real": "It has 32 bits on some targets and 64 on others; use `double`.",
    "float8 double_precision": "Use `double`.",
    "time timetz": "Use `string` (`HH:MM:SS`), a whole number of seconds, or `timestamp`.",
    "uuid guid": "Use `string`.",
    "json jsonb variant object": "Use `string` that holds the JSON text.",
    "array list map struct row record": "Use a product with one row per element, or `string` that "
    "holds the JSON text.",
    "interval": "Use a whole number of days or seconds.",
    "binary varbinary blob bytea bytes": "Use `string` that holds hexadecimal digits.",
    "char character nchar bpchar string text varchar nvarchar": "Lengths are not kept on every "
    "target; use `string` and a `valid_max_length` check.",
    "tinyint smallint int2 int1 int4 short byte": "Use `integer`.",
    "int8 long": "Use `bigint`.",
    "utinyint usmallint uinteger": "Use `bigint`.",
    "ubigint hugeint uhugeint number decimal numeric dec": "Use `decimal(p,s)` with at most 38 "
    "digits.",
    "datetime timestamp_ntz timestampntz timestamp_s timestamp_ms timestamp_us timestamp_ns":
    "Use `timestamp`, which has microseconds and no zone.",
    "timestamp_ltz timestamp_tz timestampltz": "Use `timestamptz`, which is an instant.",
    "timestamp timestamptz": "Declare no digits; every target keeps microseconds.",
    "bool": "Use `boolean`.",
    "enum geometry geography vector bit": "Use `string`.",
}  # fmt: skip
_DECIMAL = re.compile(r"(?:decimal|numeric)\s*\(\s*(\d+)\s*,\s*(\d+)\s*\)")


@dataclass(frozen=True)
class DataType:
    """A declared type: its kind and, for a decimal, precision and scale."""

    kind: str
    precision: int = 0
    scale: int = 0

    def __str__(self) -> str:
        return f"decimal({self.precision},{self.scale})" if self.kind == "decimal" else self.kind


def parse_type(text: str) -> DataType:
    """The type that a declaration means.

    Raises:
        ValueError: the type is unknown; the message lists the known ones.
    """
    normal = " ".join(text.lower().split())
    if normal in SIMPLE_TYPES:
        return DataType(SIMPLE_TYPES[normal])
    match = _DECIMAL.fullmatch(normal)
    if match and 1 <= int(match[1]) <= 38 and int(match[2]) <= int(match[1]):
        return DataType("decimal", int(match[1]), int(match[2]))
    names = ", ".join(sorted(set(SIMPLE_TYPES.values())))
    instead = f"{_instead(normal)} ".lstrip()
    raise ValueError(f"`{text}` is not a known type. {instead}Types: {names}, decimal(p,s).")


def _instead(normal: str) -> str:
    """What to declare instead of a type that is given in lower case; empty if unknown."""
    word = re.match(r"double precision|\w*", normal)
    kind = "array" if normal.endswith("]") else word[0].replace(" ", "_") if word else ""
    return next((text for kinds, text in _INSTEAD.items() if kind in kinds.split()), "")


def is_type(text: str) -> bool:
    """Whether a declaration may use this type."""
    try:
        parse_type(text)
    except ValueError:
        return False
    return True
