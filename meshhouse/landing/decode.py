"""From the bytes of events to typed rows, and the reasons why some events are rejected.

Belongs here: which events become rows, by one rule and two implementations. Most events are
plain and typed in one pass (plain.py); every other one is parsed by itself (documents.py,
convert.py), and that alone decides what a row is. Not here: how events of other formats
become JSON (formats/), where events come from, or where rows go (land.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from meshhouse.events.source import SKIPPED
from meshhouse.lake.schema import iceberg_schema
from meshhouse.lake.texts import docs_of
from meshhouse.landing.convert import converted
from meshhouse.landing.documents import Documents, without_exponent
from meshhouse.landing.formats import format_of
from meshhouse.landing.formats.errors import Unreadable
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
        self._documents = Documents([(column.name, kind) for column, kind in self._columns])
        self._plain = PlainReader(self._columns, self._ask)

    @property
    def columns(self) -> list[tuple[str, DataType]]:
        """Names and types of the raw table."""
        return [(column.name, kind) for column, kind in self._columns] + list(METADATA_COLUMNS)

    @property
    def schema(self) -> Schema:
        """The raw table's, with the descriptions of its columns."""
        return iceberg_schema(self.columns, docs_of(self._raw.columns))

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
        events = _without_abysses(_in_our_era(self._judged(events, original)))
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
        """Events with the reason why some cannot be rows, whatever their value is."""
        if self._raw.changelog:
            bad = pc.is_null(events["key"])
            reason = "has no key; the events of a changelog are told apart by their keys"
        else:
            bad = pc.is_null(original)
            reason = "has no value (a tombstone); only a changelog may"
        place = events.schema.get_field_index("reason")
        reasons = pc.if_else(bad, reason, events["reason"])
        return events.set_column(place, pa.field("reason", pa.string()), reasons)

    def _plainly(self, events: pa.Table) -> pa.Table:
        """Rows of the events that one pass can type."""
        values, places = events["value"], pa.arange(0, events.num_rows)
        readable = pc.and_(pc.is_valid(values), pc.is_null(events["reason"]))
        if not pc.all(readable, min_count=0).as_py():
            values, places = values.filter(readable), places.filter(readable.combine_chunks())
        found = self._plain.read(values.combine_chunks())
        count = found.rows.num_rows
        rows = found.rows.rename_columns([f"v{place}" for place in range(len(self._columns))])
        rows = rows.append_column("_rescued", pa.nulls(count, pa.string()))
        rows = rows.append_column("_tombstone", pa.repeat(False, count))
        return rows.append_column("_place", places.take(found.places))

    def _exactly(self, events: pa.Table, places: pa.Array) -> tuple[pa.Table | None, pa.Table]:
        """Rows, if there are any, and rejections of events that are looked at one by one."""
        texts = self._texts(events).append_column("place", places)
        if not texts["reason"].null_count:  # one broken event in a hundred is not worth a query
            judged = texts.select(["reason", "place"]).rename_columns(["_reason", "_place"])
            return None, judged
        self._connection.register("texts", texts)
        try:
            judged = self._connection.execute(self._statement).to_arrow_table()
        finally:
            self._connection.unregister("texts")
        # To filter is to copy; see `_ask`.
        good = pc.is_null(judged["_reason"])
        rows = judged.drop_columns("_reason").filter(good)
        return rows, judged.select(["_reason", "_place"]).filter(pc.invert(good))

    def _texts(self, events: pa.Table) -> pa.Table:
        """The text of every field of some events, what else they hold, and why not."""
        nothing: list[str | None] = [None] * (len(self._columns) + 1)
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
        for place, (_, kind) in enumerate(self._columns):
            texts = arrays[f"f{place}"] = pa.array(columns[place], pa.string())
            if kind.kind in _EXACT:
                if pc.any(pc.match_substring(texts, "e", ignore_case=True)).as_py():
                    texts = pa.array(map(without_exponent, columns[place]), pa.string())
                arrays[f"d{place}"] = texts
        arrays["reason"] = pa.array(reasons, pa.string())
        arrays["is_deletion"] = pc.is_null(events["value"]).combine_chunks()
        return pa.table(arrays)

    @cached_property
    def _statement(self) -> str:
        """SQL that types texts; columns go by number, so no name of theirs can be taken."""
        values = ", ".join(
            f"{converted(f'd{place}' if kind.kind in _EXACT else f'f{place}', kind)} as v{place}"
            for place, (_, kind) in enumerate(self._columns)
        )
        names = ", ".join(f"v{place}" for place in range(len(self._columns)))
        return f"""
            with typed as (select *, {values} from texts)
            select
                {names},
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
                f"{literal(f'` is no {kind}')}",
            )
            for place, (column, kind) in enumerate(self._columns)
            if kind.kind != "string"
        ]
        return " ".join(f"when {condition} then {reason}" for condition, reason in cases)

    def _rows(self, rows: pa.Table, origin: dict[str, pa.Array]) -> pa.Table:
        """Rows in the columns of the raw table."""
        names = [column.name for column, _ in self._columns]
        places = rows["_place"]
        arrays = dict(zip(names, rows.columns, strict=False))
        arrays |= {"_rescued": rows["_rescued"], "_tombstone": rows["_tombstone"]}
        arrays |= {name: _taken(each, places) for name, each in origin.items()}
        return pa.table({name: arrays[name] for name, _ in self.columns})

    def _rejected(
        self, rejected: pa.Table, original: pa.ChunkedArray, origin: dict[str, pa.Array]
    ) -> pa.Table:
        """Rejected events, with their bytes and the reason."""
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
        """What every row and every rejection says of its event."""
        moment = pa.timestamp("us", "UTC")
        count = events.num_rows
        return {
            "_topic_partition": pa.repeat(pa.scalar(partition, pa.int32()), count),
            "_offset": events["offset"],
            "_timestamp": events["timestamp"].cast(moment),
            "_key": self._keys(events),
            "_landed_at": pa.repeat(pa.scalar(landed_at, moment), count),
        }

    def _keys(self, events: pa.Table) -> pa.ChunkedArray:
        """Keys as text; bytes that are not UTF-8 escaped as DuckDB does."""
        try:
            return events["key"].cast(pa.string())
        except pa.ArrowInvalid:
            keys = "coalesce(try(decode(key)), key::varchar)"
            return self._ask(f"select {keys} as key from asked", events.select(["key"]))["key"]

    def _ask(self, statement: str, asked: pa.Table) -> pa.Table:
        """What DuckDB answers about a table named `asked`."""
        self._connection.register("asked", asked)
        try:
            answer = self._connection.execute(statement).to_arrow_table()
        finally:
            self._connection.unregister("asked")
        # To take is to copy: what DuckDB allocated goes back here, in the thread that asked
        # for it. Freed elsewhere it is never used again (200 MiB in 3 million events).
        return answer.take(pa.arange(0, answer.num_rows))


_NONE_REJECTED = pa.table(
    {"_reason": pa.array([], pa.string()), "_place": pa.array([], pa.int64())}
)
_SKIPPED_LINE = "stands for a line that is too long for an event; the value says which"
_EXACT = ("bigint", "integer", "decimal")
"""Types that hold every digit."""


def _taken(values: pa.Array | pa.ChunkedArray, places: pa.ChunkedArray) -> pa.ChunkedArray:
    taken = values.take(places)
    return taken if isinstance(taken, pa.ChunkedArray) else pa.chunked_array([taken])


def _all_but(count: int, places: pa.ChunkedArray) -> pa.Array:
    """The places below a count that are not among the given ones."""
    everywhere = pa.arange(0, count)
    if len(places) == count:
        return everywhere.slice(count)
    return everywhere.filter(pc.invert(pc.is_in(everywhere, places.combine_chunks())))


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
