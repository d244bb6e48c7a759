"""Types of dbt's adapters -> types of the mesh, in one table.

Belongs here: which declared type holds every value of a type of Postgres, Redshift, Snowflake,
BigQuery, Databricks, Spark or DuckDB. Not here: the types of the mesh (repository/types.py).
"""

from __future__ import annotations

import re

from meshhouse.repository.types import is_type

_EVERYWHERE = {
    "bigint": "bigint int8 int64 long serial8 bigserial uinteger uint32",
    "integer": "integer int int4 int32 serial smallint int2 int16 smallserial tinyint int1 byteint "
    "short byte mediumint usmallint utinyint uint16 uint8",
    "double": "double double_precision float8 float64 float real float4 float32",
    "decimal(38,0)": "uhugeint ubigint uint64 int128 uint128",
    "decimal(38,9)": "numeric decimal dec bignumeric bigdecimal number",
    "string": "string text varchar nvarchar character_varying character char nchar bpchar name "
    "citext nvarchar2 clob uuid guid json jsonb variant object super hstore xml inet cidr time "
    "time_without_time_zone time_with_time_zone timetz enum",
    "boolean": "boolean bool",
    "date": "date date32",
    "timestamp": "timestamp timestamp_without_time_zone timestamp_ntz timestampntz datetime "
    "timestamp_s timestamp_ms timestamp_us timestamp_ns",
    "timestamptz": "timestamptz timestamp_with_time_zone timestamp_ltz timestampltz timestamp_tz "
    "timestamptz_ns",
}  # fmt: skip
"""Type of the mesh -> words for it that mean the same with every adapter, or nearly so."""
_BY_ADAPTER = {
    "snowflake": {
        # All whole numbers have 38 digits there.
        **dict.fromkeys(["number", "numeric", "decimal", "dec"], "decimal(38,0)"),
        **dict.fromkeys(["int", "integer", "bigint", "smallint", "tinyint", "byteint"], "bigint"),
    },
    "bigquery": {"timestamp": "timestamptz", "int": "bigint", "integer": "bigint"},
    "databricks": {"timestamp": "timestamptz", "decimal": "decimal(10,0)"},
    "spark": {"timestamp": "timestamptz", "decimal": "decimal(10,0)"},
    "redshift": {"numeric": "decimal(18,0)", "decimal": "decimal(18,0)"},
    "duckdb": {"hugeint": "bigint", "numeric": "decimal(18,3)", "decimal": "decimal(18,3)"},
}
"""Adapter -> words that mean something else there."""
_WORDS = {word: kind for kind, words in _EVERYWHERE.items() for word in words.split()}
_TYPE = re.compile(
    r"(?P<word>[a-z][a-z0-9_ ]*?)\s*(?:\((?P<digits>[\d\s,]*)\))?\s*"
    r"(?P<zone>with(?:out)? time zone)?"
)
_MOST_DIGITS = 38


def mesh_type(text: str, adapter: str = "") -> str | None:
    """The type of the mesh for a type as an adapter writes it; None if there is none.

    Args:
        text: such as `NUMBER(12,2)`, `timestamp without time zone`, `INT64`.
        adapter: dbt's name of the adapter; empty if it is unknown.
    """
    found = _TYPE.fullmatch(" ".join(text.lower().split()))
    if found is None:
        return _nested(text) if is_type(text) else None
    zone = f" {found['zone']}" if found["zone"] else ""
    word = f"{found['word'].strip()}{zone}".replace(" ", "_")
    digits = [int(each) for each in re.findall(r"\d+", found["digits"] or "")]
    kind = _BY_ADAPTER.get(adapter, {}).get(word) or _WORDS.get(word)
    if kind is None:
        return None
    if kind.startswith("decimal") and digits:
        precision, scale = digits[0], digits[1] if len(digits) > 1 else 0
        if scale > precision:
            return None
        return f"decimal({min(precision, _MOST_DIGITS)},{min(scale, _MOST_DIGITS)})"
    return kind


def _nested(text: str) -> str:
    """A type as it was written, if it has fields: JSON and consumers know them by these names."""
    return text if "<" in text else text.lower()
