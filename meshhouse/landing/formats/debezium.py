"""Debezium: the state of a row after each change of a database table.

Belongs here: envelopes, what Kafka Connect's JSON converter makes of them, deletions, and the
position of a change in its source. Not here: what the Avro converter writes (debezium_avro.py),
single values (debezium_values.py), or deletions as rows (decode.py).

Debezium writes all changes of one key to one
partition in the source's order, so `newest_per_key` finds the last state of each row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import pyarrow as pa

from meshhouse.landing.documents import json_text, parsed
from meshhouse.landing.formats import values
from meshhouse.landing.formats.debezium_values import converted, fields_of
from meshhouse.landing.formats.errors import BadDeclaration, Unreadable
from meshhouse.landing.formats.marks import DELETED
from meshhouse.repository import RawTable
from meshhouse.repository.types import parse_type

_STATES = {"c": "after", "u": "after", "r": "after", "d": "before"}
_TOO_DEEP = "is nested deeper than the stack allows"
_REFUSED = {
    "t": "truncates the whole table, which no row can show. Take a new snapshot with the connector "
    "into a new topic",
    "m": "is a message of the database's log and not a change of a row",
}


class Converter(Protocol):
    """Reads what a converter of Kafka Connect wrote. Not thread-safe."""

    flat: str
    """The format to declare for events that the connector has flattened."""

    def start_batch(self) -> None:
        """Called before the events of each batch."""
        ...

    def value(self, value: bytes) -> tuple[Any, Any]:
        """Kafka Connect's schema of an event, None without one; and its payload.

        Raises:
            Unreadable: it is not what the converter writes.
            RecursionError: it is nested deeper than the rest of the stack allows.
        """
        ...

    def key(self, key: bytes) -> bytes:
        """A key without its schema, because the schema of equal keys may change.

        Raises:
            Unreadable: it cannot be written as JSON.
        """
        ...


class JsonConverter:
    """Reads JSON, with and without schemas."""

    flat = "json"

    def start_batch(self) -> None:
        """See `Converter`."""

    def value(self, value: bytes) -> tuple[Any, Any]:
        """See `Converter`."""
        document = parsed(value)
        if document.keys() != {"schema", "payload"}:
            return None, document
        if document["payload"] is None:
            raise Unreadable("is a Debezium envelope without a payload")
        return document["schema"], document["payload"]

    def key(self, key: bytes) -> bytes:
        """See `Converter`."""
        if not key.lstrip().startswith(b"{"):
            return key
        try:
            document = parsed(key)
        except Unreadable:
            return key
        except RecursionError:
            raise Unreadable(f"has a key that {_TOO_DEEP}") from None
        schema = document.get("schema")
        is_wrapped = document.keys() == {"schema", "payload"} and isinstance(schema, Mapping)
        try:
            return json_text(document["payload"] if is_wrapped else document).encode()
        except Unreadable as unreadable:
            raise Unreadable(f"has a key that {unreadable}") from None
        except RecursionError:
            raise Unreadable(f"has a key that {_TOO_DEEP}") from None


class Changes:
    """Reads change events of one table. Not thread-safe."""

    def __init__(self, raw: RawTable, converter: Converter) -> None:
        """Takes the declared types, which decide how values are read.

        Raises:
            BadDeclaration: the topic is not declared as a changelog.
        """
        if not raw.changelog:
            raise BadDeclaration(
                raw.path,
                raw.line,
                f"{raw.relation} has the format {raw.format}, whose events replace and delete "
                "rows.",
                "Add `changelog: true` to its config.meta.",
            )
        self._converter = converter
        self._columns = {
            column.name: (parse_type(column.data_type), frozenset(filter(None, [column.encoding])))
            for column in raw.columns
        }

    def as_json(self, events: pa.Table) -> pa.Table:
        """See `meshhouse.landing.formats.Format`; also unwraps keys, and marks deletions."""
        texts: list[bytes | None] = []
        reasons: list[str | None] = []
        deleted: list[bool] = []
        keys: list[bytes | None] = []
        self._converter.start_batch()
        for key, value in zip(events["key"].to_pylist(), events["value"].to_pylist(), strict=True):
            text, reason, is_deletion = None, None, False
            try:
                if value is not None:
                    row, is_deletion = self._row(*self._converter.value(value))
                    text = json_text(row).encode()
                key = None if key is None else self._converter.key(key)
            except Unreadable as unreadable:
                reason = str(unreadable)
            except RecursionError:
                reason = _TOO_DEEP
            texts.append(text if reason is None else None)
            reasons.append(reason)
            deleted.append(is_deletion)
            keys.append(key)
        kind = events.schema.field("key").type
        for name, array in (("key", pa.array(keys, kind)), ("value", pa.array(texts, pa.binary()))):
            events = events.set_column(events.schema.get_field_index(name), name, array)
        events = events.append_column("reason", pa.array(reasons, pa.string()))
        return events.append_column(DELETED, pa.array(deleted, pa.bool_()))

    def _row(self, schema: Any, payload: Any) -> tuple[dict[str, Any], bool]:
        """The state of a row as JSON values, and whether the change deletes it."""
        if not isinstance(payload, Mapping) or not {"op", "source"} <= payload.keys():
            raise Unreadable(
                "is not a Debezium envelope with `op` and `source`. If the connector flattens its "
                f"events, declare `format: {self._converter.flat}`"
            )
        op = str(payload["op"])
        if op in _REFUSED:
            raise Unreadable(_REFUSED[op])
        if op not in _STATES:
            raise Unreadable(f"has the unknown operation `{str(op)[:20]}`")
        facts = self._facts(payload)
        if op == "d":
            return facts, True
        state = payload.get("after")
        if not isinstance(state, Mapping):
            raise Unreadable(f"has the operation `{op}`, but no object `after`")
        kinds = fields_of(fields_of(schema).get("after"))
        row: dict[str, Any] = {}
        for name, value in state.items():
            if name in self._columns:
                kind, encodings = self._columns[name]
                value = converted(value, kinds.get(name), kind, encodings, name)
            row[name] = value
        return {**facts, **row}, False

    def _facts(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Facts about a change, for the columns that declare them."""
        source = payload["source"] if isinstance(payload["source"], Mapping) else {}
        return {
            name: fact(payload, source) for name, fact in _FACTS.items() if name in self._columns
        }


def _moment_of(millis: Any) -> Any:
    text = str(millis)
    return str(values.moment(int(text), 1000)) if re.fullmatch("-?[0-9]{1,20}", text) else None


def position(source: Mapping[str, Any]) -> str | None:
    """The place of a change in its source's log, as a text that sorts like the log.

    None for connectors whose log has no such order.
    """
    connector = source.get("connector")
    if connector == "postgresql" and source.get("lsn") is not None:
        return _padded(source["lsn"])
    if connector in ("mysql", "mariadb") and source.get("file"):
        number = str(source["file"]).rpartition(".")[2]
        parts = [number, source.get("pos"), source.get("row") or 0]
        padded = [_padded(each) for each in parts]
        return ":".join(each for each in padded if each) if all(padded) else None
    if connector == "sqlserver" and source.get("commit_lsn"):
        serial = _padded(source.get("event_serial_no") or 0)
        return f"{source['commit_lsn']}:{source.get('change_lsn') or ''}:{serial}"
    if connector == "oracle" and source.get("scn"):
        return _padded(source["scn"])
    return None


def _padded(number: Any) -> str | None:
    text = str(number)
    return text.zfill(20) if re.fullmatch("[0-9]{1,20}", text) else None


_FACTS: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any]], Any]] = {
    "__op": lambda payload, source: payload["op"],
    "__position": lambda payload, source: position(source),
    "__source_time": lambda payload, source: _moment_of(source.get("ts_ms")),
    "__table": lambda payload, source: source.get("table"),
}
"""Columns that a declaration may have in addition to those of the source's table."""
