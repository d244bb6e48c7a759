"""New columns and fields of a table that exists.

Belongs here: which changes of a type keep every stored value, and the ids by which columns and
nested fields keep their values. Not here: new states (states.py), or the types themselves
(schema.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pyiceberg.types import (
    IcebergType,
    ListType,
    MapType,
    NestedField,
    StructType,
)

from meshhouse.lake.schema import widens


def keeps(old: IcebergType, new: IcebergType) -> bool:
    """Whether a column of type `old` can become `new` with all its values, without rewriting.

    A struct may have new fields and wider ones, at every level, but needs every field of before.
    """
    return lost(old, new, "") is None


Lost = tuple[str, IcebergType, IcebergType | None]
"""Path of a field, its type, and the type that cannot hold its values; None if there is none."""


def lost(old: IcebergType, new: IcebergType | None, path: str) -> Lost | None:
    """The first field, at any level, whose values a new type would lose; None without any."""
    pairs: list[tuple[str, IcebergType, IcebergType | None]] = []
    if isinstance(old, StructType) and isinstance(new, StructType):
        named = {field.name: field.field_type for field in new.fields}
        pairs = [(f"{path}.{f.name}", f.field_type, named.get(f.name)) for f in old.fields]
    elif isinstance(old, ListType) and isinstance(new, ListType):
        pairs = [(f"{path}[]", old.element_type, new.element_type)]
    elif isinstance(old, MapType) and isinstance(new, MapType) and old.key_type == new.key_type:
        pairs = [(f"{path}[]", old.value_type, new.value_type)]
    elif new is None or not (old == new or widens(old, new)):
        return path, old, new
    return next((found for name, *each in pairs if (found := lost(*each, name))), None)


def is_same(old: IcebergType, new: IcebergType) -> bool:
    """Whether two types have the same fields in the same order, whatever their ids are."""
    return shape(old) == shape(new)


def shape(kind: IcebergType) -> Any:
    """A type without the ids of its fields."""
    if isinstance(kind, StructType):
        return tuple((field.name, shape(field.field_type), field.required) for field in kind.fields)
    if isinstance(kind, ListType):
        return ["array", shape(kind.element_type), kind.element_required]
    if isinstance(kind, MapType):
        return ["map", shape(kind.key_type), shape(kind.value_type), kind.value_required]
    return kind


class Ids:
    """Gives the next ids of a table's fields."""

    def __init__(self, last: int) -> None:
        self.last = last

    def next(self) -> int:
        """An id that no field has."""
        self.last += 1
        return self.last


def evolved(
    current: Iterable[NestedField], wanted: Iterable[NestedField], ids: Ids
) -> list[NestedField]:
    """The wanted columns: those that keep their values have their ids, the others new ones."""
    known = {field.name: field for field in current}
    fields = []
    for field in wanted:
        old = known.get(field.name)
        kept = old if old is not None and keeps(old.field_type, field.field_type) else None
        number = ids.next() if kept is None else kept.field_id
        kind = _with_ids(kept.field_type if kept else None, field.field_type, ids)
        fields.append(field.model_copy(update={"field_id": number, "field_type": kind}))
    return fields


def _with_ids(old: Any, new: IcebergType, ids: Ids) -> IcebergType:
    """A type whose fields have the ids of `old`, or new ones; `old` is None or can become it."""
    number: Callable[[str], int] = lambda name: getattr(old, name) if old else ids.next()  # noqa: E731
    if isinstance(new, StructType):
        return StructType(*evolved(old.fields if old else (), new.fields, ids))
    if isinstance(new, ListType):
        element = _with_ids(old and old.element_type, new.element_type, ids)
        return ListType(number("element_id"), element, element_required=new.element_required)
    if isinstance(new, MapType):
        key = _with_ids(old and old.key_type, new.key_type, ids)
        value = _with_ids(old and old.value_type, new.value_type, ids)
        return MapType(
            number("key_id"), key, number("value_id"), value, value_required=new.value_required
        )
    return new
