"""Events that begin with the id of their schema, and the loop over events.

Belongs here: Confluent's wire format (a zero byte, four bytes of schema id, then the value), and
rejecting events without it. Not here: fetching schemas (schema_registry.py), or reading values
(avro.py, protobuf.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import pyarrow as pa

from meshhouse.landing.formats.errors import Unreadable
from meshhouse.landing.formats.schema_registry import Schema, SchemaRegistry

Reader = Callable[[bytes], str]
"""Converts the bytes of an event to JSON; raises `Unreadable`."""
Compiled = TypeVar("Compiled")

_HEADER = 5
_MAX_ID = 2**31 - 1


def with_json(
    events: pa.Table, values: pa.ChunkedArray | pa.Array, reasons: pa.ChunkedArray | pa.Array
) -> pa.Table:
    """`events` with other values, and with reasons for the missing ones."""
    place = events.schema.get_field_index("value")
    replaced = events.set_column(place, pa.field("value", pa.binary()), values.cast(pa.binary()))
    return replaced.append_column(pa.field("reason", pa.string()), reasons)


def each_as_json(events: pa.Table, read: Reader) -> pa.Table:
    """`events` with each value converted to JSON by `read`."""
    texts: list[str | None] = []
    reasons: list[str | None] = []
    for value in events["value"].to_pylist():
        text = reason = None
        if value is not None:
            try:
                text = read(value)
            except Unreadable as unreadable:
                reason = str(unreadable)
        texts.append(text)
        reasons.append(reason)
    return with_json(events, pa.array(texts, pa.string()), pa.array(reasons, pa.string()))


class Schemas(Generic[Compiled]):
    """What is compiled from the schemas of a registry. Each schema is fetched once."""

    def __init__(self, kind: str, place: str, compile_schema: Callable[[Schema], Compiled]) -> None:
        """`kind` is the registry's name of the format, `place` the topic's declaration."""
        self._kind = kind
        self._place = place
        self._compile = compile_schema
        self._registry: SchemaRegistry | None = None
        self._compiled: dict[int, Compiled] = {}
        self._refused: dict[int, str] = {}

    def start_batch(self) -> None:
        """Forgets which schemas were refused, because the registry may know them later."""
        self._refused.clear()

    def open(self, value: bytes) -> tuple[Compiled, bytes]:
        """What is compiled from the schema that a value names, and the rest of the value.

        Raises:
            Unreadable: the value names no schema, or one that cannot be used.
            MeshError: the registry is unreachable, or is not set.
        """
        schema_id = _schema_id(value)
        if schema_id in self._refused:
            raise Unreadable(self._refused[schema_id])
        if schema_id not in self._compiled:
            try:
                self._compiled[schema_id] = self._fetched(schema_id)
            except Unreadable as unreadable:
                self._refused[schema_id] = str(unreadable)
                raise
        return self._compiled[schema_id], value[_HEADER:]

    def _fetched(self, schema_id: int) -> Compiled:
        # Connect when the first event needs a schema: reading a topic's columns needs no registry.
        if self._registry is None:
            self._registry = SchemaRegistry.from_environment(
                self._place, serialized=self._kind == "PROTOBUF"
            )
        schema = self._registry.schema(schema_id)
        if schema is None:
            raise Unreadable(f"names schema {schema_id}, which the schema registry does not know")
        if schema.kind != self._kind:
            raise Unreadable(f"names schema {schema_id}, which is {schema.kind}, not {self._kind}")
        try:
            return self._compile(schema)
        except (ValueError, RecursionError) as error:
            raise Unreadable(f"names schema {schema_id}, which cannot be used: {error}") from error


class Framed:
    """Reads events with the schema that each names."""

    def __init__(self, kind: str, place: str, compile_schema: Callable[[Schema], Reader]) -> None:
        """See `Schemas`."""
        self._schemas = Schemas(kind, place, compile_schema)

    def as_json(self, events: pa.Table) -> pa.Table:
        """See `meshhouse.landing.formats.Format`."""
        self._schemas.start_batch()
        return each_as_json(events, self._read)

    def _read(self, value: bytes) -> str:
        reader, payload = self._schemas.open(value)
        return reader(payload)


def is_framed(value: bytes) -> bool:
    """Whether a value begins as in the wire format, which no JSON does."""
    return len(value) >= _HEADER and value[0] == 0


def _schema_id(value: bytes) -> int:
    schema_id = int.from_bytes(value[1:_HEADER], "big")
    if not is_framed(value) or schema_id > _MAX_ID:
        raise Unreadable(
            "is not in the wire format of a schema registry (a zero byte and four bytes of "
            f"schema id first): it begins with 0x{value[:_HEADER].hex()}"
        )
    return schema_id
