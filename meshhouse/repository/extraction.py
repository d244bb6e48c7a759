"""Reads what a topic is extracted from.

Belongs here: `extract` of a source table. Not here: other keys of a topic (topics.py), or finding
files and rows (extraction/).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from meshhouse.repository import keys
from meshhouse.repository.model import Extraction, SourceStream, SourceTable
from meshhouse.repository.problems import Problems
from meshhouse.repository.shapes import mappings
from meshhouse.repository.yaml import Located

DATABASES = ("postgres", "mysql")
_FORMS = ("jsonl", "csv", "parquet")
_STORES = ("s3", "s3a", "s3n")
_OF_FILES = (keys.EXTRACT_FILES, keys.EXTRACT_FORMAT)
_OF_TABLES = (
    keys.EXTRACT_DATABASE, keys.EXTRACT_CONNECTION, keys.EXTRACT_TABLE, keys.EXTRACT_CURSOR,
    keys.EXTRACT_LAG, keys.EXTRACT_EVERY,
)  # fmt: skip
_OF_STREAMS = (keys.EXTRACT_KINESIS, keys.EXTRACT_REGION)
_STREAM = re.compile(r"[a-zA-Z0-9_.-]{1,128}", re.ASCII)
_REGION = re.compile(r"[a-z0-9-]{1,40}", re.ASCII)
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*", re.ASCII)
_TABLE = re.compile(r"[^.\s\"`\x00]+\.[^.\"`\x00]+")

Found = Iterator[tuple[str, str]]
"""Keys, and what is wrong with their values."""


def read_extraction(
    problems: Problems, path: Path, table: Located, meta: Located
) -> Extraction | None:
    """The extraction that a source table declares; what is wrong is added to `problems`."""
    declared = keys.EXTRACT.of(meta)
    if not isinstance(declared, Located):
        return None  # the shape of the file says what is wrong
    is_table = any(declared.get(each) is not None for each in _OF_TABLES)
    is_stream = any(declared.get(each) is not None for each in _OF_STREAMS)
    if is_stream:
        found = list(_of_stream(declared))
    else:
        columns = [str(each.get("name")) for each in mappings(table.get("columns"))]
        found = list(_common(declared, meta, columns, is_table))
        found += table_problems(declared) if is_table else _of_files(declared)
    for name, problem in found:
        problems.add(path, declared.line_of(name), f"extract of `{table.get('name')}`: {problem}")
    if is_stream:
        return None if found else Extraction(stream=_stream_of(declared))
    key = declared.get(keys.EXTRACT_KEY)
    named = None if key is None else str(key)
    if is_table:
        return None if found else Extraction(key=named, table=table_of(declared))
    form = declared.get(keys.EXTRACT_FORMAT)
    return Extraction(str(declared.get(keys.EXTRACT_FILES, "")), named, form)


def _common(declared: Located, meta: Located, columns: list[str], is_table: bool) -> Found:
    key = declared.get(keys.EXTRACT_KEY)
    first = next(iter(declared), keys.EXTRACT_FILES)
    if is_table and (mixed := [each for each in _OF_FILES if each in declared]):
        yield mixed[0], f"`{mixed[0]}` is for files: remove it beside `{keys.EXTRACT_TABLE}`."
    if str(keys.FORMAT.of(meta)) != keys.FORMAT.default:
        yield first, "extracted events are JSON: remove `format` beside it."
    if key is not None and key not in columns:
        yield keys.EXTRACT_KEY, f"the key `{key}` is not a column of the table."
    if keys.CHANGELOG.of(meta) is True and key is None:
        yield first, "a changelog needs the key of its events: add `key`."


def _of_stream(declared: Located) -> Found:
    for each in declared:
        if each == keys.EXTRACT_KEY:
            yield each, "the key of an event is the record's partition key: remove `key`."
        elif each not in _OF_STREAMS:
            yield each, f"`{each}` does not belong to a stream: remove it beside `kinesis`."
    name, region = declared.get(keys.EXTRACT_KINESIS), declared.get(keys.EXTRACT_REGION)
    if not _STREAM.fullmatch(str(name or "")):
        yield (
            keys.EXTRACT_KINESIS,
            "`kinesis` must be the name of a stream: letters, digits, `_`, `.` and `-`. "
            "Credentials come from AWS's own variables and files.",
        )
    if region is not None and not _REGION.fullmatch(str(region)):
        yield keys.EXTRACT_REGION, "`region` must be the name of a region, such as eu-west-1."


def _stream_of(declared: Located) -> SourceStream:
    region = declared.get(keys.EXTRACT_REGION)
    return SourceStream(
        str(declared[keys.EXTRACT_KINESIS]), None if region is None else str(region)
    )


def _of_files(declared: Located) -> Found:
    if not declared.get(keys.EXTRACT_FILES):
        yield (
            keys.EXTRACT_FILES,
            f"it has none of `{keys.EXTRACT_FILES}`, `{keys.EXTRACT_DATABASE}` and "
            f"`{keys.EXTRACT_KINESIS}`: write what becomes events.",
        )
        return
    files, form = str(declared[keys.EXTRACT_FILES]), declared.get(keys.EXTRACT_FORMAT)
    scheme, has_scheme, _ = files.partition("://")
    if "{{" in files or "${" in files:
        yield keys.EXTRACT_FILES, "`files` is read as it is: write the path itself."
    if has_scheme and scheme not in _STORES:
        yield keys.EXTRACT_FILES, f"`files` cannot be in `{scheme}://`: write `s3://`."
    if has_scheme and "@" in files.partition("://")[2].partition("/")[0]:
        yield keys.EXTRACT_FILES, "`files` holds credentials: use AWS's variables."
    if form is not None and form not in _FORMS:
        yield keys.EXTRACT_FORMAT, f"`{form}` is not one of {', '.join(_FORMS)}."


def table_problems(declared: Mapping[str, Any]) -> Found:
    """What is wrong with a declared table.

    Never repeats `connection`, which may hold a password by mistake.
    """
    database, name = declared.get(keys.EXTRACT_DATABASE), declared.get(keys.EXTRACT_TABLE)
    if database not in DATABASES:
        shown = f"`{database}`" if database is not None else "it"
        yield keys.EXTRACT_DATABASE, f"{shown} is not one of {', '.join(DATABASES)}."
    if not _VARIABLE.fullmatch(str(declared.get(keys.EXTRACT_CONNECTION, ""))):
        yield (
            keys.EXTRACT_CONNECTION,
            "`connection` must be the name of an environment variable, such as SHOP_DATABASE, that "
            "holds the connection. Do not write the connection itself into the file.",
        )
    if not _TABLE.fullmatch(str(name or "")):
        yield keys.EXTRACT_TABLE, "`table` must be `schema.table`, such as public.orders."
    cursor, lag = declared.get(keys.EXTRACT_CURSOR), declared.get(keys.EXTRACT_LAG)
    every = declared.get(keys.EXTRACT_EVERY)
    if cursor and lag is None:
        yield (
            keys.EXTRACT_CURSOR,
            "a cursor needs `lag`: how long the longest transaction takes, in seconds for a time, "
            "in days for a date, in numbers for an integer. Rows that appear later than that are "
            "lost.",
        )
    if lag is not None and not cursor:
        yield keys.EXTRACT_LAG, "`lag` belongs to a cursor: add `cursor`, or remove it."
    if cursor and every is not None:
        yield keys.EXTRACT_EVERY, "`every_hours` is for whole tables: remove it beside `cursor`."
    for key, value in ((keys.EXTRACT_LAG, lag), (keys.EXTRACT_EVERY, every)):
        if value is not None and not _is_amount(value):
            yield key, f"`{key}` is `{value}`; give a number from 0 to 1,000,000,000."


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and type(value) is not bool and 0 <= value <= 10**9


def table_of(declared: Mapping[str, Any]) -> SourceTable:
    """The table of a declaration without problems."""
    cursor = declared.get(keys.EXTRACT_CURSOR)
    return SourceTable(
        str(declared[keys.EXTRACT_DATABASE]),
        str(declared[keys.EXTRACT_CONNECTION]),
        str(declared[keys.EXTRACT_TABLE]),
        str(cursor) if cursor else None,
        declared.get(keys.EXTRACT_LAG) or 0,
        declared.get(keys.EXTRACT_EVERY) or 0,
    )
