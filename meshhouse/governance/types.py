"""The types in contracts: one vocabulary for all spellings, with nested types.

Belongs here: reading a type's text. Not here: which types a declaration may use
(repository/types.py), or what a change of type means for readers (type_changes.py).

A type that is unknown keeps its text, and is compared by it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from meshhouse.repository.types import SIMPLE_TYPES

_SPELLINGS: Mapping[str, str] = {
    # Kind -> its other names on some engine. Names of more than one word have one space.
    "tinyint": "int1 byte",
    "smallint": "int2 short",
    "integer": "int4 signed",
    "bigint": "int8 long",
    "hugeint": "int128",
    "float": "float4 real",
    "double": "float8",
    "decimal": "numeric dec number",
    "string": "nvarchar",
    "char": "character bpchar nchar",
    "boolean": "bool logical",
    "timestamp": "datetime timestamp_ntz timestampntz",
    "timestamptz": "timestamp_tz timestamp_ltz timestampltz timestamptz_ltz",
    "binary": "varbinary blob bytea bytes",
    "uuid": "guid",
    "json": "jsonb",
    "struct": "row record object",
    "array": "list",
    "map": "",
}
_OF_TWO_WORDS = {
    "double precision": "double",
    "character varying": "string",
    "char varying": "string",
    "timestamp with time zone": "timestamptz",
    "timestamp with local time zone": "timestamptz",
    "timestamp without time zone": "timestamp",
}
KINDS = {
    **SIMPLE_TYPES,
    **{name: kind for kind, names in _SPELLINGS.items() for name in (kind, *names.split())},
}
_WITH_DIGITS = {"timestamp_s": 0, "timestamp_ms": 3, "timestamp_us": 6, "timestamp_ns": 9}
_DIGITS = 6
"""Digits of a second that a timestamp has on every target if it declares none."""

_TOKEN = re.compile(r"""\s*("(?:[^"]|"")*"|`[^`]*`|'(?:[^']|'')*'|[\w$]+|\[\d*\]|[<>(),:]|\S)""")
_OPEN = {"<": ">", "(": ")"}


@dataclass(frozen=True)
class Field:
    """A field of a struct, the element of an array, or the key or value of a map."""

    name: str
    type: Type
    is_required: bool = False


@dataclass(frozen=True)
class Type:
    """A type, however it was spelled."""

    kind: str
    """A key of `KINDS`; `other` for a type that is unknown."""
    numbers: tuple[int, ...] = ()
    """Of a decimal: precision and scale. Of a string: its longest length, or nothing. Of a
    timestamp: the digits of its seconds."""
    fields: tuple[Field, ...] = ()
    text: str = ""
    """The text of a type that is unknown."""

    def __str__(self) -> str:
        if self.kind == "other":
            return self.text
        if self.kind == "struct":
            return f"struct<{', '.join(_field_text(each) for each in self.fields)}>"
        if self.fields:
            return f"{self.kind}<{', '.join(str(each.type) for each in self.fields)}>"
        if not self.numbers or (self.kind.startswith("timestamp") and self.numbers == (_DIGITS,)):
            return self.kind
        kind = "varchar" if self.kind == "string" else self.kind
        return f"{kind}({','.join(map(str, self.numbers))})"

    @property
    def is_nested(self) -> bool:
        """Whether it is a struct, an array or a map."""
        return bool(self.fields)


def _field_text(field: Field) -> str:
    return f"{field.name} {field.type}{' not null' if field.is_required else ''}"


@lru_cache(maxsize=4096)
def type_of(text: str) -> Type:
    """The type that a text means; of kind `other` if the text is not understood."""
    tokens = _TOKEN.findall(text)
    parser = _Parser(tokens)
    try:
        found = parser.type()
    except (_NotUnderstood, RecursionError):
        return _other(tokens)
    return found if parser.at == len(tokens) else _other(tokens)


def _other(tokens: list[str]) -> Type:
    spaced = " ".join(tokens).lower()
    return Type("other", text=re.sub(r" (?=[(),<>\[])|(?<=[(,<]) ", "", spaced))


class _NotUnderstood(Exception):
    """The text is not a type of the vocabulary."""


class _Parser:
    """Reads a type from its tokens, by recursive descent."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.at = 0

    def next(self) -> str:
        """The next token in lower case; empty at the end."""
        return self.tokens[self.at].lower() if self.at < len(self.tokens) else ""

    def take(self, *wanted: str) -> bool:
        """Steps over these tokens if they come next."""
        found = [each.lower() for each in self.tokens[self.at : self.at + len(wanted)]]
        if found != list(wanted):
            return False
        self.at += len(wanted)
        return True

    def type(self) -> Type:
        found = self.single()
        while re.fullmatch(r"\[\d*\]", self.next()):
            self.at += 1
            found = Type("array", fields=(Field("element", found),))
        return found

    def single(self) -> Type:
        for words, kind in _OF_TWO_WORDS.items():
            if self.take(*words.split()):
                return _scalar(kind, self.numbers())
        start, word = self.at, self.next()
        self.at += 1
        if word in _WITH_DIGITS:
            return Type("timestamp", (_WITH_DIGITS[word],))
        kind = KINDS.get(word, "")
        if kind == "struct" and self.next() in _OPEN:
            return Type("struct", fields=self.struct())
        if kind in {"array", "map"} and self.next() in _OPEN:
            return Type(kind, fields=self.parts(kind))
        if kind in {"struct", "array", "map"} or not word:
            raise _NotUnderstood
        return self.scalar(kind) if kind else self.unknown(start)

    def scalar(self, kind: str) -> Type:
        numbers = self.numbers()
        if kind == "timestamp":
            if self.take("with", "time", "zone") or self.take("with", "local", "time", "zone"):
                kind = "timestamptz"
            else:
                self.take("without", "time", "zone")
        return _scalar(kind, numbers)

    def numbers(self) -> tuple[int, ...]:
        """The numbers in brackets after a type's name."""
        found: list[int] = []
        if self.take("("):
            while self.next().isdigit():
                found.append(int(self.next()))
                self.at += 1
                if not self.take(","):
                    break
            if not self.take(")"):
                raise _NotUnderstood
        return tuple(found)

    def struct(self) -> tuple[Field, ...]:
        end = _OPEN[self.next()]
        self.at += 1
        found = []
        while True:
            name = self.name()
            self.take(":")
            kind = self.type()
            is_required = self.take("not", "null")
            if self.take("comment"):
                self.at += 1
            found.append(Field(name, kind, is_required))
            if self.take(end):
                return tuple(found)
            if not self.take(","):
                raise _NotUnderstood

    def name(self) -> str:
        if self.at >= len(self.tokens) or not re.match(r'[\w$"`]', self.tokens[self.at]):
            raise _NotUnderstood
        token = self.tokens[self.at]
        self.at += 1
        return token.strip('"`').lower()

    def parts(self, kind: str) -> tuple[Field, ...]:
        """The element of an array, or the key and the value of a map."""
        end = _OPEN[self.next()]
        self.at += 1
        found = []
        for name in ("element",) if kind == "array" else ("key", "value"):
            if found and not self.take(","):
                raise _NotUnderstood
            part = self.type()
            found.append(Field(name, part, self.take("not", "null")))
        if not self.take(end):
            raise _NotUnderstood
        return tuple(found)

    def unknown(self, start: int) -> Type:
        """A type with an unknown name, with the brackets after it."""
        open_ = []
        while self.next() in _OPEN or open_:
            if self.next() in _OPEN:
                open_.append(_OPEN[self.next()])
            elif self.next() == open_[-1]:
                open_.pop()
            elif not self.next():
                raise _NotUnderstood
            self.at += 1
        return _other(self.tokens[start : self.at])


def _scalar(kind: str, numbers: tuple[int, ...]) -> Type:
    if kind == "decimal":
        # Without numbers engines differ: (18,3), (10,0), (38,0). Then only the text is known.
        return Type("decimal", (numbers[0], *numbers[1:2], 0)[:2] if numbers else ())
    if kind in {"timestamp", "timestamptz"}:
        return Type(kind, numbers[:1] or (_DIGITS,))
    if kind in {"string", "char"}:
        return Type(kind, numbers[:1])
    return Type(kind)
