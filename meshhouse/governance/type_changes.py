"""What differs between two types, by path, as rows of the table of changes.

Belongs here: which row of chapter 2 a change of type is. Not here: reading types (types.py), or
readers and statistics (rules/types.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from meshhouse.governance.types import Field, Type

_INTEGERS = {"tinyint": 3, "smallint": 5, "integer": 10, "bigint": 19, "hugeint": 39}
"""Kind -> digits that every value fits in."""
_EXACT_IN_DOUBLE = 15
"""Digits that a double keeps exactly; a float keeps 6."""
_EXACT = {"float": 6, "double": _EXACT_IN_DOUBLE}
_NUMBERS = {*_INTEGERS, "decimal", *_EXACT}
_INSTANTS = {"timestamp", "timestamptz"}
_TEXTS = {"string", "char"}
_SPELLED = {"uuid", "binary"}

WIDER = frozenset({"T1", "T3", "T16"})
"""Rows of types that hold every value of before."""


@dataclass(frozen=True)
class TypeChange:
    """One difference between two types."""

    path: str
    """Where, inside the column: `city` or `lines.quantity`; empty for the column itself."""
    row: str
    before: Type | None
    """None for a field that is added."""
    after: Type | None
    """None for a field that is removed."""
    renamed_to: str = ""
    """The new name of a field whose type is equal."""


def type_changes(before: Type, after: Type) -> tuple[TypeChange, ...]:
    """Every difference; empty if both mean the same."""
    return tuple(_within(before, after, "", ""))


def _within(before: Type, after: Type, path: str, parent: str) -> Iterator[TypeChange]:
    if before.kind == after.kind and before.is_nested and after.is_nested:
        if before.kind == "struct":
            yield from _of_struct(before, after, path)
            return
        for old, new in zip(before.fields, after.fields, strict=True):
            # The element of an array has the path of the array, as SQL reads it after `unnest`.
            inner = path if before.kind == "array" else _join(path, old.name)
            yield from _within(old.type, new.type, inner, before.kind)
            yield from _of_null(old, new, inner)
        return
    row = row_of(before, after)
    if row:
        if parent and row not in WIDER:
            row = {"struct": "T20", "array": "T21", "map": "T23"}[parent]
        yield TypeChange(path, row, before, after)


def _of_struct(before: Type, after: Type, path: str) -> Iterator[TypeChange]:
    old = {field.name: field for field in before.fields}
    new = {field.name: field for field in after.fields}
    removed = [name for name in old if name not in new]
    added = [name for name in new if name not in old]
    for name in removed:
        # One field goes and one of the same type comes: a new name, not two changes.
        alike = [each for each in added if not type_changes(old[name].type, new[each].type)]
        renamed = alike[0] if len(removed) == len(added) == len(alike) == 1 else ""
        yield TypeChange(_join(path, name), "T17", old[name].type, None, renamed)
        added = [each for each in added if each != renamed]
    for name in added:
        yield TypeChange(_join(path, name), "T18", None, new[name].type)
    kept = [name for name in old if name in new]
    if kept != [name for name in new if name in old]:
        yield TypeChange(path, "T19", before, after)
    for name in kept:
        inner = _join(path, name)
        yield from _within(old[name].type, new[name].type, inner, "struct")
        yield from _of_null(old[name], new[name], inner)


def _of_null(old: Field, new: Field, path: str) -> Iterator[TypeChange]:
    if old.is_required != new.is_required:
        yield TypeChange(path, "N3" if old.is_required else "N2", old.type, new.type)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def row_of(before: Type, after: Type) -> str:
    """The row of one type that replaces another; empty if both mean the same."""
    if before == after:
        return ""
    kinds = {before.kind, after.kind}
    if "array" in kinds and not kinds & {"json", "variant"}:
        return "T22"
    if kinds & {"struct", "variant", "json", "map"}:
        return "T24"
    if "boolean" in kinds and kinds <= {"boolean"} | _NUMBERS | _TEXTS:
        return "T25"
    for family, row in (
        (_NUMBERS, _number),
        (_INSTANTS | {"date"}, _time),
        (_TEXTS, _text),
        (_SPELLED | _TEXTS, lambda *_: "T27"),
    ):
        if kinds <= family:
            return row(before, after)
    # Every other change of kind breaks readers as number -> string does.
    return "T7"


def _number(before: Type, after: Type) -> str:
    old, new = before.kind, after.kind
    if old in _EXACT or new in _EXACT:
        return _inexact(before, after)
    if old == new == "decimal":
        return _decimal(before.numbers, after.numbers)
    if _scale(after) < _scale(before):
        return "T5"
    return "T1" if _whole_digits(before) <= _whole_digits(after) else "T2"


def _inexact(before: Type, after: Type) -> str:
    if "decimal" in {before.kind, after.kind}:
        return "T6"
    if before.kind in _INTEGERS:
        return "T1" if _INTEGERS[before.kind] <= _EXACT[after.kind] else "T6"
    return "T1" if (before.kind, after.kind) == ("float", "double") else "T2"


def _decimal(before: tuple[int, ...], after: tuple[int, ...]) -> str:
    if not before or not after or before[1] != after[1]:
        return "T5"
    return "T3" if after[0] > before[0] else "T4"


def _scale(of: Type) -> int:
    return of.numbers[1] if of.numbers else 0


def _whole_digits(of: Type) -> int:
    if of.kind in _INTEGERS:
        return _INTEGERS[of.kind]
    return of.numbers[0] - of.numbers[1] if of.numbers else 0


def _time(before: Type, after: Type) -> str:
    if before.kind == after.kind:
        return "T13"
    if before.kind == "date":
        return "T12"
    if after.kind == "date":
        return "T11"
    return "T9" if before.kind == "timestamptz" else "T10"


def _text(before: Type, after: Type) -> str:
    # A string without a length holds every text. A change between char and varchar pads.
    if not after.numbers:
        return "T16"
    return "T16" if before.numbers and before.numbers < after.numbers else "T15"
