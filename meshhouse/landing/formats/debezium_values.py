"""Debezium's values, read by the declared type of their column.

Belongs here: Kafka Connect's and Debezium's logical types as JSON that landing converts. Not here:
envelopes (debezium.py), or the conversion to types (landing/convert.py).

An event with a schema says how each value is encoded. Without a schema, a time could be a number of
milliseconds or of microseconds, and `1234` a decimal or base64. Then the declaration must say which
(`encoding`); otherwise the event is rejected.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from meshhouse.landing.documents import is_number, parsed_value
from meshhouse.landing.formats import values
from meshhouse.landing.formats.errors import Unreadable
from meshhouse.repository.datatype import DataType

_MISSING = "__debezium_unavailable_value"
_MISSING_BYTES = base64.b64encode(_MISSING.encode()).decode()
_TIMES = ("timestamp", "timestamptz")
_PER_SECOND = {"milliseconds": 1_000, "microseconds": 1_000_000, "nanoseconds": 1_000_000_000}
_CONNECT, _DEBEZIUM = "org.apache.kafka.connect.data.", "io.debezium.time."
_MOMENTS = {
    f"{_CONNECT}Timestamp": 1_000,
    f"{_DEBEZIUM}Timestamp": 1_000,
    f"{_DEBEZIUM}MicroTimestamp": 1_000_000,
    f"{_DEBEZIUM}NanoTimestamp": 1_000_000_000,
}
"""Logical type -> parts of a second that it counts, since 1970 and without a zone."""
_CLOCKS = {
    f"{_CONNECT}Time": 1_000,
    f"{_DEBEZIUM}Time": 1_000,
    f"{_DEBEZIUM}MicroTime": 1_000_000,
    f"{_DEBEZIUM}NanoTime": 1_000_000_000,
}
_DATES = (f"{_CONNECT}Date", f"{_DEBEZIUM}Date")
_ISO = tuple(f"{_DEBEZIUM}{each}" for each in ("IsoDate", "IsoTime", "IsoTimestamp"))
"""Texts of times without a zone, at whose end Debezium writes `Z` all the same."""
_DECIMAL = f"{_CONNECT}Decimal"
_VARIABLE = "io.debezium.data.VariableScaleDecimal"


def converted(
    value: Any,
    schema: Mapping[str, Any] | None,
    kind: DataType,
    encodings: frozenset[str],
    path: str,
) -> Any:
    """A value as JSON that converts to its declared type.

    Args:
        value: as parsed; numbers are texts with their digits.
        schema: Kafka Connect's schema of the value; None if the event has none.
        kind: the declared type.
        encodings: how the declaration says that values without a schema are encoded, at every
            level: the column's `encoding`, if it has one.
        path: the field, for messages.

    Raises:
        Unreadable: the value cannot be placed; the message says why.
    """
    if value is None:
        return None
    if value in (_MISSING, _MISSING_BYTES):
        raise Unreadable(
            f"field `{path}`: the database did not log this value, because it is large and did not "
            "change. Set REPLICA IDENTITY FULL for the table"
        )
    if kind.kind == "boolean" and is_number(value) and value in ("0", "1"):
        return value == "1"  # MySQL's boolean is tinyint(1)
    if kind.is_nested:
        return _nested(value, schema, kind, encodings, path)
    if schema is None:
        return _without_schema(value, kind, encodings, path)
    return _with_schema(value, schema, kind, path)


def _with_schema(value: Any, schema: Mapping[str, Any], kind: DataType, path: str) -> Any:
    name = str(schema.get("name") or "")
    if name == _DECIMAL:
        parameters = schema.get("parameters")
        scale = parameters.get("scale") if isinstance(parameters, Mapping) else None
        return _decimal(value, scale, path)
    if name == _VARIABLE and isinstance(value, Mapping):
        return _decimal(value.get("value"), value.get("scale"), path)
    if schema.get("type") == "bytes" and kind.kind != "string":
        raise Unreadable(
            f"field `{path}`: `{str(value)[:100]}` is bytes in base64 and not a {kind}. Declare "
            "`string` and decode it in staging"
        )
    if kind.kind in ("bigint", "integer"):
        return value  # the count itself was asked for
    if name in (*_MOMENTS, *_DATES, *_CLOCKS):
        return _time(name, value, path)
    if name in _ISO:
        return str(value).removesuffix("Z")
    if not name and kind.kind in ("date", *_TIMES, "decimal") and is_number(value):
        if kind.kind == "decimal":
            return value  # `decimal.handling.mode` is double
        raise Unreadable(f"field `{path}`: `{value}` is a number without a logical type of time")
    return value


def _time(name: str, value: Any, path: str) -> str:
    """The text of a count that has a logical type of time."""
    if name in _MOMENTS:
        return _moment(value, _MOMENTS[name], path)
    if name in _DATES:
        return _day(value, path)
    return _text_of(values.time_of_day(_count(value, path), _CLOCKS[name]), "time of day", path)


def _without_schema(value: Any, kind: DataType, encodings: frozenset[str], path: str) -> Any:
    if kind.kind == "date" and is_number(value):
        return _day(value, path)  # as numbers, dates are always days
    if kind.kind in _TIMES and is_number(value):
        per_second = next((n for word, n in _PER_SECOND.items() if word in encodings), None)
        if per_second is None:
            raise Unreadable(
                f"field `{path}`: `{value}` counts parts of a second, but the event has no schema "
                f"that says which. Declare `encoding`: {', '.join(_PER_SECOND)}"
            )
        return _moment(value, per_second, path)
    if kind.kind == "decimal" and not is_number(value):
        if "text" in encodings:
            return value
        if "base64" not in encodings:
            raise Unreadable(
                f"field `{path}`: `{str(value)[:100]}` may be a decimal or base64, and the event "
                "has no schema that says which. Declare `encoding`: text, or base64 for unscaled "
                f"bytes with a scale of {kind.scale}"
            )
        return _decimal(value, kind.scale, path)
    return value


def _nested(
    value: Any,
    schema: Mapping[str, Any] | None,
    kind: DataType,
    encodings: frozenset[str],
    path: str,
) -> Any:
    """A struct, array or map; each part is converted by its own schema and type."""
    schema = schema or {}
    if isinstance(value, str) and schema.get("name") in ("io.debezium.data.Json", None):
        value = parsed_value(value, path)  # a column of JSON in the source
        schema = {}
        encodings |= {"text"}  # JSON holds no unscaled bytes of decimals
    if kind.kind == "struct" and isinstance(value, Mapping):
        fields = fields_of(schema)
        types = {part.name: part.type for part in kind.parts}
        return {
            name: _part(each, fields.get(name), types.get(name), encodings, f"{path}.{name}")
            for name, each in value.items()
        }
    if kind.kind == "array" and isinstance(value, list):
        items, of = schema.get("items"), kind.parts[0].type
        return [_part(each, items, of, encodings, f"{path}[{at}]") for at, each in enumerate(value)]
    if kind.kind == "map" and isinstance(value, Mapping):
        items, of = schema.get("values"), kind.parts[1].type
        return {
            key: _part(each, items, of, encodings, f"{path}[{key}]") for key, each in value.items()
        }
    return value  # landing rejects it


def fields_of(schema: Any) -> dict[str, Mapping[str, Any]]:
    """Field -> its schema, of Kafka Connect's schema of a struct; empty for anything else."""
    listed = schema.get("fields") if isinstance(schema, Mapping) else None
    fields = [each for each in listed if isinstance(each, Mapping)] if type(listed) is list else []
    return {str(each.get("field")): each for each in fields}


def _part(
    value: Any, schema: Any, kind: DataType | None, encodings: frozenset[str], path: str
) -> Any:
    if kind is None:
        return value
    known = schema if isinstance(schema, Mapping) else None
    return converted(value, known, kind, encodings, path)


def _moment(value: Any, per_second: int, path: str) -> str:
    return _text_of(values.moment(_count(value, path), per_second, ""), "timestamp", path)


def _day(value: Any, path: str) -> str:
    return _text_of(values.day(_count(value, path)), "date", path)


def _text_of(time: str | int, what: str, path: str) -> str:
    """A time as text; a count that no text stands for must not become one in a string column."""
    if isinstance(time, str):
        return time
    raise Unreadable(
        f"field `{path}`: `{time}` is not a valid {what}, and may be the database's infinity. "
        "Declare `bigint` to keep the count"
    )


def _count(value: Any, path: str) -> int:
    text = str(value)
    if not re.fullmatch(r"-?[0-9]{1,20}", text):
        raise Unreadable(f"field `{path}`: `{text[:100]}` is not a count")
    return int(text)


def _decimal(value: Any, scale: Any, path: str) -> str:
    """A decimal from its unscaled bytes in base64."""
    text = str(scale)
    if not re.fullmatch(r"-?[0-9]{1,4}", text):
        raise Unreadable(f"field `{path}`: its schema has no scale")
    try:
        data = base64.b64decode(str(value), validate=True)
        return values.decimal(int.from_bytes(data, "big", signed=True), int(text))
    except (binascii.Error, ValueError) as error:
        shown = str(value)[:100]
        raise Unreadable(f"field `{path}`: `{shown}` is not a decimal in base64") from error
