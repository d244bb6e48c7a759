"""Columns and types that fit sample events, and what is uncertain about them.

Belongs here: the decision which types a topic's fields get. Not here: reading samples
(events/files.py), writing the declaration (repository/new_topic.py), or the conversion itself
(convert.py, decode.py), which judges every decision made here.

A type is chosen only if landing converts every sample to it without loss. What fits no other type
is a string, which keeps the text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from meshhouse.events.files import Number
from meshhouse.events.source import EVENT_SCHEMA
from meshhouse.landing.convert import converted
from meshhouse.landing.decode import Decoder
from meshhouse.repository import Column, RawTable, names
from meshhouse.repository.columns import LANDING_COLUMNS
from meshhouse.repository.types import is_type, parse_type

MOST_COLUMNS = 500
_MOST_FIELDS = 100
"""Fields of a nested object above which its fields are data, not a structure."""
_DIGITS_OF_PEOPLE = 9
"""Most digits after the point that people write; more of them come from binary numbers."""
_LEAST_SCALE = 2
"""Samples with prices such as 4.2 and 3.1 say nothing about 4.25, which comes later."""
_WIDEST = 38
_USUAL = 18
_BIGINT = range(-(2**63), 2**63)
_INTEGER = re.compile(r"-?[0-9]+")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?P<time>[T ][0-9]{2}[0-9:.]*(?P<zone>Z|[+-][0-9:]+)?)?"
)
_REASON = re.compile(r"^(?:field |misses the required field )`(?P<field>.*?)`(?::|$)", re.DOTALL)


@dataclass(frozen=True)
class Inferred:
    """A column that fits the samples."""

    name: str
    data_type: str
    required: bool
    doubts: tuple[str, ...] = ()
    """What the samples leave open, such as `3 of 1,000 events have text`."""


@dataclass(frozen=True)
class Inference:
    """The columns of a topic."""

    columns: tuple[Inferred, ...]
    left_out: Mapping[str, str]
    """Field -> why it cannot be a column; its values are in `_rescued`."""


@dataclass(frozen=True)
class Sample:
    """An event whose value is a JSON object."""

    value: bytes
    fields: Mapping[str, Any]
    """The parsed object; numbers are `Number`."""


def infer(samples: Sequence[Sample], key: str | None = None) -> Inference:
    """Columns with which landing rejects none of the samples and changes no value.

    Args:
        samples: the events.
        key: the field whose text is the key of the events, which is always required.
    """
    found = dict.fromkeys(name for each in samples for name in each.fields)
    left_out = left_out_of(found)
    columns = [
        _column(name, [each.fields.get(name) for each in samples], name == key)
        for name in found
        if name not in left_out
    ]
    return Inference(tuple(_landed(columns, samples)), left_out)


def left_out_of(found: Iterable[str]) -> dict[str, str]:
    """Names that cannot be columns -> why."""
    reasons: dict[str, str] = {}
    seen: dict[str, str] = {}
    for name in found:
        if names.bad_column(name):
            reasons[name] = "its name cannot name a column"
        elif name.lower() in LANDING_COLUMNS:
            reasons[name] = "landing adds a column of this name"
        elif name.lower() in seen:
            reasons[name] = f"`{seen[name.lower()]}` differs in case only"
        elif len(seen) >= MOST_COLUMNS:
            reasons[name] = f"there are more than {MOST_COLUMNS} fields"
        else:
            seen[name.lower()] = name
    return reasons


def _column(name: str, values: Sequence[Any], is_key: bool) -> Inferred:
    held = [each for each in values if each is not None]
    data_type, doubts = _type(held, len(values))
    return Inferred(name, data_type, is_key or len(held) == len(values), doubts)


Chosen = tuple[str, tuple[str, ...]]
"""A type, and what is uncertain about it."""


def _type(held: Sequence[Any], events: int) -> Chosen:
    """The type of values, none of which is null."""
    kinds = Counter(map(_kind, held))
    if not held:
        return "string", (f"no value in {_of(events)}",)
    if len(kinds) == 1:
        [kind] = kinds
        if kind == "boolean":
            return "boolean", ()
        if kind == "a number":
            return _number(held, events)
        if kind == "text":
            return _text(held, events)
        return _nested(held, kind, events)
    texts = [each for each in held if _kind(each) == "text"]
    if set(kinds) == {"a number", "text"} and all(map(_NUMBER.fullmatch, texts)):
        chosen, doubts = _number(held, events)
        if chosen == "string":
            return chosen, doubts
        lost = _changed(texts, chosen)
        if not lost:
            return chosen, (f"{_of(events, len(texts))} have text", *doubts)
        why = f"; as numbers, {lost:,} of the texts would lose zeros, a sign or an exponent"
    else:
        why = ""
    shares = ", ".join(f"{count:,} have {kind}" for kind, count in kinds.most_common())
    return "string", (f"of {_of(events)}, {shares}{why}",)


def _changed(texts: Sequence[str], data_type: str) -> int:
    """How many texts, such as `01234`, would read differently as numbers.

    A decimal may add zeros: `9.9` is `9.90`. But then no other text may be `9.90`.
    """
    spellings: dict[str, set[str]] = {}
    lost = 0
    for text in texts:
        if data_type == "double":
            printed = repr(float(text))
            lost += printed != text
        else:
            printed = f"{Decimal(text):.{parse_type(data_type).scale}f}"
            is_negative_zero = text.startswith("-") and not Decimal(text)
            lost += not printed.startswith(text) or is_negative_zero
        spellings.setdefault(printed, set()).add(text)
    return lost or sum(len(each) - 1 for each in spellings.values())


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, Number):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "an object" if isinstance(value, Mapping) else "a list"


def _number(texts: Sequence[str], events: int) -> Chosen:
    if all(map(_INTEGER.fullmatch, texts)):
        return _integer(texts, events)
    try:
        numbers = [Decimal(each) for each in texts]
    except InvalidOperation:  # an exponent of more than 18 digits
        return "string", ("some exponents are out of the range of every type",)
    seen = max(max(0, -_exponent(each)) for each in numbers)
    whole = max(max(0, each.adjusted() + 1) for each in numbers)
    if seen <= _DIGITS_OF_PEOPLE and whole + seen <= _WIDEST:
        return _decimal(whole, seen, len(texts))
    if all(map(_is_binary, texts)):
        return "double", (f"up to {seen} digits after the point, as binary numbers have",)
    seen = max(max(0, -_exponent(_shortest(each))) for each in numbers)
    if whole + seen <= _WIDEST:
        return _decimal(whole, seen, len(texts))
    return "string", (f"up to {whole} digits before the point and {seen} after it",)


def _decimal(whole: int, seen: int, values: int) -> Chosen:
    """A decimal for numbers with that many digits before the point, and `seen` after it."""
    scale = max(seen, min(_LEAST_SCALE, _WIDEST - whole))
    width = _USUAL if whole + scale <= _USUAL else _WIDEST
    doubt = (
        f"at most {seen} digit{'s' * (seen != 1)} after the point in {values:,} "
        f"value{'s' * (values != 1)}; values with more than {scale} are rejected"
    )
    return f"decimal({width},{scale})", (doubt,)


def _integer(texts: Sequence[str], events: int) -> Chosen:
    longest = max(len(each.lstrip("-").lstrip("0")) for each in texts)
    if longest > _WIDEST:
        return "string", (f"up to {longest} digits, and a number has at most {_WIDEST}",)
    large = sum(int(each) not in _BIGINT for each in texts)
    if large:
        return f"decimal({_WIDEST},0)", (f"{_of(events, large)} do not fit bigint",)
    return "bigint", ()


def _exponent(number: Decimal) -> int:
    return int(number.as_tuple().exponent)


def _shortest(number: Decimal) -> Decimal:
    """The number without zeros at the end of its fraction."""
    digits = number.as_tuple()
    exponent, kept = int(digits.exponent), list(digits.digits)
    while exponent < 0 and kept and kept[-1] == 0:
        kept.pop()
        exponent += 1
    return Decimal((digits.sign, tuple(kept) or (0,), exponent if kept else 0))


def _is_binary(text: str) -> bool:
    """Whether a double holds exactly what the text says, in its shortest notation."""
    return Decimal(repr(float(text))) == Decimal(text)


def _text(texts: Sequence[str], events: int) -> Chosen:
    forms = Counter(map(_form, texts))
    [(form, count)] = forms.most_common(1)
    if form and count == len(texts):
        invalid = _unconverted(texts, form)
        if not invalid:
            return form, ()
        return "string", (f"{_of(events, invalid)} look like a {form}, and are not valid",)
    if form:
        return "string", (f"{_of(events, count)} look like a {form}, the others do not",)
    if all(map(_NUMBER.fullmatch, texts)):
        return "string", ("every value is a number in quotes; declare a number if it is one",)
    return "string", ()


def _form(text: str) -> str | None:
    """The type that a text looks like; None for other texts."""
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    return "timestamptz" if match["zone"] else "timestamp" if match["time"] else "date"


def _unconverted(texts: Sequence[str], data_type: str) -> int:
    """How many texts landing does not convert to a type."""
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.register("texts", pa.table({"f": pa.array(texts, pa.string())}))
        value = converted("f", parse_type(data_type))
        found = connection.execute(f"select count(*) - count({value}) from texts").fetchone()
    assert found is not None
    return int(found[0])


def _nested(held: Sequence[Any], kind: str, events: int) -> Chosen:
    data_type, doubts = _array(held) if kind == "a list" else _object(held)
    if data_type is not None and is_type(data_type):
        return str(parse_type(data_type)), doubts
    return "string", (f"{_of(events, len(held))} have {kind}; the column holds its JSON text",)


def _array(held: Sequence[Any]) -> tuple[str | None, tuple[str, ...]]:
    items = [each for items in held for each in items if each is not None]
    if not items or len({_kind(each) for each in items}) > 1:
        return None, ()
    data_type, doubts = _type(items, len(items))
    return f"array<{data_type}>", _inside("its items", doubts)


def _object(held: Sequence[Any]) -> tuple[str | None, tuple[str, ...]]:
    fields = dict.fromkeys(name for each in held for name in each)
    folded = {name.lower() for name in fields}
    if not fields or len(folded) < len(fields) or len(fields) > _MOST_FIELDS:
        return None, ()
    parts, doubts = [], []
    for name in fields:
        values = [each[name] for each in held if each.get(name) is not None]
        if len({_kind(each) for each in values}) != 1 or names.bad_column(name):
            return None, ()
        data_type, open_ = _type(values, len(values))
        plain = name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else f'"{name}"'
        parts.append(f"{plain} {data_type}")
        doubts += _inside(f"`{name}`", open_)
    return f"struct<{', '.join(parts)}>", tuple(doubts)


def _inside(what: str, doubts: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{what}: {each}" for each in doubts)


def _of(events: int, count: int | None = None) -> str:
    all_ = f"{events:,} events" if events != 1 else "1 event"
    return all_ if count is None else f"{count:,} of {all_}"


def _landed(columns: list[Inferred], samples: Sequence[Sample]) -> list[Inferred]:
    """The columns, with a string for each that landing refuses in one of the samples."""
    while True:
        refused = _refused(columns, samples)
        places = {each.name: place for place, each in enumerate(columns)}
        changed = False
        for path, count in refused.items():
            # A nested value is named by its path, such as `items[0].price`.
            owners = [each for each in places if f"{path}.".startswith((f"{each}.", f"{each}["))]
            place = places.get(max(owners, key=len, default=""))
            if place is None or columns[place].data_type == "string":
                continue
            doubt = f"{_of(len(samples), count)} are not valid {columns[place].data_type}"
            columns[place] = replace(columns[place], data_type="string", doubts=(doubt,))
            changed = True
        if not changed:
            return columns


def _refused(columns: Sequence[Inferred], samples: Sequence[Sample]) -> Counter[str]:
    """Column, or path of a nested value -> how many samples landing rejects because of it."""
    if not columns or not samples:
        return Counter()
    raw = RawTable(
        domain="samples",
        schema="samples_raw",
        name="samples",
        topic="samples",
        columns=tuple(Column(each.name, each.data_type) for each in columns),
        description="",
        changelog=False,
        path=Path("topics.yml"),
        line=1,
    )
    count = len(samples)
    events = pa.table(
        {
            "offset": pa.array(range(count), pa.int64()),
            "timestamp": pa.array([0] * count, pa.int64()).cast(EVENT_SCHEMA.field(1).type),
            "key": pa.nulls(count, pa.binary()),
            "value": pa.array([each.value for each in samples], pa.binary()),
            "headers": pa.nulls(count, EVENT_SCHEMA.field("headers").type),
        },
        schema=EVENT_SCHEMA,
    )
    decoded = Decoder(raw).decode(0, events, datetime.now(UTC))
    reasons = decoded.rejected["reason"].to_pylist()
    matches = (_REASON.match(each) for each in reasons)
    return Counter(each["field"] for each in matches if each)
