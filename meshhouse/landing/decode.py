"""Decoding: from the bytes of events to typed rows, or to reasons why an event is rejected.

Belongs here: the decision which events become rows. It is made twice, with the same result. Most
events are plain, and one pass types them (plain.py). Every other event is parsed by itself
(documents.py, convert.py, nested.py); that path defines the rule. Not here: turning other formats
into JSON (formats/), reading events, or writing rows (land.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from meshhouse.events.source import AGGREGATED, LEFT_OUT, SKIPPED
from meshhouse.lake.schema import iceberg_schema
from meshhouse.lake.texts import docs_of
from meshhouse.landing.convert import converted
from meshhouse.landing.documents import Documents, without_exponent
from meshhouse.landing.formats import format_of
from meshhouse.landing.formats.errors import Unreadable
from meshhouse.landing.formats.marks import DELETED
from meshhouse.landing.nested import typed_column
from meshhouse.landing.plain import PlainReader
from meshhouse.repository import RawTable
from meshhouse.repository.types import DataType, parse_type
from meshhouse.sql import literal

if TYPE_CHECKING:
    from pyiceberg.schema import Schema

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
    """The rows and the rejected events of one batch."""

    rows: pa.Table
    """Columns of the raw table, declared columns first."""
    rejected: pa.Table
    """`REJECTED_COLUMNS`."""


class Decoder:
    """Decodes the events of one raw table. Not thread-safe."""

    def __init__(self, raw: RawTable) -> None:
        """Opens a DuckDB connection with one thread, because several decoders run in parallel."""
        self._raw = raw
        self._format = format_of(raw)
        self._columns = [(column, parse_type(column.data_type)) for column in raw.columns]
        self._nested = [at for at, (_, kind) in enumerate(self._columns) if kind.is_nested]
        self._connection = duckdb.connect(config={"threads": 1})
        self._connection.execute("set TimeZone = 'UTC'")
        self._documents = Documents([(column.name, kind) for column, kind in self._columns])
        self._plain = PlainReader(self._columns, self._ask)

    @property
    def columns(self) -> list[tuple[str, DataType]]:
        """Names and types of the raw table's columns."""
        held = [(column.name, kind.as_held()) for column, kind in self._columns]
        return held + list(METADATA_COLUMNS)

    @property
    def schema(self) -> Schema:
        """The raw table's schema, with descriptions of its columns."""
        return iceberg_schema(self.columns, docs_of(self._raw.columns))

    def decode(self, partition: int, events: pa.Table, landed_at: datetime) -> Decoded:
        """Types a batch of events of one partition.

        Args:
            partition: the partition of all the events.
            events: events in `meshhouse.events.source.EVENT_SCHEMA`.
            landed_at: the time of the commit that will contain them.
        """
        original = events["value"]
        if self._format:
            events = self._format.as_json(events)
        else:
            events = events.append_column("reason", pa.nulls(events.num_rows, pa.string()))
        events = _without_deep_nesting(_without_impossible_times(self._judged(events, original)))
        plain = self._plainly(events)
        others = _all_but(events.num_rows, plain["_place"])
        rows, rejected = plain, _NONE_REJECTED
        if len(others):
            exact, rejected = self._exactly(events.take(others), others)
            if exact is not None:
                rows = pa.concat_tables([plain, exact]).sort_by("_place")
        origin = self._origin(events, partition, landed_at)
        return Decoded(self._rows(rows, origin), self._rejected(rejected, original, origin))

    def _judged(self, events: pa.Table, original: pa.ChunkedArray) -> pa.Table:
        """Adds a reason to events that are rejected for their missing key or value."""
        if self._raw.changelog:
            bad = pc.is_null(events["key"])
            reason = "has no key; a changelog identifies its events by their keys"
        else:
            bad = pc.is_null(original)
            reason = "has no value (a tombstone), which only a changelog accepts"
        place = events.schema.get_field_index("reason")
        reasons = pc.if_else(bad, reason, events["reason"])
        if self._raw.extraction and self._raw.extraction.stream:
            for begin, refusal in _OF_STREAMS.items():
                is_so = pc.fill_null(pc.starts_with(original, begin), False)
                reasons = pc.if_else(is_so, refusal, reasons)
        return events.set_column(place, pa.field("reason", pa.string()), reasons)

    def _plainly(self, events: pa.Table) -> pa.Table:
        """Rows of the events that the fast pass can type."""
        values, places = events["value"], pa.arange(0, events.num_rows)
        readable = pc.and_(pc.is_valid(values), pc.is_null(events["reason"]))
        if DELETED in events.column_names:
            readable = pc.and_(readable, pc.invert(events[DELETED]))
        if not pc.all(readable, min_count=0).as_py():
            values, places = values.filter(readable), places.filter(readable.combine_chunks())
        found = self._plain.read(values.combine_chunks())
        count = found.rows.num_rows
        rows = found.rows.rename_columns([f"v{place}" for place in range(len(self._columns))])
        rows = rows.append_column("_rescued", pa.nulls(count, pa.string()))
        rows = rows.append_column("_tombstone", pa.repeat(False, count))
        return rows.append_column("_place", places.take(found.places))

    def _exactly(self, events: pa.Table, places: pa.Array) -> tuple[pa.Table | None, pa.Table]:
        """Parses events one by one; returns rows (None if there are none) and rejections."""
        texts, nested = self._texts(events)
        texts = texts.append_column("place", places)
        if not texts["reason"].null_count:  # all are rejected already: saves a query per batch
            judged = texts.select(["reason", "place"]).rename_columns(["_reason", "_place"])
            return None, judged
        self._connection.register("texts", texts)
        try:
            judged = self._connection.execute(self._statement).to_arrow_table()
        finally:
            self._connection.unregister("texts")
        for at, values in nested.items():
            judged = judged.add_column(at, f"v{at}", values)
        # `filter` copies, which frees DuckDB's memory; see `_ask`.
        good = pc.is_null(judged["_reason"])
        rows = judged.drop_columns("_reason").filter(good)
        return rows, judged.select(["_reason", "_place"]).filter(pc.invert(good))

    def _texts(self, events: pa.Table) -> tuple[pa.Table, dict[int, pa.Array]]:
        """For each event: the text of every field, its undeclared fields, and a reject reason.

        Nested columns are typed here, because their values are not single texts: position of the
        column -> its values.
        """
        nothing: list[Any] = [None] * (len(self._columns) + 1)
        found, reasons = [], []
        values, known = events["value"].to_pylist(), events["reason"].to_pylist()
        for value, reason in zip(values, known, strict=True):
            texts = nothing
            if value is not None and reason is None:
                try:
                    texts = self._documents.read(value)
                except Unreadable as unreadable:
                    reason = str(unreadable)
            found.append(texts)
            reasons.append(reason)
        columns = list(zip(*found, strict=True)) if found else [()] * len(nothing)
        arrays = {"rescued": pa.array(columns[-1], pa.string())}
        nested: dict[int, pa.Array] = {}
        for place, (column, kind) in enumerate(self._columns):
            if kind.is_nested:
                values = columns[place]
                nested[place], bad = typed_column(column.name, kind, values, self._ask)
                reasons = [each or bad.get(at) for at, each in enumerate(reasons)]
                present = [None if each is None else "" for each in values]
                arrays[f"f{place}"] = pa.array(present, pa.string())
                continue
            texts = arrays[f"f{place}"] = pa.array(columns[place], pa.string())
            if kind.kind in _EXACT:
                if pc.any(pc.match_substring(texts, "e", ignore_case=True)).as_py():
                    texts = pa.array(map(without_exponent, columns[place]), pa.string())
                arrays[f"d{place}"] = texts
        arrays["reason"] = pa.array(reasons, pa.string())
        deleted = pc.is_null(events["value"])
        if DELETED in events.column_names:
            deleted = pc.or_(deleted, events[DELETED])
        arrays["is_deletion"] = deleted.combine_chunks()
        return pa.table(arrays), nested

    @cached_property
    def _statement(self) -> str:
        """SQL that types texts. Columns are numbered, so that declared names cannot collide."""
        single = [(at, kind) for at, (_, kind) in enumerate(self._columns) if not kind.is_nested]
        values = "".join(
            f", {converted(f'd{at}' if kind.kind in _EXACT else f'f{at}', kind)} as v{at}"
            for at, kind in single
        )
        names = "".join(f"v{at}, " for at, _ in single)
        return f"""
            with typed as (select *{values} from texts)
            select
                {names}
                rescued as _rescued,
                is_deletion as _tombstone,
                place as _place,
                case {self._reasons()} end as _reason,
            from typed
        """

    def _reasons(self) -> str:
        cases = [("reason is not null", "reason"), ("is_deletion", "null")]
        cases += [
            (f"f{place} is null", literal(f"misses the required field `{column.name}`"))
            for place, (column, _) in enumerate(self._columns)
            if column.required
        ]
        cases += [
            (
                f"v{place} is null and f{place} is not null",
                f"{literal(f'field `{column.name}`: `')} || left(f{place}, 100) || "
                f"{literal(f'` is not a valid {kind}')}",
            )
            for place, (column, kind) in enumerate(self._columns)
            if kind.kind != "string" and not kind.is_nested
        ]
        return " ".join(f"when {condition} then {reason}" for condition, reason in cases)

    def _rows(self, rows: pa.Table, origin: dict[str, pa.Array]) -> pa.Table:
        """Arranges rows in the columns of the raw table."""
        names = [column.name for column, _ in self._columns]
        places = rows["_place"]
        arrays = dict(zip(names, rows.columns, strict=False))
        arrays |= {"_rescued": rows["_rescued"], "_tombstone": rows["_tombstone"]}
        arrays |= {name: _taken(each, places) for name, each in origin.items()}
        return pa.table({name: arrays[name] for name, _ in self.columns})

    def _rejected(
        self, rejected: pa.Table, original: pa.ChunkedArray, origin: dict[str, pa.Array]
    ) -> pa.Table:
        """Arranges rejected events in `REJECTED_COLUMNS`: their bytes and the reasons."""
        places = rejected["_place"]
        arrays = {name: _taken(each, places) for name, each in origin.items()}
        values = original.take(places)
        is_notice = pc.fill_null(pc.starts_with(values, SKIPPED), False)
        reasons = pc.if_else(is_notice, _SKIPPED_LINE, rejected["_reason"])
        arrays |= {"value": values, "reason": reasons}
        return pa.table({name: arrays[name] for name, _ in REJECTED_COLUMNS})

    def _origin(
        self, events: pa.Table, partition: int, landed_at: datetime
    ) -> dict[str, pa.Array | pa.ChunkedArray]:
        """The columns that each row and each rejection takes from its event."""
        utc = pa.timestamp("us", "UTC")
        count = events.num_rows
        return {
            "_topic_partition": pa.repeat(pa.scalar(partition, pa.int32()), count),
            "_offset": events["offset"],
            "_timestamp": events["timestamp"].cast(utc),
            "_key": self._keys(events),
            "_landed_at": pa.repeat(pa.scalar(landed_at, utc), count),
        }

    def _keys(self, events: pa.Table) -> pa.ChunkedArray:
        """Keys as text; keys that are not UTF-8 are escaped in DuckDB's way."""
        try:
            return events["key"].cast(pa.string())
        except pa.ArrowInvalid:
            keys = "coalesce(try(decode(key)), key::varchar)"
            return self._ask(f"select {keys} as key from asked", events.select(["key"]))["key"]

    def _ask(self, statement: str, asked: pa.Table) -> pa.Table:
        """The result of a DuckDB statement that reads `asked` as a table of that name."""
        self._connection.register("asked", asked)
        try:
            answer = self._connection.execute(statement).to_arrow_table()
        finally:
            self._connection.unregister("asked")
        # `take` copies, so DuckDB's memory is freed here, in the thread that allocated it. If
        # another thread freed it, it would never be reused (200 MiB in 3 million events).
        return answer.take(pa.arange(0, answer.num_rows))


_NONE_REJECTED = pa.table(
    {"_reason": pa.array([], pa.string()), "_place": pa.array([], pa.int64())}
)
_SKIPPED_LINE = "replaces a line that is too long for an event; the value says which line"
_OF_STREAMS = {
    AGGREGATED: "is an aggregated record of the Kinesis Producer Library, which holds several "
    "events; switch aggregation off in the producer",
    LEFT_OUT: "replaces records that were not extracted; the value says which",
}
"""The first bytes of an event that was extracted from a stream -> why it is rejected.

Formats that are not text, such as Avro, might read such bytes.
"""
_EXACT = ("bigint", "integer", "decimal")
"""Types that store every digit."""


def _taken(values: pa.Array | pa.ChunkedArray, places: pa.ChunkedArray) -> pa.ChunkedArray:
    taken = values.take(places)
    return taken if isinstance(taken, pa.ChunkedArray) else pa.chunked_array([taken])


def _all_but(count: int, places: pa.ChunkedArray) -> pa.Array:
    """The numbers from 0 to `count` that are not in `places`."""
    everywhere = pa.arange(0, count)
    if len(places) == count:
        return everywhere.slice(count)
    return everywhere.filter(pc.invert(pc.is_in(everywhere, places.combine_chunks())))


def _without_impossible_times(events: pa.Table) -> pa.Table:
    """Makes times outside the years 1 to 9999 null: some producers mix up the unit."""
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


def _without_deep_nesting(events: pa.Table) -> pa.Table:
    """Rejects values that are nested deeper than `DEEPEST`, before a parser sees them.

    DuckDB 1.5.5 ends the whole process on a value of 300,000 brackets.
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
"""Levels of nested brackets that an event may have."""
_TEXTS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)


def _depth(value: bytes) -> int:
    """The number of levels of brackets in a JSON text."""
    deepest = depth = 0
    for sign in re.findall(rb"[\[\]{}]", _TEXTS.sub(b"", value)):
        depth += 1 if sign in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest
