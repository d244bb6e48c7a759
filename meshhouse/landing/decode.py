"""From the bytes of events to typed rows, and to the reasons why some are none.

Belongs here: what a JSON event must look like to become a row, as one SQL statement
that DuckDB runs over Arrow, thousands of events at once. Does not: how events of other
formats become JSON (formats/), where events come from, or where rows go (land.py).

A value converts only if nothing is lost: `1.5` is no integer and `1.999` is no
decimal(12,2), where a plain SQL cast would round.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from meshhouse.lake.scan import literal, quote
from meshhouse.landing.formats import format_of
from meshhouse.repository import RawTable
from meshhouse.repository.types import DataType, parse_type

METADATA_COLUMNS: tuple[tuple[str, DataType], ...] = (
    ("_rescued", DataType("string")),
    ("_topic_partition", DataType("integer")),
    ("_offset", DataType("bigint")),
    ("_timestamp", DataType("timestamptz")),
    ("_key", DataType("string")),
    ("_tombstone", DataType("boolean")),
    ("_landed_at", DataType("timestamptz")),
)
REJECTED_COLUMNS: tuple[tuple[str, DataType], ...] = (
    ("_topic_partition", DataType("integer")),
    ("_offset", DataType("bigint")),
    ("_timestamp", DataType("timestamptz")),
    ("_key", DataType("string")),
    ("value", DataType("binary")),
    ("reason", DataType("string")),
    ("_landed_at", DataType("timestamptz")),
)


@dataclass(frozen=True)
class Decoded:
    """What became of one batch of events."""

    rows: pa.Table
    """Columns of the raw table, declared columns first."""
    rejected: pa.Table
    """`REJECTED_COLUMNS`."""


class Decoder:
    """Decodes the events of one raw table. Not thread-safe."""

    def __init__(self, raw: RawTable) -> None:
        """One connection and one core a decoder: several of them work side by side."""
        self._raw = raw
        self._format = format_of(raw)
        self._columns = [(column, parse_type(column.data_type)) for column in raw.columns]
        self._connection = duckdb.connect(config={"threads": 1})
        self._connection.execute("set TimeZone = 'UTC'")

    @property
    def columns(self) -> list[tuple[str, DataType]]:
        """Names and types of the raw table."""
        return [(column.name, kind) for column, kind in self._columns] + list(METADATA_COLUMNS)

    def decode(self, partition: int, events: pa.Table, landed_at: datetime) -> Decoded:
        """Types a batch of events of one partition.

        Args:
            partition: the partition that they come from.
            events: in the shape of `meshhouse.events.source.EVENT_SCHEMA`.
            landed_at: the time of the commit that they will be part of.
        """
        original = events["value"]
        if self._format:
            events = self._format.as_json(events)
        else:
            events = events.append_column("reason", pa.nulls(events.num_rows, pa.string()))
        events = _without_abysses(_in_our_era(events)).append_column("original", original)
        self._connection.register("events", events)
        try:
            decoded = self._connection.execute(
                self._statement, {"partition": partition, "landed_at": landed_at}
            ).to_arrow_table()
        finally:
            self._connection.unregister("events")
        names = [name for name, _ in self.columns]
        # To filter is to copy: what DuckDB allocated goes back here, in the thread that
        # asked for it. Freed elsewhere it is never used again (200 MiB in 3 million events).
        good = pc.is_null(decoded["__reason"])
        return Decoded(
            decoded.filter(good).select(names),
            self._rejected(decoded.filter(pc.invert(good))),
        )

    def _rejected(self, decoded: pa.Table) -> pa.Table:
        names = [name for name, _ in REJECTED_COLUMNS]
        held = [f"__{name}" if name in ("value", "reason") else name for name in names]
        return decoded.select(held).rename_columns(names)

    @cached_property
    def _statement(self) -> str:
        fields = [(f"__doc.{quote(column.name)}", column, kind) for column, kind in self._columns]
        structure = literal(json.dumps({column.name: "VARCHAR" for column, _ in self._columns}))
        without_declared = literal(json.dumps({column.name: None for column, _ in self._columns}))
        converted = ", ".join(
            f"{_convert(field, kind)} as {quote(column.name)}" for field, column, kind in fields
        )
        present = " + ".join(f"({field} is not null)::integer" for field, _, _ in fields)
        deletion = "__event is null" if self._raw.changelog else "false"
        # Two underscores: a topic may well have columns `value`, `text` or `reason`.
        return f"""
            with texts as (
                select
                    "offset" as _offset,
                    "timestamp"::timestamptz as _timestamp,
                    coalesce(try(decode(key)), key::varchar) as _key,
                    original as __event,
                    reason as __unreadable,
                    try(decode(value)) as __text,
                from events
            ),
            documents as (
                select
                    *,
                    coalesce(json_valid(__text), false) as __is_json,
                    __is_json and starts_with(ltrim(__text, e' \\t\\r\\n'), '{{') as __is_object,
                    case when __is_object then __text end as __object,
                    json_transform(__object, {structure}) as __doc,
                from texts
            ),
            rows as (
                select
                    {converted},
                    case
                        when len(json_keys(__object)) > {present}
                            then nullif(
                                json_merge_patch(__object, {without_declared})::varchar, '{{}}'
                            )
                    end as _rescued,
                    $partition::integer as _topic_partition,
                    _offset, _timestamp, _key,
                    {deletion} as _tombstone,
                    $landed_at::timestamptz as _landed_at,
                    __doc, __text, __unreadable, __is_json, __is_object, __event,
                from documents
            )
            select
                * exclude (__doc, __text, __unreadable, __is_json, __is_object, __event),
                case {self._reasons(fields)} end as __reason,
                case when __reason is not null then __event end as __value,
            from rows
        """

    def _reasons(self, fields: list) -> str:
        cases = [("_tombstone", "null")]
        if not self._raw.changelog:
            cases.append(
                ("__event is null", literal("has no value (a tombstone); only a changelog may"))
            )
        cases += [
            ("__unreadable is not null", "__unreadable"),
            ("__text is null", literal("is not valid UTF-8")),
            ("not __is_json", literal("is no JSON")),
            ("not __is_object", literal("is JSON, but not an object")),
        ]
        cases += [
            (f"{field} is null", literal(f"misses the required field `{column.name}`"))
            for field, column, _ in fields
            if column.required
        ]
        cases += [
            (
                f"{quote(column.name)} is null and {field} is not null",
                f"{literal(f'field `{column.name}`: `')} || left({field}, 100) || "
                f"{literal(f'` is no {kind}')}",
            )
            for field, column, kind in fields
            if kind.kind != "string"
        ]
        return " ".join(f"when {condition} then {reason}" for condition, reason in cases)


def _in_our_era(events: pa.Table) -> pa.Table:
    """Without times that no date can hold: producers set them, and some mix up their units."""
    index = events.schema.get_field_index("timestamp")
    millis = events["timestamp"].cast(pa.int64())
    bounds = pc.min_max(millis).as_py()
    if bounds["min"] is None or (bounds["min"] >= _FIRST_MILLI and bounds["max"] <= _LAST_MILLI):
        return events
    fits = pc.and_(pc.greater_equal(millis, _FIRST_MILLI), pc.less_equal(millis, _LAST_MILLI))
    kept = pc.if_else(fits, events["timestamp"], pa.scalar(None, events["timestamp"].type))
    return events.set_column(index, pa.field("timestamp", kept.type), kept)


_FIRST_MILLI = int(datetime(1, 1, 1, tzinfo=UTC).timestamp() * 1000)
_LAST_MILLI = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp() * 1000)


def _without_abysses(events: pa.Table) -> pa.Table:
    """Without values nested so deep that a parser's stack ends before they do.

    DuckDB 1.5.5 takes the whole process with it, for a value of 300,000 brackets.
    """
    long = pc.greater(pc.binary_length(events["value"]), 2 * DEEPEST)
    if not pc.any(long).as_py():
        return events
    values, reasons = events["value"].to_pylist(), events["reason"].to_pylist()
    for number in pc.indices_nonzero(long.combine_chunks().fill_null(False)).to_pylist():
        value = values[number]
        if value.count(b"[") + value.count(b"{") > DEEPEST and _depth(value) > DEEPEST:
            values[number], reasons[number] = None, f"is nested deeper than {DEEPEST}"
    for name, kept in (("value", values), ("reason", reasons)):
        index, kind = events.schema.get_field_index(name), events.schema.field(name).type
        events = events.set_column(index, pa.field(name, kind), pa.array(kept, kind))
    return events


DEEPEST = 500
"""Brackets within brackets that an event may have."""
_TEXTS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)


def _depth(value: bytes) -> int:
    """How deep the brackets of a JSON text go."""
    deepest = depth = 0
    for sign in re.findall(rb"[\[\]{}]", _TEXTS.sub(b"", value)):
        depth += 1 if sign in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _convert(field: str, kind: DataType) -> str:
    """SQL that converts the text of a field, to null where it cannot without loss."""
    if kind.kind == "string":
        return field
    if kind.kind == "boolean":
        return f"case {field} when 'true' then true when 'false' then false end"
    cast = f"try_cast({field} as {kind})"
    if kind.kind == "double":
        return f"case when isfinite({cast}) then {cast} end"
    if kind.kind in _ISO_8601:
        return _moment(field, kind.kind)
    # Digits after the point, or an exponent, are where a cast rounds: look at those only.
    behind = f"strpos({field}, '.')"
    fits = (
        f"{behind} = 0 or length({field}) - {behind} <= {kind.scale} "
        f"or length(rtrim({field}, '0')) - {behind} <= {kind.scale}"
    )
    # With an exponent, DuckDB casts to no decimal that has nothing before the point.
    wide = f"try_cast({field} as decimal(38, {max(15, kind.scale)}))"
    scaled = f"try_cast({wide} as {kind})"
    exact = f"{scaled} = {wide} and {scaled}::double = try_cast({field} as double)"
    return (
        f"case when strpos(lower({field}), 'e') > 0 then case when {exact} then {scaled} end "
        f"when {fits} then {cast} end"
    )


_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = "[0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6}0*)?)?"
_ISO_8601 = {
    "date": _DAY,
    "timestamp": f"{_DAY}([T ]{_TIME})?",
    "timestamptz": f"{_DAY}([T ]{_TIME}(Z|[+-][0-9]{{2}}(:?[0-9]{{2}})?)?)?",
}


def _moment(field: str, kind: str) -> str:
    """SQL for a date or time: ISO 8601, no finer than a microsecond, years 1 to 9999.

    A bare cast takes more than that. It takes `infinity` and years that Iceberg's writer
    cannot handle, so that one event would stop every landing; and after a zone by name it
    reads the zoneless times that follow in the batch in that zone (DuckDB 1.5.5).
    """
    # The pattern costs three times the cast, `like` a third of it: first the usual shapes.
    usual = {"date": "____-__-__", "timestamptz": "____-__-__T__:__:__Z"}.get(kind)
    fits = f"regexp_full_match({field}, {literal(_ISO_8601[kind])})"
    if usual:
        fits = f"({field} like {literal(usual)} or {fits})"
    cast = f"try_cast(case when {fits} then {field} end as {kind})"
    years = f"{kind} '0001-01-01' and {kind} '9999-12-31{_LAST_MOMENT.get(kind, '')}'"
    return f"case when {cast} between {years} then {cast} end"


_LAST_MOMENT = {"timestamp": " 23:59:59.999999", "timestamptz": " 23:59:59.999999+00"}
