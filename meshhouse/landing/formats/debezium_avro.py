"""Debezium's events in Avro, in the form of those in JSON with a schema.

Belongs here: Avro's schema of an envelope as Kafka Connect's schema, and keys in Avro. Not here:
envelopes (debezium.py), reading Avro (avro.py), or single values (debezium_values.py).

Confluent's and Apicurio's Avro converters write the name of a logical type of Kafka Connect as
`connect.name`, and its parameters as `connect.parameters`. Values are the same as in JSON: counts,
texts, and unscaled bytes of decimals. So they are read without Avro's logical types, and one module
decides for both what a value means.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshhouse.landing.documents import parsed
from meshhouse.landing.formats import avro
from meshhouse.landing.formats.debezium import JsonConverter
from meshhouse.landing.formats.errors import Unreadable
from meshhouse.landing.formats.schema_registry import Schema
from meshhouse.landing.formats.wire import Reader, Schemas, is_framed

_CONNECT, _DEBEZIUM = "org.apache.kafka.connect.data.", "io.debezium.time."
_LOGICAL = {
    ("bytes", "decimal"): f"{_CONNECT}Decimal",
    ("fixed", "decimal"): f"{_CONNECT}Decimal",
    ("int", "date"): f"{_DEBEZIUM}Date",
    ("int", "time-millis"): f"{_DEBEZIUM}Time",
    ("long", "time-micros"): f"{_DEBEZIUM}MicroTime",
    ("long", "timestamp-millis"): f"{_DEBEZIUM}Timestamp",
    ("long", "timestamp-micros"): f"{_DEBEZIUM}MicroTimestamp",
    ("long", "timestamp-nanos"): f"{_DEBEZIUM}NanoTimestamp",
    ("long", "local-timestamp-millis"): f"{_DEBEZIUM}Timestamp",
    ("long", "local-timestamp-micros"): f"{_DEBEZIUM}MicroTimestamp",
    ("long", "local-timestamp-nanos"): f"{_DEBEZIUM}NanoTimestamp",
}
"""Avro's type and logical type -> the name that stands for the same encoding."""
_BYTES = ("bytes", "fixed")


class AvroConverter:
    """Reads Avro, with the schemas that events name in a registry. See `debezium.Converter`."""

    flat = "avro"

    def __init__(self, place: str) -> None:
        """`place` is the topic's declaration."""
        self._values = Schemas("AVRO", place, _envelope)
        self._keys = Schemas("AVRO", place, _key)
        self._json = JsonConverter()

    def start_batch(self) -> None:
        """See `Converter`."""
        self._values.start_batch()
        self._keys.start_batch()

    def value(self, value: bytes) -> tuple[Any, Any]:
        """See `Converter`."""
        (schema, read), data = self._values.open(value)
        return schema, parsed(read(data).encode())

    def key(self, key: bytes) -> bytes:
        """See `Converter`. Kafka Connect sets the converter of keys apart from that of values."""
        if not is_framed(key):
            return self._json.key(key)
        try:
            read, data = self._keys.open(key)
            return read(data).encode()
        except Unreadable as unreadable:
            raise Unreadable(f"has a key that {unreadable}") from None


def _envelope(schema: Schema) -> tuple[Mapping[str, Any], Reader]:
    compiled = avro.compiled(schema, avro.RAW)
    return _connect(compiled.written, compiled.named, {}), compiled.read


def _key(schema: Schema) -> Reader:
    return avro.compiled(schema, avro.RAW, records=False).read


def _connect(
    schema: Any, named: Mapping[str, Any], done: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Kafka Connect's schema of an Avro schema; `done` holds the records that are known by name."""
    if isinstance(schema, list):
        kinds = [_connect(each, named, done) for each in schema if each != "null"]
        if len(kinds) == 1:
            return kinds[0]
        # The value does not say its type. As bytes, it is never taken for a number.
        return {"type": "bytes" if any(each["type"] == "bytes" for each in kinds) else "union"}
    if isinstance(schema, str):
        return _connect(named[schema], named, done) if schema in named else {"type": schema}
    kind, name = schema["type"], schema.get("name")
    if not isinstance(kind, str):
        return _connect(kind, named, done)
    if name in done:
        return done[name]
    made: dict[str, Any] = {"type": "bytes" if kind in _BYTES else kind, **_logical(schema)}
    if kind in ("record", "error"):
        fields = made["fields"] = []
        done[name] = made
        fields += [
            {**_connect(field["type"], named, done), "field": field["name"]}
            for field in schema["fields"]
        ]
    elif kind == "array":
        made["items"] = _connect(schema["items"], named, done)
    elif kind == "map":
        made["values"] = _connect(schema["values"], named, done)
    return made


def _logical(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The name and the parameters of a logical type."""
    logical = str(schema.get("logicalType") or "").removeprefix(avro.RAW)
    found = _LOGICAL.get((schema["type"], logical))
    parameters = schema.get("connect.parameters")
    parameters = dict(parameters) if isinstance(parameters, Mapping) else {}
    if logical == "decimal" and found:
        parameters["scale"] = schema.get("scale", 0)
    return {"name": found or schema.get("connect.name"), "parameters": parameters}
