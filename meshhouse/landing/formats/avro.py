"""Avro: events as JSON, read with their writer's schema.

Belongs here: Avro's types in JSON, and refusing schemas that are unsafe. Not here: the schema id in
an event (wire.py).

An enum becomes its symbol, a union its value, bytes become base64, records and maps objects.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import fastavro
import pyarrow as pa
from fastavro._read_py import schemaless_reader as read_in_python
from fastavro.read import LOGICAL_READERS
from fastavro.schema import SchemaParseException, UnknownType

from meshhouse.landing.formats import values
from meshhouse.landing.formats.errors import BadDeclaration, Unreadable
from meshhouse.landing.formats.schema_registry import Schema
from meshhouse.landing.formats.wire import Framed, Reader, each_as_json
from meshhouse.repository import RawTable, display_path

_MALFORMED = (SchemaParseException, UnknownType, KeyError, TypeError, AttributeError,
              ValueError, RecursionError)  # fmt: skip
_UNDECODABLE = (EOFError, IndexError, KeyError, TypeError, ValueError, OverflowError,
                MemoryError, RecursionError)  # fmt: skip
_OURS = "meshhouse-"
RAW = "raw-"
"""The prefix of logical types that have no reader."""
_OBJECTS = ("record", "error", "map")


def avro(raw: RawTable) -> Framed | Datums:
    """The reader of a topic's events, with its schema file or with a schema registry."""
    if raw.schema_path is not None:
        return Datums(raw, raw.schema_path)
    return Framed("AVRO", f"{display_path(raw.path)}:{raw.line}", _reader)


class Datums:
    """Reads Avro events without a schema id, all with the schema of one file."""

    def __init__(self, raw: RawTable, path: Path) -> None:
        """Reads the schema.

        Raises:
            BadDeclaration: the file is missing, or does not hold the schema of a record.
        """
        remedy = f"Write the Avro schema of the events of {raw.topic} there."
        try:
            self._read = _reader(Schema("AVRO", path.read_text("utf-8")))
        except OSError as error:
            reason = error.strerror or str(error)
            problem = f"the schema {display_path(path)} of {raw.relation} cannot be read: {reason}."
            raise BadDeclaration(raw.path, raw.line, problem, remedy) from error
        except json.JSONDecodeError as error:
            problem = f"this Avro schema is not valid JSON: {error.msg}."
            raise BadDeclaration(path, error.lineno, problem, remedy) from error
        except ValueError as error:
            problem = f"this Avro schema cannot be used: {error}."
            raise BadDeclaration(path, 1, problem, remedy) from error

    def as_json(self, events: pa.Table) -> pa.Table:
        """See `meshhouse.landing.formats.Format`."""
        return each_as_json(events, self._read)


@dataclass(frozen=True)
class Compiled:
    """A schema that events can be read with."""

    read: Reader
    written: Any
    """As fastavro parses it: with full names, and with the properties that Avro does not know."""
    named: Mapping[str, Any]
    """Full name -> schema."""


def _reader(schema: Schema) -> Reader:
    return compiled(schema).read


def compiled(schema: Schema, logical: str = _OURS, records: bool = True) -> Compiled:
    """Reads events with their writer's schema; a separate reader's schema would drop new fields.

    Args:
        schema: from a file or from a registry.
        logical: the prefix of logical types that says how they are read; `RAW` for counts and bytes
            as they were written.
        records: whether any type other than a record is refused.

    Raises:
        ValueError: the schema cannot be used; the message says why.
    """
    named: dict[str, Any] = {}
    written = _parsed(schema, named, set(), logical)
    problem = _problem(written, named, records)
    if problem:
        raise ValueError(problem)
    # With a recursive schema, a deeply nested event crashes fastavro's compiled reader and the
    # whole process (fastavro 1.13.1). Its Python reader raises an error.
    recursive = _holds_itself(written, named, (), set())
    decode = read_in_python if recursive else fastavro.schemaless_reader

    def read(value: bytes) -> str:
        stream = BytesIO(value)
        try:
            document: Any = decode(stream, written, None)
            text = values.json_text(document)
        except _UNDECODABLE as error:
            raise Unreadable(
                f"does not decode as Avro: {str(error) or type(error).__name__}"
            ) from error
        if stream.tell() != len(value):
            left = len(value) - stream.tell()
            raise Unreadable(f"does not decode as Avro: {left} bytes are left over")
        if records and not isinstance(document, dict):
            raise Unreadable("is Avro, but not a record")
        return text

    return Compiled(read, written, named)


def _parsed(schema: Schema, named: dict[str, Any], done: set[str], logical: str) -> Any:
    for reference in schema.references:
        if reference.schema.text not in done:
            done.add(reference.schema.text)
            _parsed(reference.schema, named, done, logical)
    try:
        return fastavro.parse_schema(_ours(json.loads(schema.text), logical), named)
    except json.JSONDecodeError:
        raise
    except _MALFORMED as error:
        raise ValueError(str(error) or type(error).__name__) from error


def _ours(schema: Any, logical: str) -> Any:
    """A copy of a schema without defaults, whose logical types are read by this module.

    fastavro rounds decimals to their declared precision, and fails for timestamps outside Python's
    range. Defaults are not needed: they matter only to readers with a separate schema.
    """
    if isinstance(schema, list):
        return [_ours(each, logical) for each in schema]
    if not isinstance(schema, dict):
        return schema
    ours = {key: value for key, value in schema.items() if key != "default"}
    for key in ("type", "items", "values"):
        if key in ours:
            ours[key] = _ours(ours[key], logical)
    if isinstance(ours.get("fields"), list):
        ours["fields"] = [_ours(field, logical) for field in ours["fields"]]
    if isinstance(ours.get("logicalType"), str):
        ours["logicalType"] = logical + ours["logicalType"]
    return ours


def _children(schema: Any) -> Iterator[Any]:
    if isinstance(schema, list):
        yield from schema
    elif isinstance(schema, dict):
        yield from (field["type"] for field in schema.get("fields", ()))
        yield from (schema[key] for key in ("items", "values") if key in schema)


def _named(schema: Any, named: dict[str, Any]) -> Any:
    return named.get(schema, schema) if isinstance(schema, str) else schema


def _holds_itself(
    schema: Any, named: dict[str, Any], around: tuple[str, ...], done: set[str]
) -> bool:
    schema = _named(schema, named)
    name = schema.get("name") if isinstance(schema, dict) else None
    if name in around:
        return True
    if name in done:
        return False
    if name:
        around = (*around, name)
        done.add(name)
    return any(_holds_itself(child, named, around, done) for child in _children(schema))


def _problem(written: Any, named: dict[str, Any], records: bool) -> str | None:
    """Why a valid Avro schema is refused; None if it can be used."""
    tops = written if isinstance(written, list) else [written]
    tops = [_named(top, named) for top in tops]
    if records and not any(isinstance(top, dict) and top["type"] in _OBJECTS for top in tops):
        return "it does not describe a record"
    # If items take no bytes, an event of ten bytes can claim 2^60 of them and fill the memory.
    if any(_takes_no_bytes(items, named) for items in _all_items([written, *named.values()])):
        return "it has an array of items that take no bytes"
    return None


def _all_items(schema: Any) -> Iterator[Any]:
    if isinstance(schema, dict) and schema.get("type") == "array":
        yield schema["items"]
    for child in _children(schema):
        yield from _all_items(child)


def _takes_no_bytes(schema: Any, named: dict[str, Any], around: tuple[str, ...] = ()) -> bool:
    schema = _named(schema, named)
    if not isinstance(schema, dict):
        return schema == "null"
    if schema["type"] in ("record", "error"):
        name = schema["name"]
        return name in around or all(
            _takes_no_bytes(field["type"], named, (*around, name)) for field in schema["fields"]
        )
    return schema["type"] == "null" or schema.get("size") == 0


def _decimal(data: bytes, schema: dict[str, Any], _: Any = None) -> str:
    scale = schema.get("scale", 0)
    if not isinstance(scale, int):
        raise ValueError(f"its schema has a decimal of scale `{scale}`")
    return values.decimal(int.from_bytes(data, "big", signed=True), scale)


def _uuid(data: bytes, *_: Any) -> str:
    return str(UUID(bytes=data))


def _moments(per_second: int, zone: str = "Z") -> Callable[..., str | int]:
    return lambda count, *_: values.moment(count, per_second, zone)


def _times(per_second: int) -> Callable[..., str | int]:
    return lambda count, *_: values.time_of_day(count, per_second)


_LOGICAL: dict[tuple[str, str], Callable[..., Any]] = {
    ("bytes", "decimal"): _decimal,
    ("fixed", "decimal"): _decimal,
    ("fixed", "uuid"): _uuid,
    ("int", "date"): lambda count, *_: values.day(count),
    ("int", "time-millis"): _times(1000),
    ("long", "time-micros"): _times(1_000_000),
    ("long", "timestamp-millis"): _moments(1000),
    ("long", "timestamp-micros"): _moments(1_000_000),
    ("long", "timestamp-nanos"): _moments(1_000_000_000),
    ("long", "local-timestamp-millis"): _moments(1000, ""),
    ("long", "local-timestamp-micros"): _moments(1_000_000, ""),
    ("long", "local-timestamp-nanos"): _moments(1_000_000_000, ""),
}
# fastavro's registry of logical types is global; the prefix protects other users of fastavro.
LOGICAL_READERS.update({f"{kind}-{_OURS}{name}": read for (kind, name), read in _LOGICAL.items()})
