"""Query results as CSV, JSON and Parquet, with every value exactly as DuckDB has it.

Belongs here: the notation of each SQL type in each format, and writing batch by batch. Not here:
tables for people (boxes.py), or running the query (sql.py).

DuckDB itself turns every value into text, inside the query. A value that passed through Python or
Arrow would lose digits, nanoseconds or the difference between types. DuckDB's JSON writer is not
used, because it writes NaN, which is not JSON, and shortens numbers in JSON columns (1.10 becomes
1.1).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from meshhouse.errors import UsageError
from meshhouse.sql import literal, quote

_BATCH = 10_000
_EMPTY = '""'
_TIMESTAMPS = frozenset(
    ["timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns", "timestamp with time zone"]
)
_NUMBERS = frozenset(
    [
        "tinyint",
        "smallint",
        "integer",
        "bigint",
        "hugeint",
        "utinyint",
        "usmallint",
        "uinteger",
        "ubigint",
        "uhugeint",
        "decimal",
        "bignum",
        "boolean",
    ]
)
_PLAIN_IN_CSV = _NUMBERS | {
    "float",
    "double",
    "date",
    "time",
    "time with time zone",
    "time_ns",
    "timestamp",
    "timestamp with time zone",
    "timestamp_s",
    "timestamp_ms",
    "timestamp_ns",
}
_AS_OTHER_IN_PARQUET = {
    # Parquet's interval has only milliseconds; Arrow has no bits and no times with an offset.
    **dict.fromkeys(("interval", "bit", "time with time zone", "time_ns"), "varchar"),
    **dict.fromkeys(("bignum", "variant", "union", "uuid", "enum"), "varchar"),
    # Parquet has no 128-bit integers. The cast fails for a value of 39 digits.
    **dict.fromkeys(("hugeint", "uhugeint"), "decimal(38,0)"),
}


def write(relation: Any, form: str, target: BinaryIO) -> list[str]:
    """Writes a relation as `csv`, `json` or `parquet`, batch by batch.

    Returns:
        What a reader of the file cannot see: renamed columns, and nulls that look like text.
    """
    # In a subquery DuckDB adds suffixes to columns of equal name (`a`, `a_1`).
    named = relation.project("*")
    notes = _WRITERS[form](named, target)
    pairs = zip(relation.columns, named.columns, strict=True)
    renamed = [(old, new) for old, new in pairs if old != new]
    said = [f"Two columns are called {old}: one is written as {new}." for old, new in renamed]
    return [*said, *notes]


def _write_csv(relation: Any, target: BinaryIO) -> list[str]:
    header = io.StringIO()
    csv.writer(header, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow(relation.columns)
    target.write(header.getvalue().encode())
    cells = [_csv_cell(column, kind) for column, kind in _columns(relation)]
    if len(cells) == 1:
        return _write_only_column(relation, cells[0], target)
    line = " || ',' || ".join(f"coalesce({cell}, '')" for cell in cells)
    for each in _lines(relation, line):
        target.write(each.encode() + b"\n")
    return []


def _write_only_column(relation: Any, cell: str, target: BinaryIO) -> list[str]:
    """Writes a null as `""`, like an empty text: pandas and Arrow skip empty lines."""
    kinds = set()
    for each in _lines(relation, cell):
        text = _EMPTY if each is None else each
        if text == _EMPTY:
            kinds.add(each)
        target.write(text.encode() + b"\n")
    if len(kinds) < 2:
        return []
    return [
        f"Nulls and empty texts of {relation.columns[0]} look alike in a CSV of one column. "
        "Select another column as well, or use --format json."
    ]


def _write_json(relation: Any, target: BinaryIO) -> list[str]:
    separator = b"["
    for line in _lines(relation, _json_members(relation.columns, _columns(relation))):
        target.write(separator + line.encode())
        separator = b",\n "
    target.write(b"]\n" if separator != b"[" else b"[]\n")
    return []


def _write_parquet(relation: Any, target: BinaryIO) -> list[str]:
    import pyarrow.parquet

    casts = ", ".join(
        f"cast({column} as {_parquet_type(kind)}) as {column}"
        for column, kind in _columns(relation)
    )
    reader = relation.project(casts).to_arrow_reader(100_000)
    with pyarrow.parquet.ParquetWriter(target, reader.schema) as writer:
        for batch in batches(reader):
            writer.write_batch(batch)
    return []


def batches(reader: Any) -> Iterator[Any]:
    """Yields the batches of an Arrow reader.

    Raises:
        UsageError: the query failed. Arrow turns DuckDB's error into an OSError.
        duckdb.InterruptException: the query was interrupted.
    """
    import duckdb

    while True:
        try:
            batch = next(reader, None)
        except OSError as error:
            if str(error).startswith("INTERRUPT Error"):
                raise duckdb.InterruptException(str(error)) from error
            raise UsageError(str(error)) from error
        if batch is None:
            return
        yield batch


_WRITERS: dict[str, Callable[[Any, BinaryIO], list[str]]] = {
    "csv": _write_csv,
    "json": _write_json,
    "parquet": _write_parquet,
}


def _columns(relation: Any) -> list[tuple[str, Any]]:
    return [
        (quote(name), kind) for name, kind in zip(relation.columns, relation.types, strict=True)
    ]


def _lines(relation: Any, expression: str) -> Iterator[Any]:
    for batch in batches(relation.project(f"{expression} as line").to_arrow_reader(_BATCH)):
        yield from batch.column(0).to_pylist()


def _text(value: str, kind: Any) -> str:
    """SQL for DuckDB's text of a value."""
    text = f"cast({value} as varchar)"
    if kind.id == "decimal" and dict(kind.children)["precision"] == dict(kind.children)["scale"]:
        return f"regexp_replace({text}, '^(-?)[.]', '\\10.')"  # DuckDB writes `.50`
    return text


def _csv_cell(value: str, kind: Any) -> str:
    """SQL for a value as a CSV cell; null stays null.

    Text is quoted, so that null differs from an empty text, and `"007"` from the number 7.
    """
    if kind.id in _PLAIN_IN_CSV:
        return _text(value, kind)
    if kind.id in _NESTED:
        text = _json(value, kind)
    elif kind.id == "blob":
        text = f"to_base64({value})"
    else:
        text = _text(value, kind)
    return f"'\"' || replace({text}, '\"', '\"\"') || '\"'"


def _json(value: str, kind: Any, depth: int = 0) -> str:
    """SQL for a value as JSON text; null stays null."""
    if kind.id in _NUMBERS:
        return _text(value, kind)
    if kind.id in ("float", "double"):
        return (
            f"case when isfinite({value}) then cast({value} as varchar) "
            f"when isnan({value}) then '\"NaN\"' "
            f"when {value} > 0 then '\"Infinity\"' when {value} < 0 then '\"-Infinity\"' end"
        )
    if kind.id == "blob":
        return f"'\"' || to_base64({value}) || '\"'"
    if kind.id in _TIMESTAMPS:
        return _json_time(value, kind.id)
    if kind.id in _NESTED:
        return _NESTED[kind.id](value, kind, depth + 1)
    return f"cast(to_json(cast({value} as varchar)) as varchar)"


def _json_time(value: str, kind: str) -> str:
    """SQL for ISO 8601, or DuckDB's notation for infinity and years that ISO 8601 lacks."""
    text = f"cast({value} as varchar)"
    is_iso = f"{value} >= cast('0001-01-01' as {kind}) and {value} < cast('10000-01-01' as {kind})"
    if kind == "timestamp_ns":  # reaches from 1677 to 2262, so it cannot hold these bounds
        is_iso = f"isfinite({value})"
    offset = ":00" if kind == "timestamp with time zone" else ""  # DuckDB has written `+00`
    return (
        f"'\"' || case when {is_iso} "
        f"then replace({text}, ' ', 'T') || '{offset}' else {text} end || '\"'"
    )


def _json_list(value: str, kind: Any, depth: int) -> str:
    item = f"item_{depth}"
    element = _json(item, dict(kind.children)["child"], depth)
    items = f"cast({value} as {_sql_type(kind)})" if kind.id == "array" else value
    return (
        f"'[' || array_to_string(list_transform({items}, lambda {item}: "
        f"coalesce({element}, 'null')), ',') || ']'"
    )


def _json_struct(value: str, kind: Any, depth: int) -> str:
    if not kind.children[0][0]:  # fields of row(1, 2) have no names
        fields = (
            f"coalesce({_json(f'struct_extract({value}, {index})', each, depth)}, 'null')"
            for index, (_, each) in enumerate(kind.children, start=1)
        )
        text = f"'[' || {' || chr(44) || '.join(fields)} || ']'"
    else:
        names = [name for name, _ in kind.children]
        fields = [(f"struct_extract({value}, {literal(n)})", each) for n, each in kind.children]
        text = _json_members(names, fields, depth)
    return f"case when {value} is not null then {text} end"


def _json_members(names: list[str], values: list[tuple[str, Any]], depth: int = 0) -> str:
    """SQL for a JSON object with these members."""
    members = (
        f"{literal(json.dumps(name, ensure_ascii=False) + ':')} || "
        f"coalesce({_json(value, kind, depth)}, 'null')"
        for name, (value, kind) in zip(names, values, strict=True)
    )
    return "'{' || " + " || ',' || ".join(members) + " || '}'"


def _json_map(value: str, kind: Any, depth: int) -> str:
    item = f"item_{depth}"
    types = dict(kind.children)
    key = f"cast({item}.key as varchar)"
    if types["key"].id == "blob":
        key = f"to_base64({item}.key)"
    element = _json(f"{item}.value", types["value"], depth)
    return (
        f"'{{' || array_to_string(list_transform(map_entries({value}), lambda {item}: "
        f"cast(to_json({key}) as varchar) || ':' || coalesce({element}, 'null')), ',') || '}}'"
    )


def _json_union(value: str, kind: Any, depth: int) -> str:
    cases = " ".join(
        f"when {literal(name)} then "
        + _json_members([name], [(f"union_extract({value}, {literal(name)})", each)], depth)
        for name, each in kind.children[1:]  # the first child is the tag
    )
    return f"case cast(union_tag({value}) as varchar) {cases} end"


_NESTED: dict[str, Callable[[str, Any, int], str]] = {
    "list": _json_list,
    "array": _json_list,
    "struct": _json_struct,
    "map": _json_map,
    "union": _json_union,
}


def _sql_type(kind: Any) -> str:
    """The LIST type with an ARRAY's elements, because list functions do not accept arrays."""
    return f"{dict(kind.children)['child']}[]"


def _parquet_type(kind: Any) -> str:
    """The SQL type with which Parquet can store every value of a type."""
    if kind.id in _AS_OTHER_IN_PARQUET:
        return _AS_OTHER_IN_PARQUET[kind.id]
    if str(kind) == "JSON":
        return "varchar"
    children = dict(kind.children) if kind.id in ("list", "array", "struct", "map") else {}
    if kind.id in ("list", "array"):
        return f"{_parquet_type(children['child'])}[]"
    if kind.id == "map":
        return f"map({_parquet_type(children['key'])}, {_parquet_type(children['value'])})"
    if kind.id == "struct":
        if "" in children:  # fields without names
            return "varchar"
        fields = (f"{quote(name)} {_parquet_type(each)}" for name, each in children.items())
        return f"struct({', '.join(fields)})"
    return str(kind)
