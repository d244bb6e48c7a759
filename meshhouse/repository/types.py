"""The types that declarations use; each means the same on every target.

Belongs here: reading a `data_type`. Not here: what a type is (datatype.py), or the names of a type
in an engine, in Iceberg or in Soda (engines/types.py, lake/schema.py, audit/contract.py).
"""

from __future__ import annotations

import re

from meshhouse.repository import names
from meshhouse.repository.datatype import DEEPEST, KEY_KINDS, DataType, Part

SIMPLE_TYPES = {
    "bigint": "bigint",
    "integer": "integer",
    "int": "integer",
    "string": "string",
    "text": "string",
    "varchar": "string",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
    "timestamptz": "timestamptz",
    "timestamp with time zone": "timestamptz",
    "double": "double",
}
_INSTEAD = {
    # Types that are missing, or mean something else, on some target -> what to declare instead.
    "float float4 real": "It has 32 bits on some targets and 64 on others; use `double`.",
    "float8 double_precision": "Use `double`.",
    "time timetz": "Use `string` (`HH:MM:SS`), a whole number of seconds, or `timestamp`.",
    "uuid guid": "Use `string`.",
    "json jsonb variant object": "Use `struct<id bigint>` or another nested type, or `string` that "
    "holds the JSON text.",
    "list": "Use `array<type>`.",
    "array": "Say what it holds: `array<string>`.",
    "map": "Say what it holds: `map<string, double>`.",
    "struct row record": "Name its fields: `struct<id bigint, name string>`.",
    "interval": "Use a whole number of days or seconds.",
    "binary varbinary blob bytea bytes": "Use `string` that holds hexadecimal digits.",
    "char character nchar bpchar string text varchar nvarchar": "Lengths are not kept on every "
    "target; use `string` and a `valid_max_length` check.",
    "tinyint smallint int2 int1 int4 short byte": "Use `integer`.",
    "int8 long": "Use `bigint`.",
    "utinyint usmallint uinteger": "Use `bigint`.",
    "ubigint hugeint uhugeint number decimal numeric dec": "Use `decimal(p,s)` with at most 38 "
    "digits.",
    "datetime timestamp_ntz timestampntz timestamp_s timestamp_ms timestamp_us timestamp_ns":
    "Use `timestamp`, which has microseconds and no zone.",
    "timestamp_ltz timestamp_tz timestampltz": "Use `timestamptz`, which is an instant.",
    "timestamp timestamptz": "Declare no digits; every target keeps microseconds.",
    "bool": "Use `boolean`.",
    "enum geometry geography vector bit": "Use `string`.",
}  # fmt: skip
_DECIMAL = re.compile(r"(?:decimal|numeric)\s*\(\s*(\d+)\s*,\s*(\d+)\s*\)")


def parse_type(text: str) -> DataType:
    """The type that a declaration or an engine means.

    A nested type may have the spelling of any engine: `struct<a bigint>`, `struct(a bigint)`,
    `struct<a: bigint>`, `array<string>` or `varchar[]`.

    Raises:
        ValueError: the type is unknown; the message says what is wrong and lists the known types.
    """
    tokens = _TOKEN.findall(text)
    reader = _Reader(text, tokens)
    found = reader.type()
    if reader.at < len(tokens):
        raise reader.bad()
    if found.levels > DEEPEST:
        raise ValueError(f"`{text[:60]}...` has more than {DEEPEST} levels of nested types.")
    return found


def spelled(text: str) -> str | None:
    """How to write a nested type that a declaration writes in another way; None if it is right.

    dbt's macros translate one spelling for every engine (macros/types.sql).
    """
    found = parse_type(text)
    plain = re.sub(r"\s*:\s*", " ", text.lower())
    other = re.search(r'[(\["]', _DECIMAL.sub("", plain)) if found.is_nested else None
    if other is None:
        return None
    return str(found)


_TOKEN = re.compile(r"""\s*("(?:[^"]|"")*"|`[^`]*`|\w+|\[\d*\]|\S)""")
_OPEN = {"<": ">", "(": ")"}
_NESTED = {"struct": "struct", "row": "struct", "array": "array", "map": "map"}


class _Reader:
    """Reads a type from its tokens, by recursive descent."""

    def __init__(self, text: str, tokens: list[str]) -> None:
        self.text, self.tokens, self.at, self.depth = text, tokens, 0, 0

    def bad(self, what: str = "") -> ValueError:
        """The error for a text that is not a type."""
        known = ", ".join(sorted(set(SIMPLE_TYPES.values())))
        instead = what or _instead(" ".join(self.text.lower().split()))
        return ValueError(
            f"`{self.text}` is not a known type. {f'{instead} '.lstrip()}Types: {known}, "
            "decimal(p,s), array<type>, map<string, type>, struct<name type, ...>."
        )

    def next(self, ahead: int = 0) -> str:
        """A token that is not read yet, in lower case; empty at the end."""
        at = self.at + ahead
        return self.tokens[at].lower() if at < len(self.tokens) else ""

    def take(self, *wanted: str) -> bool:
        """Steps over these tokens if they come next."""
        if any(self.next(ahead) != each for ahead, each in enumerate(wanted)):
            return False
        self.at += len(wanted)
        return True

    def type(self) -> DataType:
        self.depth += 1
        if self.depth > 2 * DEEPEST:
            raise self.bad("It is nested too deeply.")
        found = self.nested() if self.next() in _NESTED and self.next(1) in _OPEN else self.scalar()
        while re.fullmatch(r"\[\d*\]", self.next()):
            self.at += 1
            found = DataType("array", parts=(Part("element", found),))
        self.depth -= 1
        return found

    def scalar(self) -> DataType:
        start = self.at
        if self.take("timestamp", "with", "time", "zone"):
            return DataType("timestamptz")
        self.at += 1
        if self.next() == "(":
            while self.next() and not self.take(")"):
                self.at += 1
        text = "".join(self.tokens[start : self.at]).lower()
        if text in SIMPLE_TYPES:
            return DataType(SIMPLE_TYPES[text])
        match = _DECIMAL.fullmatch(text)
        if match and 1 <= int(match[1]) <= 38 and int(match[2]) <= int(match[1]):
            return DataType("decimal", int(match[1]), int(match[2]))
        if self.depth > 1 and text:
            raise self.bad(f"`{text}` in it: {_instead(text)}" if _instead(text) else
                           f"It has a part of the unknown type `{text}`.")  # fmt: skip
        raise self.bad()

    def nested(self) -> DataType:
        kind, end = _NESTED[self.next()], _OPEN[self.next(1)]
        self.at += 2
        wanted = {"array": ("element",), "map": ("key", "value")}.get(kind)
        parts: list[Part] = []
        while True:
            name = wanted[len(parts)] if wanted and len(parts) < len(wanted) else self.name()
            of = self.type()
            parts.append(Part(name, of, self.take("not", "null")))
            if self.take(end):
                break
            if not self.take(","):
                raise self.bad(f"Its {kind} is not closed, or a comma is missing.")
        if wanted and len(parts) != len(wanted):
            raise self.bad(f"A {kind} has {len(wanted)} types: {', '.join(wanted)}.")
        return self.checked(DataType(kind, parts=tuple(parts)))

    def checked(self, found: DataType) -> DataType:
        folded = [part.name.lower() for part in found.parts]
        twice = next((each for each in folded if folded.count(each) > 1), None)
        if twice is not None:
            raise self.bad(f"It has the field `{twice}` twice; engines do not tell case apart.")
        if found.kind == "map" and found.parts[0].type.kind not in KEY_KINDS:
            raise self.bad(f"The keys of a map are {', '.join(KEY_KINDS)} on every target.")
        return found

    def name(self) -> str:
        if not re.match(r'["`]|\w', self.next()) or not re.match(r'[\w"`:]', self.next(1)):
            raise self.bad("A field of a struct has a name and a type: `struct<id bigint>`.")
        found = self.tokens[self.at]
        self.at += 1
        self.take(":")
        if found[0] in '"`':
            found = found[1:-1].replace('""', '"')
        elif not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", found):
            raise self.bad(f"Write the name of its field `{found}` in backticks.")
        if re.search(r"[][<>(),:]", found):
            raise self.bad(f"A field cannot have the name `{found}`: signs of types are in it.")
        if problem := names.bad_column(found):
            raise self.bad(problem)
        return found


def _instead(normal: str) -> str:
    """What to declare instead of a type that is given in lower case; empty if unknown."""
    word = re.match(r"double precision|\w*", normal)
    kind = "array" if normal.endswith("]") else word[0].replace(" ", "_") if word else ""
    return next((text for kinds, text in _INSTEAD.items() if kind in kinds.split()), "")


def is_type(text: str) -> bool:
    """Whether a declaration may use this type."""
    try:
        parse_type(text)
    except ValueError:
        return False
    return True
