"""Plain events: events that Arrow's JSON reader types in one pass and without loss.

Belongs here: the decision which events are plain, and finding them in a batch that also has others.
Not here: the other events (documents.py, convert.py). Their path defines the rule: this pass gives
the same row, or leaves the event to it.

Arrow's reader takes the digits of integers and decimals from the text. It refuses values that do
not fit, repeated and undeclared fields, strings for integers, numbers for strings, lone surrogates
and control characters, at every level of structs and lists. This module checks for what the reader
accepts wrongly: invalid UTF-8, NaN, decimals with too many digits, years that Iceberg cannot store,
and events without exactly one object. The reader has no maps, so a table with a map has no plain
events.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Context, Decimal
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from meshhouse.repository import Column
from meshhouse.repository.datatype import DataType, Part
from meshhouse.sql import literal, quote

_SMALL = 16
"""A piece of so few events is not split further: parsing them one by one is as fast."""
_TRIES = 64, 32
"""Limit of refused pieces in a batch: the first number, plus one per so many events."""
_ROW = re.compile(r"in row (\d+)$")
_VALID = "json_valid(text)"
_HUGE_NUMBER = r"""[0-9]{39}|[0-9.]{30}[eE]|[eE]\+?[0-9]{2,}[\s"'\],}]"""
"""Numbers that could overflow 256 bits as well, from 1e39. The exact path reads these events."""
_READ_OPTIONS = pj.ReadOptions(use_threads=False, block_size=2**31 - 1)

Ask = Callable[[str, pa.Table], pa.Table]
"""Returns the result of a DuckDB statement that reads the given table under the name `asked`."""


@dataclass(frozen=True)
class Plain:
    """The plain events of a batch."""

    rows: pa.Table
    """The declared columns, in the order of the declaration."""
    places: pa.Array
    """Position of each row's event in the batch."""


class PlainReader:
    """Reads events whose values are JSON objects of the declared fields."""

    def __init__(self, columns: Sequence[tuple[Column, DataType]], ask: Ask) -> None:
        """`ask` runs DuckDB statements that select likely events of a batch."""
        self._columns = tuple(columns)
        self._ask = ask
        self.schema = pa.schema([(column.name, arrow_type(kind)) for column, kind in columns])
        self._wide = pa.schema([(column.name, _wide_type(kind)) for column, kind in columns])
        self._has_scale = any(_any(kind, lambda each: each.scale > 0) for _, kind in columns)
        self._has_map = any(_any(kind, lambda each: each.kind == "map") for _, kind in columns)
        self._has_object = any(kind.is_nested for _, kind in columns)
        self._options = pj.ParseOptions(
            explicit_schema=pa.schema([(column.name, _read_as(kind)) for column, kind in columns]),
            unexpected_field_behavior="error",
        )

    def read(self, values: pa.Array) -> Plain:
        """Types the plain events among some JSON texts; no text is null."""
        plausible = pc.starts_with(values, b"{")
        if self._has_scale:
            plausible = pc.and_(
                plausible, pc.invert(pc.match_substring_regex(values, _HUGE_NUMBER))
            )
        places = pc.indices_nonzero(plausible)
        if not self._columns or not len(places) or self._has_map:
            return self._plain([], [])
        if len(places) < len(values):
            values = values.take(places)
        if self._has_object:
            # The rest of one broken event could be the value of a column in the event before it.
            values, places = self._likely(_VALID, values, places)
            if not len(places):
                return self._plain([], [])
        texts = _Joined(values)
        rows, row = self._typed(texts)
        for check in _VALID, self._fitting:
            # The reader reports the row of a syntax error or a wrong kind of value, but not the
            # row of an undeclared field or of a number that does not fit.
            if rows is None and (row is not None) == (check is _VALID):
                values, places = self._likely(check, values, places)
                if not len(places):
                    return self._plain([], [])
                texts = _Joined(values)
                rows, row = self._typed(texts)
        if rows is not None:
            return self._plain([rows], [places])
        return self._pieces(texts, places)

    def _likely(self, check: str, values: pa.Array, places: pa.Array) -> tuple[pa.Array, pa.Array]:
        """The events that pass a check in DuckDB, and their places."""
        statement = f"""
            select coalesce({check}, false) as likely
            from (
                select text, case when {_VALID} then {self._document} end as document
                from (select try(decode(value)) as text from asked)
            )
        """
        kept = pc.indices_nonzero(self._ask(statement, pa.table({"value": values}))["likely"])
        return values.take(kept), places.take(kept)

    @cached_property
    def _document(self) -> str:
        structure = {column.name: "VARCHAR" for column, _ in self._columns}
        return f"json_transform(text, {literal(json.dumps(structure))})"

    @cached_property
    def _fitting(self) -> str:
        """SQL that decides in most cases whether an event is plain; an error only costs time."""
        names = ", ".join(literal(column.name) for column, _ in self._columns)
        keys = f"list_has_all([{names}], json_keys(case when {_VALID} then text end))"
        fields = [(f"document.{quote(column.name)}", kind) for column, kind in self._columns]
        fits = [f"({field} is null or {_fits(field, kind)})" for field, kind in fields]
        return " and ".join([keys, *fits])

    def _pieces(self, texts: _Joined, places: pa.Array) -> Plain:
        """Reads the pieces of a batch between the events that the reader refuses."""
        rows: list[pa.Table] = []
        found: list[pa.Array] = []
        refusals, most = 0, _TRIES[0] + texts.count // _TRIES[1]
        waiting = [(0, texts.count)]
        while waiting and refusals < most:
            start, end = waiting.pop()
            typed, row = self._typed(texts.part(start, end))
            if typed is not None:
                rows.append(typed)
                found.append(places.slice(start, end - start))
                continue
            refusals += 1
            if row is not None:  # the first event that the reader refuses
                middle, behind = start + row, start + row + 1
            elif end - start > _SMALL:
                middle = behind = (start + end) // 2
            else:
                continue
            # The last piece is read next, so the earlier piece is added last: rows stay in order.
            waiting += [(each, to) for each, to in ((behind, end), (start, middle)) if each < to]
        return self._plain(rows, found)

    def _plain(self, rows: list[pa.Table], places: list[pa.Array]) -> Plain:
        """Joins rows, and leaves out those that the exact path must decide."""
        if not rows:
            return Plain(self.schema.empty_table(), pa.array([], pa.uint64()))
        table, where = pa.concat_tables(rows), pa.concat_arrays(places)
        sure = self._sure(table)
        if sure is None:
            return Plain(table.cast(self.schema), where)
        return Plain(table.filter(sure).cast(self.schema), where.filter(sure))

    def _typed(self, texts: _Joined) -> tuple[pa.Table | None, int | None]:
        """Returns one row per text; or None, and the first refused text if it is known."""
        if not texts.is_utf8:
            return None, None
        try:
            table = pj.read_json(
                texts.buffer, read_options=_READ_OPTIONS, parse_options=self._options
            )
            # Every text begins with `{`, and no column accepts an object, or every text is valid
            # JSON. So each text has at least one object, and as many rows as texts mean that each
            # has exactly one.
            if table.num_rows != texts.count:
                return None, None
            return table.cast(self._wide), None
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            known = _ROW.search(str(error))
            return None, int(known[1]) if known and int(known[1]) < texts.count else None

    def _sure(self, table: pa.Table) -> pa.Array | None:
        """A mask of the rows that are certainly right; None if all are."""
        sure: Any = None
        for (column, kind), values in zip(self._columns, table.columns, strict=True):
            good = (
                _allowed(values.combine_chunks(), kind)
                if kind.is_nested
                else (_in_range(values, kind))
            )
            if good is not None:
                good = pc.fill_null(good, True)
            if column.required and values.null_count:
                present = pc.is_valid(values)
                good = present if good is None else pc.and_(good, present)
            if good is not None:
                sure = good if sure is None else pc.and_(sure, good)
        return sure


class _Joined:
    """Texts of events in one buffer, separated by line breaks.

    JSON strings cannot contain a line break, so no string can run from one text into the next.
    """

    def __init__(self, values: pa.Array) -> None:
        self.count = len(values)
        whole = pa.ListArray.from_arrays(pa.array([0, self.count], pa.int32()), values)
        joined = pc.binary_join(whole, b"\n")
        self.buffer = joined[0].as_buffer()
        self.is_utf8 = _is_utf8(joined)
        self._values = values

    @cached_property
    def _starts(self) -> np.ndarray:
        """Start of each text in the buffer, and the start of a further text."""
        lengths = pc.binary_length(self._values).to_numpy(zero_copy_only=False)
        return np.concatenate([[0], np.cumsum(lengths.astype(np.int64) + 1)])

    def part(self, start: int, end: int) -> _Joined:
        """The texts from `start` up to, and without, `end`."""
        part = object.__new__(_Joined)
        part.count, part.is_utf8 = end - start, True
        first = int(self._starts[start])
        part.buffer = self.buffer.slice(first, int(self._starts[end]) - first - 1)
        return part


def _is_utf8(joined: pa.Array) -> bool:
    try:
        joined.cast(pa.string())
    except pa.ArrowInvalid:
        return False
    return True


def arrow_type(kind: DataType) -> pa.DataType:
    """Arrow's type for a declared type."""
    if kind.kind == "decimal":
        return pa.decimal128(kind.precision, kind.scale)
    return _composed(kind, arrow_type) if kind.is_nested else _SIMPLE[kind.kind]


def _composed(kind: DataType, of: Callable[[DataType], pa.DataType]) -> pa.DataType:
    """Arrow's type for a nested type, with the types that `of` gives to its parts."""
    types = [of(part.type) for part in kind.parts]
    if kind.kind == "struct":
        names = [part.name for part in kind.parts]
        return pa.struct(list(zip(names, types, strict=True)))
    return pa.map_(*types) if kind.kind == "map" else pa.list_(*types)


_SIMPLE = {
    "bigint": pa.int64(),
    "integer": pa.int32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "string": pa.string(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"),
}


def _fits(text: str, kind: DataType) -> str:
    """SQL that decides in most cases whether the reader accepts a value for a type."""
    if kind.kind == "string" or kind.is_nested:
        return "true"
    cast = f"try_cast({text} as {kind}) is not null"
    if kind.kind in ("bigint", "integer", "decimal"):
        point = f"strpos({text}, '.')"
        return f"({cast} and ({point} = 0 or length({text}) - {point} <= {kind.scale}))"
    return cast


def _read_as(kind: DataType) -> pa.DataType:
    # The reader accepts numbers as dates and drops the zone of a `timestamp`; casts do not.
    if kind.is_nested:
        return _composed(kind, _read_as)
    return pa.string() if kind.kind in ("date", "timestamp") else _wide_type(kind)


def _wide_type(kind: DataType) -> pa.DataType:
    """Arrow's type for a declared one; that of a decimal has room for its scale.

    The reader multiplies by the scale without a check of overflow: in 128 bits 4e20 for a
    decimal(38,18) became 5.97e19.
    """
    if kind.kind == "decimal":
        return pa.decimal256(76, kind.scale)
    return _composed(kind, _wide_type) if kind.is_nested else arrow_type(kind)


def _any(kind: DataType, holds: Callable[[DataType], bool]) -> bool:
    """Whether a type or one of its parts, at any level, has a property."""
    return holds(kind) or any(_any(part.type, holds) for part in kind.parts)


_FIRST, _LAST = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999)  # noqa: DTZ001
_BOUNDS = {
    "date": (date.min, date.max),
    "timestamp": (_FIRST, _LAST),
    "timestamptz": (_FIRST.replace(tzinfo=UTC), _LAST.replace(tzinfo=UTC)),
}


def _in_range(values: pa.ChunkedArray, kind: DataType) -> pa.ChunkedArray | None:
    """A mask of the values that a column may hold, null for a null; None if all are allowed."""
    if kind.kind == "double":
        good = pc.is_finite(values)
    elif kind.kind == "decimal":
        most = Decimal(10**kind.precision - 1).scaleb(-kind.scale, Context(prec=60))
        good = _between(values, most.copy_negate(), most)
    elif kind.kind in _BOUNDS:
        good = _between(values, *_BOUNDS[kind.kind])
    else:
        return None
    return None if pc.all(good, min_count=0).as_py() else good


def _allowed(values: Any, kind: DataType) -> Any:
    """A mask of the structs or arrays whose parts a table may hold; None if all are allowed."""
    found: Any = None
    if kind.kind == "struct":
        for number, part in enumerate(kind.parts):
            inner = pc.struct_field(values, number)  # null where the struct is null
            good = _part_allowed(inner, part, pc.is_valid(values))
            if good is not None:
                found = good if found is None else pc.and_(found, good)
        return found
    inner, (part,) = pc.list_flatten(values), kind.parts
    good = _part_allowed(inner, part, pa.repeat(True, len(inner)))
    if good is None:
        return None
    bad = pc.unique(pc.list_parent_indices(values).filter(pc.invert(good)))
    return pc.invert(pc.is_in(pa.array(range(len(values)), bad.type), bad))


def _part_allowed(values: Any, part: Part, around: Any) -> Any:
    """The same for the parts of some values, of which those in `around` are not null."""
    if part.type.is_nested:
        good = _allowed(values, part.type)
    else:
        good = _in_range(values, part.type)
        good = None if good is None else pc.fill_null(good, True)
    if part.required and values.null_count:
        present = pc.or_(pc.is_valid(values), pc.invert(around))
        good = present if good is None else pc.and_(good, present)
    return good


def _between(values: pa.ChunkedArray, low: Any, high: Any) -> pa.ChunkedArray:
    first, last = pa.scalar(low, values.type), pa.scalar(high, values.type)
    return pc.and_(pc.greater_equal(values, first), pc.less_equal(values, last))
