"""Nested fields: from the parsed JSON of a column to Arrow structs, lists and maps.

Belongs here: the shape of nested values, their paths in reject reasons, and undeclared fields
inside. Not here: converting the text of a single value (convert.py), which is the same at every
level: a column's values are taken apart into one list of texts per single field, converted with
the SQL of plain columns, and put together again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from meshhouse.landing.convert import converted
from meshhouse.landing.documents import field_text, without_exponent
from meshhouse.landing.plain import arrow_type
from meshhouse.repository.datatype import DataType

Ask = Callable[[str, pa.Table], pa.Table]
"""Returns the result of a DuckDB statement that reads the given table under the name `asked`."""
_EXACT = ("bigint", "integer", "decimal")
_SHOWN = 100
_LIST = "\0"
"""Stands in a path for the place in a list or map. No name of a field contains it."""


def typed_column(
    name: str, kind: DataType, values: Sequence[Any], ask: Ask
) -> tuple[pa.Array, dict[int, str]]:
    """The values of a nested column, and reasons for the events whose value does not convert.

    Args:
        name: the column, for reasons.
        kind: its type.
        values: for each event the parsed value, of `Documents.read`.
        ask: runs a DuckDB statement.

    Returns:
        One value for each event, and number of an event -> the reason to reject it.
    """
    reasons: dict[int, str] = {}
    node = _node(kind, name)
    for number, value in enumerate(values):
        problem = node.add(value, number, ())
        if problem:
            reasons.setdefault(number, problem)
    found = node.finish(ask, reasons)
    return found, reasons


def _node(kind: DataType, path: str) -> _Single | _Struct | _List:
    if kind.kind == "struct":
        return _Struct(kind, path)
    return _List(kind, path) if kind.is_nested else _Single(kind, path)


Where = tuple[int | str, ...]
"""The places of a value in the lists and maps around it."""


def _located(path: str, where: Where) -> str:
    """A path with the places of its lists, such as `lines[2].price`."""
    first, *others = path.split(_LIST)
    return first + "".join(f"[{at}]{each}" for at, each in zip(where, others, strict=True))


def _bad(path: str, where: Where, value: Any, wanted: str) -> str:
    shown = (field_text(value, is_string=False) or "null")[:_SHOWN]
    return f"field `{_located(path, where)}`: `{shown}` is not {wanted}"


class _Single:
    """The values of a field that is not nested itself."""

    def __init__(self, kind: DataType, path: str) -> None:
        self.kind, self.path = kind, path
        self.texts: list[str | None] = []
        self.origins: list[tuple[int, Where]] = []

    def add(self, value: Any, number: int, where: Where) -> str | None:
        self.texts.append(None if value is None else field_text(value, self.kind.kind == "string"))
        self.origins.append((number, where))
        return None

    def finish(self, ask: Ask, reasons: dict[int, str]) -> pa.Array:
        if self.kind.kind == "string":
            return pa.array(self.texts, pa.string())
        exact = self.kind.kind in _EXACT
        texts = map(without_exponent, self.texts) if exact else self.texts
        asked = pa.table({"text": pa.array(texts, pa.string())})
        found = ask(f"select {converted('text', self.kind)} as value from asked", asked)["value"]
        failed = pc.and_(pc.is_null(found), pc.is_valid(asked["text"]))
        for place in pc.indices_nonzero(failed).to_pylist():
            number, where = self.origins[place]
            reason = _bad(self.path, where, self.texts[place], f"a valid {self.kind}")
            reasons.setdefault(number, reason)
        return found.combine_chunks().cast(arrow_type(self.kind))


class _Struct:
    """The values of an object with declared fields."""

    def __init__(self, kind: DataType, path: str) -> None:
        self.kind, self.path = kind, path
        self.parts = [(part, _node(part.type, f"{path}.{part.name}")) for part in kind.parts]
        self.present: list[bool] = []

    def add(self, value: Any, number: int, where: Where) -> str | None:
        wrong = value is not None and not isinstance(value, dict)
        problem = _bad(self.path, where, value, "an object") if wrong else None
        self.present.append(isinstance(value, dict))
        for part, node in self.parts:
            inner = value.get(part.name) if isinstance(value, dict) else None
            if part.required and inner is None and isinstance(value, dict):
                place = _located(f"{self.path}.{part.name}", where)
                problem = problem or f"misses the required field `{place}`"
            problem = node.add(inner, number, where) or problem
        return problem

    def finish(self, ask: Ask, reasons: dict[int, str]) -> pa.Array:
        arrays = [node.finish(ask, reasons) for _, node in self.parts]
        fields = [
            pa.field(part.name, each.type)
            for (part, _), each in zip(self.parts, arrays, strict=True)
        ]
        absent = pa.array([not each for each in self.present], pa.bool_())
        return pa.StructArray.from_arrays(arrays, fields=fields, mask=absent)


class _List:
    """The values of an array, or of a map, which Arrow has as a list of entries."""

    def __init__(self, kind: DataType, path: str) -> None:
        self.kind, self.path = kind, path
        self.is_map = kind.kind == "map"
        self.parts = [(part, _node(part.type, path + _LIST)) for part in kind.parts]
        self.offsets: list[int | None] = []
        self.count = 0

    def add(self, value: Any, number: int, where: Where) -> str | None:
        wanted: type = dict if self.is_map else list
        problem = None
        if not isinstance(value, wanted):
            self.offsets.append(None)
            if value is None:
                return None
            return _bad(self.path, where, value, "an object" if self.is_map else "an array")
        self.offsets.append(self.count)
        for place, each in enumerate(value):
            row = (each, value[each]) if self.is_map else (each,)
            inner: Where = (*where, each if self.is_map else place)
            for (part, node), single in zip(self.parts, row, strict=True):
                if part.required and single is None:
                    problem = problem or f"misses `{_located(self.path + _LIST, inner)}`"
                problem = node.add(single, number, inner) or problem
        self.count += len(value)
        return problem

    def finish(self, ask: Ask, reasons: dict[int, str]) -> pa.Array:
        arrays = [node.finish(ask, reasons) for _, node in self.parts]
        if not self.is_map:
            offsets = pa.array([*self.offsets, self.count], pa.int32())
            return pa.ListArray.from_arrays(offsets, arrays[0])
        keys = self.parts[0][1]
        assert isinstance(keys, _Single)
        self._refuse_twins(arrays[0], keys.origins, reasons)
        # A null key is of an event that is rejected; Arrow does not store it.
        filler = "" if pa.types.is_string(arrays[0].type) else 0
        offsets = pa.array([*self.offsets, self.count], pa.int32())
        return pa.MapArray.from_arrays(offsets, pc.fill_null(arrays[0], filler), arrays[1])

    def _refuse_twins(
        self, keys: pa.Array, origins: list[tuple[int, Where]], reasons: dict[int, str]
    ) -> None:
        """Rejects maps in which two keys mean the same, such as `1` and `1.0` for integers."""
        if pa.types.is_string(keys.type):
            return  # the parser has refused a field that occurs twice
        seen: set[tuple[int, Where, int]] = set()
        for key, (number, where) in zip(keys.to_pylist(), origins, strict=True):
            entry = (number, where[:-1], key)
            if key is not None and entry in seen:
                place = _located(self.path, where[:-1])
                reasons.setdefault(number, f"field `{place}`: has the key `{key}` more than once")
            seen.add(entry)
