"""Parsing: from the JSON text of one event to the exact text of each of its fields.

Belongs here: the check that an event is a JSON object, numbers as they were written, and undeclared
fields. Not here: converting the texts to types (convert.py), the shape of nested values
(nested.py), or the fast pass over plain events (plain.py).

Python's parser passes every number on as text, so no number becomes a double. Together with the
rest of the exact path it takes 15 us of CPU time per event of 8 columns (decision 0045).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any

from meshhouse.landing.formats.errors import Unreadable
from meshhouse.repository.types import DataType

_MOST_PLACES = 100
"""Only a double can store a number with more digits than this before or after the point."""
_WITH_EXPONENT = re.compile(
    r"[ \t\r\n]*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][+-]?[0-9]{1,9}[ \t\r\n]*"
)
_HALF_A_PAIR = "half of a surrogate pair, which is not valid Unicode"
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class _Number(str):
    """A number as it was written."""

    __slots__ = ()


class _Constant(_Number):
    """A NaN or an infinity: Python's parser accepts them, JSON does not have them."""

    __slots__ = ()


_TEXTS = frozenset({str, _Number, type(None)})
"""Python types of parsed values that need no further conversion to text."""


class Documents:
    """Reads events whose values are JSON objects with some declared fields."""

    def __init__(self, fields: Sequence[tuple[str, DataType]]) -> None:
        """`fields` are the declared fields."""
        self._names = [name for name, _ in fields]
        self._strings = [kind.kind == "string" for _, kind in fields]
        self._declared = frozenset(self._names)
        self._nested = [(place, name, kind) for place, (name, kind) in enumerate(fields)
                        if kind.is_nested]  # fmt: skip

    def read(self, value: bytes) -> list[Any]:
        """Returns the text of each declared field, then the other fields as one JSON text.

        The text of a null or absent field is None. For a field with a nested type, it is the
        parsed value in place of a text. For other types, the text of a nested value is JSON
        without white space and with its numbers as they were written.

        Raises:
            Unreadable: the event is not a single JSON object.
        """
        try:
            return self._texts(parsed(value))
        except RecursionError:  # possible if the caller already uses most of the stack
            raise Unreadable("is nested deeper than the stack allows") from None

    def _texts(self, document: dict[str, Any]) -> list[Any]:
        texts = values = list(map(document.get, self._names))
        if not _TEXTS.issuperset(map(type, values)):
            texts = list(map(field_text, values, self._strings))
        others = {}
        for place, name, kind in self._nested:
            texts[place] = values[place]
            left = undeclared(values[place], kind)
            if left is not None:
                others[name] = left
        if not document.keys() <= self._declared:
            others |= {key: each for key, each in document.items() if key not in self._declared}
        texts.append(json_text(others) if others else None)
        return texts


def without_exponent(text: str | None) -> str | None:
    """Returns a number without an exponent; any other text unchanged."""
    if text is None or ("e" not in text and "E" not in text) or not _WITH_EXPONENT.fullmatch(text):
        return text
    number = Decimal(text.strip(" \t\r\n"))
    if not number:
        return "0"
    return format(number, "f") if abs(number.adjusted()) < _MOST_PLACES else text


def parsed(value: bytes) -> dict[str, Any]:
    """The object of an event; each number is a text with its digits.

    Raises:
        Unreadable: the event is not a single JSON object.
        RecursionError: it is nested deeper than the rest of the stack allows.
    """
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise Unreadable("is not valid UTF-8") from None
    try:
        document = _DECODER.decode(text)
    except json.JSONDecodeError:
        raise Unreadable("is not JSON") from None
    if not isinstance(document, dict):
        raise Unreadable("is JSON, but not an object")
    if _has_half_a_pair(text, document):
        raise Unreadable(f"has {_HALF_A_PAIR}")
    return document


def parsed_value(text: str, path: str) -> Any:
    """The value of a field that holds JSON text, in the same form.

    Raises:
        Unreadable: the text is not JSON; the message names the field.
        RecursionError: it is nested deeper than the rest of the stack allows.
    """
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError:
        raise Unreadable(f"field `{path}`: `{text[:100]}` is not JSON") from None
    except Unreadable as unreadable:
        raise Unreadable(f"field `{path}`: its JSON {unreadable}") from None
    if _has_half_a_pair(text, value):
        raise Unreadable(f"field `{path}`: its JSON has {_HALF_A_PAIR}")
    return value


def _has_half_a_pair(text: str, value: Any) -> bool:
    """Whether a parsed value has a text that UTF-8 cannot hold; only an escape can write one."""
    return "\\u" in text and _LONE_SURROGATE.search(json_text(value)) is not None


def is_number(value: Any) -> bool:
    """Whether a parsed value is a number."""
    return isinstance(value, _Number)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        shown = twice[:100].encode(errors="backslashreplace").decode()
        raise Unreadable(f"has the field `{shown}` more than once")
    return document


_DECODER = json.JSONDecoder(
    parse_float=_Number,
    parse_int=_Number,
    parse_constant=_Constant,
    object_pairs_hook=_unique,
)


def field_text(value: Any, is_string: bool) -> str | None:
    """The text of a parsed value; nested values are JSON.

    Args:
        value: a value of a document.
        is_string: whether the field has the type string.

    Raises:
        Unreadable: the value contains NaN or an infinity, which JSON does not have.
    """
    # For types other than string a constant passes, so that the reject reason names the field.
    if value is None or (isinstance(value, str) and not (is_string and type(value) is _Constant)):
        return value
    return json_text(value)


def json_text(value: Any) -> str:
    """A parsed value as JSON.

    Plain loops, so that each level of nesting takes one level of the stack: events have up to
    `DEEPEST`, and Python allows 1,000. With `map` and comprehensions, 332 levels were too many.
    """
    if isinstance(value, _Constant):
        raise Unreadable(f"is not JSON: `{value}` is not a number")
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, dict):
        members = []
        for key, each in value.items():
            members.append(f"{encode_basestring(key)}:{json_text(each)}")
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        parts = []
        for each in value:
            parts.append(json_text(each))  # noqa: PERF401 - saves a level of the stack
        return "[" + ",".join(parts) + "]"
    return "null" if value is None else "true" if value else "false"


def undeclared(value: Any, kind: DataType) -> Any:
    """The parts of a value that its type does not declare, at their places; None without any.

    In an array, null stands for each element before the last one that has undeclared fields.
    """
    if kind.kind == "struct" and isinstance(value, dict):
        declared = {part.name: part for part in kind.parts}
        found = {}
        for name, each in value.items():
            left = undeclared(each, declared[name].type) if name in declared else each
            if left is not None or name not in declared:
                found[name] = left
        return found or None
    if kind.kind == "map" and isinstance(value, dict):
        lefts = {key: undeclared(each, kind.parts[1].type) for key, each in value.items()}
        return {key: left for key, left in lefts.items() if left is not None} or None
    if kind.kind == "array" and isinstance(value, list):
        listed = [undeclared(each, kind.parts[0].type) for each in value]
        while listed and listed[-1] is None:
            listed.pop()
        return listed or None
    return None
