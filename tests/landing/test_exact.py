"""Landed values equal the events' values, digit by digit, compared by Python's json and decimal."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshhouse.events.batches import from_rows, with_offsets
from meshhouse.landing.decode import Decoded, Decoder
from meshhouse.landing.plain import Plain, PlainReader
from meshhouse.repository import Column, RawTable

from .test_decode import LANDED_AT, raw_table

SOME = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
KINDS = {
    "b": "bigint", "i": "integer", "d": "decimal(18,2)", "w": "decimal(38,10)", "z": "decimal(5,5)",
    "h": "decimal(38,18)", "e": "decimal(38,38)",
    "f": "double", "o": "boolean", "s": "string", "day": "date", "at": "timestamptz",
    "local": "timestamp",
}  # fmt: skip
TABLE = raw_table(*(Column(name, kind) for name, kind in KINDS.items()))
STRICT = raw_table(Column("b", "bigint", required=True), Column("s", "string"))


class Number(str):
    """A number in the notation of the event."""


class Twice(Exception):
    """A field occurs more than once."""


# Parsing documents


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise Twice
    return dict(pairs)


def never(constant: str) -> Any:
    raise ValueError(constant)


def parsed(value: bytes) -> dict[str, Any] | None:
    """The document of an event; None if it must be rejected under any declaration."""
    try:
        document = json.loads(
            value.decode(), parse_int=Number, parse_float=Number, parse_constant=never,
            object_pairs_hook=unique,
        )  # fmt: skip
        json_of(document).encode()
    except (ValueError, Twice):
        return None
    return document if isinstance(document, dict) else None


def json_of(value: Any) -> str:
    """JSON without white space, with numbers as they were written."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, list):
        return f"[{','.join(json_of(each) for each in value)}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{json_of(key)}:{json_of(each)}' for key, each in value.items())}}}"
    return json.dumps(value, ensure_ascii=False)


# Values of each type

NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
MOMENT = (
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d)(?::(\d\d)(?::(\d\d)(?:\.(\d{1,6})0*)?)?)?"
    r"(?:(Z)|([+-])(\d\d)(?::?(\d\d))?)?)?"
)
NO = object()
"""Stands for a text that is not a value of the type."""


def number(value: Any) -> Decimal | None:
    if not isinstance(value, str):
        return None
    text = str(value).strip(" \t\r\n")
    if not re.fullmatch(NUMBER, text, re.ASCII):
        return None
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent of more digits than any type has
        return None


def integer(bits: int) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        found = number(value)
        if found is None or (found and found.adjusted() > 40):
            return NO
        if found != found.to_integral_value():
            return NO
        return int(found) if -(2 ** (bits - 1)) <= found < 2 ** (bits - 1) else NO

    return read


def decimal(precision: int, scale: int) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        found = number(value)
        if found is None:
            return NO
        if not found:
            return Decimal(0)
        digits, exponent = found.as_tuple().digits, found.as_tuple().exponent
        assert isinstance(exponent, int)
        text = "".join(map(str, digits)).lstrip("0")
        exponent += len(text) - len(text.rstrip("0"))
        return found if -exponent <= scale and found.adjusted() < precision - scale else NO

    return read


def double(value: Any) -> Any:
    if number(value) is None:
        return NO
    found = float(value)
    return NO if abs(found) == float("inf") else found


def boolean(value: Any) -> Any:
    text = value if isinstance(value, str) and not isinstance(value, Number) else json_of(value)
    return {"true": True, "false": False}.get(text, NO)


def day(value: Any) -> Any:
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII):
        return NO
    try:
        return date.fromisoformat(value)
    except ValueError:
        return NO


def moment(zoned: bool) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        found = re.fullmatch(MOMENT, value, re.ASCII) if isinstance(value, str) else None
        if found is None:
            return NO
        on, hour, minute, second, fraction, utc, sign, hours, minutes = found.groups()
        if (utc or sign) and not zoned:
            return NO
        try:
            at = datetime.fromisoformat(on).replace(
                hour=int(hour or 0), minute=int(minute or 0), second=int(second or 0),
                microsecond=int((fraction or "").ljust(6, "0")),
            )  # fmt: skip
            if sign:
                if int(hours) > 23 or int(minutes or 0) > 59:
                    return NO
                shift = timedelta(hours=int(hours), minutes=int(minutes or 0))
                at = at - shift if sign == "+" else at + shift
        except (ValueError, OverflowError):
            return NO
        return at.replace(tzinfo=UTC) if zoned else at

    return read


def string(value: Any) -> Any:
    return str(value) if isinstance(value, str) else json_of(value)


VALUES: dict[str, Callable[[Any], Any]] = {
    "b": integer(64), "i": integer(32), "d": decimal(18, 2), "w": decimal(38, 10),
    "z": decimal(5, 5), "h": decimal(38, 18), "e": decimal(38, 38), "f": double,
    "o": boolean, "s": string, "day": day,
    "at": moment(zoned=True), "local": moment(zoned=False),
}  # fmt: skip


def expected(raw: RawTable, value: bytes) -> dict[str, Any] | None:
    """The row of an event; None if the event must be rejected."""
    document = parsed(value)
    if document is None:
        return None
    names = {column.name: column.required for column in raw.columns}
    row: dict[str, Any] = {}
    for name, required in names.items():
        found = document.get(name)
        row[name] = None if found is None else VALUES[name](found)
        if row[name] is NO or (required and found is None):
            return None
    others = {name: each for name, each in document.items() if name not in names}
    return row | {"_rescued": json_of(others) if others else None}


# Generated events

DIGITS = st.text("0123456789", min_size=1, max_size=38)
NUMBERS = st.builds(
    lambda sign, whole, fraction, exponent: sign + (whole.lstrip("0") or "0") + fraction + exponent,
    st.sampled_from(["", "", "-"]),
    DIGITS | st.sampled_from(["9007199254740993", "9223372036854775807", "9223372036854775808",
                              "2147483648", "0", "1234567890123456", "99999999999999999999"]),
    st.sampled_from(["", "", ".0", ".10", ".78"]) | DIGITS.map(lambda digits: f".{digits}"),
    st.sampled_from(["", "", "", "e0", "E+2", "e-2", "e18", "e-400", "e400", "e99999999999"]),
)  # fmt: skip
ODD_NUMBERS = st.sampled_from(
    ["0x10", "1_000", " 5 ", "+5", ".5", "5.", "", "-", "1e", "NaN", "Infinity", "-inf", "0.1.2",
     "007", "1,5", "1 000", "\u0661", "\t7\n", "1\u00a0", "0b1", "1f", "true", "infinity"]
)  # fmt: skip
MOMENTS = st.builds(
    "".join,
    st.tuples(
        st.dates().map(str)
        | st.sampled_from(["0000-01-01", "0001-01-01", "9999-12-31", "2017-02-29", "2017-1-1",
                           "10000-01-01", "infinity", "20170101", "-001-01-01", "2017-01-1 "]),
        st.sampled_from(["", "", "T", " ", "t"]),
        st.sampled_from(["", "10", "10:11", "10:11:12", "23:59:59.999999", "24:00:00", "10:11:60",
                         "10:11:12.5", "10:11:12.1234560", "10:11:12.1234567", "1:2:3", "10:60"]),
        st.sampled_from(["", "", "Z", "z", "+02:00", "-0530", "+14", "+23:59", "+24:00", "+10:60",
                         "+99:99", " UTC", " Europe/Berlin"]),
    ),
)  # fmt: skip
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
STRINGS = st.one_of(
    WORDS.map(json.dumps),
    WORDS.map(lambda text: json.dumps(text, ensure_ascii=False)),
    (NUMBERS | ODD_NUMBERS | MOMENTS).map(json.dumps),
    st.sampled_from([r'"\ud800"', r'"\ud83d\ude00"', r'"\udc00x"', r'"\u0000"', '"a\nb"', '"\x00"',
                     '"\x7f"', r'"\/"', r'"\x41"', r'"\u00e"', '"true"', '"false"', '"True"', '""',
                     '"a: 1, 2"', r'"\\"', r'"\""', '"{"']),
)  # fmt: skip
CONSTANTS = st.sampled_from(["true", "false", "null", "NaN", "-Infinity", "Infinity", "TRUE", "01",
                             "1.", ".5", "+1", "nul", "0x10"])  # fmt: skip
SCALARS = NUMBERS | STRINGS | CONSTANTS
SPACE = st.sampled_from(["", "", "", "", " ", "\n", "\t \r\n"])
KEYS = st.sampled_from([*KINDS, "new", "B", r"\u0062", "", "n\\u0065w"]).map('"{}"'.format)


def joined(inner: st.SearchStrategy[str], keys: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    member = st.builds("{}{}{}:{}{}".format, SPACE, keys, SPACE, SPACE, inner)
    return st.lists(member, max_size=4).map(lambda members: "{" + ",".join(members) + "}")


NESTED = st.recursive(
    SCALARS,
    lambda inner: (
        joined(inner, KEYS)
        | st.lists(st.builds("{}{}{}".format, SPACE, inner, SPACE), max_size=3).map(
            lambda items: "[" + ",".join(items) + "]"
        )
    ),
    max_leaves=6,
)
FITTING = {
    "b": st.integers(-(2**63), 2**63 - 1).map(str),
    "i": st.integers(-(2**31), 2**31 - 1).map(str),
    "d": st.integers(-(10**18) + 1, 10**18 - 1).map(lambda n: str(Decimal(n).scaleb(-2))),
    "w": st.integers(-(10**38) + 1, 10**38 - 1).map(
        lambda n: f'"{n // 10**10}.{abs(n) % 10**10:010}"' if n > 0 else str(n // 10**10)
    ),
    "z": st.sampled_from(["0.12345", '"-0.00001"', "0"]),
    "h": st.sampled_from(["1.5", '"99999999999999999999.000000000000000001"', "4e19"]),
    "e": st.sampled_from(["0.5", '"-0.00000000000000000000000000000000000001"', "0"]),
    "f": st.floats(allow_nan=False, allow_infinity=False).map(repr),
    "o": st.sampled_from(["true", "false"]),
    "s": WORDS.map(json.dumps),
    "day": st.dates().map(lambda on: f'"{on}"'),
    "at": st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)).map(  # noqa: DTZ001
        lambda at: f'"{at.isoformat()}Z"'
    ),
    "local": st.datetimes().map(lambda at: f'"{at.isoformat()}"'),
}
WELL_FORMED = st.fixed_dictionaries({}, optional=FITTING).map(
    lambda fields: "{" + ",".join(f'"{name}":{text}' for name, text in fields.items()) + "}"
)
ANY_FIELD = st.one_of(
    st.builds("{}{}{}:{}{}".format, SPACE, KEYS, SPACE, SPACE, NESTED),
    st.sampled_from(list(KINDS)).flatmap(
        lambda name: st.builds('"{}":{}'.format, st.just(name), FITTING[name])
    ),
    st.sampled_from(["d", "w", "z", "b", "i", "f", "s"]).flatmap(
        lambda name: NUMBERS.map(lambda text: f'"{name}":{text}')
    ),
    st.sampled_from(["at", "local", "day"]).flatmap(
        lambda name: MOMENTS.map(lambda text: f'"{name}":"{text}"')
    ),
)
ODD = st.one_of(
    st.builds(
        "{}{{{}}}{}".format, SPACE, st.lists(ANY_FIELD, max_size=4).map(",".join),
        st.sampled_from(["", "", "", "", "\n", " ", ",", "}", "{}", '{"b":1}', "\x00", " x", "//"]),
    ),
    st.sampled_from(["", "{", "}", "[]", "null", "{}{}", "\ufeff{}", '{"s":"', '"}', '{"b":',
                     '{"new":', '1}', '{"b":1,', '{{"b":1}', "{}\x00", "{,}", '{"b"}', "\x0b{}"]),
)  # fmt: skip
EVENTS = (WELL_FORMED | ODD).map(str.encode) | st.sampled_from(
    [b'{"s":"\xff"}', b'{"s":"\xed\xa0\x80"}', b'{"s":"\xc3', b'\xa9"}', b'{"\xff":1}']
)


def decoded(by: Decoder, values: list[bytes]) -> Decoded:
    batch = from_rows([(b"k", value, 0, None) for value in values])
    events = pa.Table.from_batches([with_offsets(batch, 0)])
    return by.decode(0, events, LANDED_AT)


def rows_of(done: Decoded, names: list[str]) -> dict[int, Any]:
    found = done.rows.select(["_offset", *names]).to_pylist()
    rows = {row.pop("_offset"): row for row in found}
    assert list(rows) == sorted(rows)
    assert len(rows) == done.rows.num_rows
    return rows


@pytest.mark.parametrize("raw", [TABLE, STRICT], ids=["every type", "a required field"])
def test_an_event_lands_with_its_own_digits_or_is_rejected(raw):
    decoder = Decoder(raw)
    names = [column.name for column in raw.columns]

    @settings(SOME, max_examples=120)
    @given(st.lists(EVENTS, min_size=1, max_size=20))
    def check(values):
        done = decoded(decoder, values)
        wanted = {place: expected(raw, value) for place, value in enumerate(values)}
        assert rows_of(done, [*names, "_rescued"]) == {
            place: row for place, row in wanted.items() if row is not None
        }
        assert sorted(done.rejected["_offset"].to_pylist()) == [
            place for place, row in wanted.items() if row is None
        ]
        assert None not in done.rejected["reason"].to_pylist()

    check()


UNQUOTED = rf"""
    0 -0 1 1.0 1.5 1.10 1e2 1E+2 100e-2 1e-2 0e999 1e400 -1e400 1e-400 0.12345 0.123456
    1.{"0" * 50} 0.{"0" * 50}1 9007199254740993.0 9007199254740993 9223372036854775807
    9223372036854775808 -9223372036854775808 -9223372036854775809 2147483647 2147483648
    -2147483648 -2147483649 1234567890123456.78 9999999999999999.99 10000000000000000 1e16
    99999999999999999e-1 {"9" * 28}.{"9" * 10} {"9" * 28} 1{"0" * 28} {"9" * 38} {"9" * 39}
    400000000000000000000 4e20 -4E20 1e30 1e38 1e39 1e70 99999 1700000000
    {2**110} {2**120} -{2**128}
    {2**218} {2**256} {10**75} {"9" * 38}e9 {"9" * 29}.5e9 0.{"0" * 30}1e40 {"0" * 40}1
    NaN Infinity -Infinity true false null [] {{}} [1.10] {{"x":1.10}} 01 +1 1. 20170101
    "\ud800" "\ud83d\ude00" "\u0000" "\n" "\x41"
""".split()
QUOTED = f"""
    12 1.5 -0 +5 .5 5. . 1e2 0x10 1_000 NaN inf true True 007 1,5 {"9" * 39} x
    2017-01-01 2017-01-01T 2017-01-01Z 2017-01-01+02:00 2017-1-1 20170101 2017-02-29 infinity
    -2017-01-01 0000-01-01 0001-01-01 9999-12-31 10000-01-01
""".split()
CLOCK = """
    10 10Z 10+02 10:11 10:11Z 10:11:12 10:11:12Z 10:11:12z 10:11:12.5 10:11:12. 10:11:12.1234567
    10:11:12.1234560Z 10:11:12+23:59 10:11:12+24:00 10:11:12-10:60 10:11:12+99:99 10:11:12-0530
    10:11:12+5 10:11:12.5+01 24:00:00 23:59:60 1:2:3 10:60 -1:-1:-1Z
"""
ZONES = [f"{day}T00:00:00{zone}" for day in ("0001-01-01", "0000-12-31", "9999-12-31")
         for zone in ("", "Z", "+14:00", "-14:00")]  # fmt: skip
EDGES = [
    *UNQUOTED,
    *map(json.dumps, QUOTED + ZONES + [f"2017-01-01T{time}" for time in CLOCK.split()]),
    *map(
        json.dumps, ["", " ", " 5 ", "2017-01-01 ", "2017-01-01 10:11", "2017-01-01T10:11:12 UTC"]
    ),
    *('"a\nb"', '"\x00"', '"\x7f"'),
]


class Suspicious(PlainReader):
    """Treats no event as plain, so that the exact path decodes each."""

    def read(self, values: pa.Array) -> Plain:
        return Plain(self.schema.empty_table(), pa.array([], pa.uint64()))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("reader", [PlainReader, Suspicious], ids=["quick way", "close look"])
def test_a_value_at_the_edge_of_its_type_lands_exactly_or_not_at_all(name, reader, monkeypatch):
    monkeypatch.setattr("meshhouse.landing.decode.PlainReader", reader)
    raw = raw_table(Column(name, KINDS[name]))
    by = Decoder(raw)
    for text in EDGES:
        value = f'{{"{name}":{text}}}'.encode()
        done = decoded(by, [value])
        wanted = expected(raw, value)
        rows = done.rows.select([name]).to_pylist()
        assert rows == ([] if wanted is None else [{name: wanted[name]}]), text


@pytest.mark.parametrize("raw", [TABLE, STRICT], ids=["every type", "a required field"])
def test_the_quick_way_gives_what_the_close_look_gives(raw, monkeypatch):
    quick = Decoder(raw)
    monkeypatch.setattr("meshhouse.landing.decode.PlainReader", Suspicious)
    close = Decoder(raw)

    @settings(SOME, max_examples=120)
    @given(st.lists(st.tuples(EVENTS, st.integers(1, 40)), min_size=1, max_size=8))
    def check(runs):
        values = [value for value, times in runs for _ in range(times)]
        one, other = decoded(quick, values), decoded(close, values)
        assert one.rows.schema.equals(other.rows.schema)
        assert one.rows.equals(other.rows)
        assert one.rejected.equals(other.rejected)

    check()
