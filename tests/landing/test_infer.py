"""Columns that are inferred from samples land the same samples without a loss."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from meshhouse.events.batches import from_rows, with_offsets
from meshhouse.events.files import Number, parsed
from meshhouse.landing.decode import Decoder
from meshhouse.landing.infer import Inference, Sample, infer
from meshhouse.repository import Column, RawTable


def samples_of(*texts: str) -> list[Sample]:
    return [Sample(each.encode(), parsed(each.encode(), "")) for each in texts]


def of(field: str, *values: str) -> tuple[str, tuple[str, ...]]:
    """The type of one field with these values, written as JSON, and what is uncertain."""
    [column] = infer(samples_of(*(f'{{"{field}": {each}}}' for each in values))).columns
    return column.data_type, column.doubts


@pytest.mark.parametrize(
    ("values", "data_type"),
    [
        (["1", "-9223372036854775808"], "bigint"),
        (["1", "9223372036854775808"], "decimal(38,0)"),
        (["1" * 39], "string"),
        (["12.50", "100"], "decimal(18,2)"),
        (["1.5e3", "0.25"], "decimal(18,2)"),
        (["1234567890123456.78", "1234567890123456789.5"], "decimal(38,2)"),
        (["0.1234567890123456"], "double"),
        (["1e300", "0.5"], "double"),
        (["0.12345678901234567890123"], "decimal(38,23)"),
        (["1e9999999999999999999"], "string"),
        (["true", "false"], "boolean"),
        (["true", "1"], "string"),
        (['"2017-01-01"', '"2016-02-29"'], "date"),
        (['"2017-01-01"', '"2017-02-29"'], "string"),
        (['"2017-01-01T12:00:00Z"', '"2017-01-01 12:00:00.123456+02:00"'], "timestamptz"),
        (['"2017-01-01T12:00:00"', '"2017-01-01T12:00"'], "timestamp"),
        (['"2017-01-01T12:00:00.1234567"'], "string"),
        (['"2017-01-01T12:00:00"', '"2017-01-01T12:00:00Z"'], "string"),
        (['"2017-01-01"', '"2017-01-01T12:00:00"'], "string"),
        (['"007"', '"1"'], "string"),
        (['"a"', "1"], "string"),
        (['"12.5"', "1"], "decimal(18,2)"),
        (["4.2", "3.1"], "decimal(18,2)"),
        (["12345678901234567.5"], "decimal(38,2)"),
        (["1234567890123456789012345678901234567.5"], "decimal(38,1)"),
        (["52.3702157", "4.9"], "decimal(18,7)"),
        (["12345", '"01234"'], "string"),
        (["12345", '"-01"'], "string"),
        (["12345", '"-0"'], "string"),
        (["12345", '"+1"'], "string"),
        (["12345", '"1e3"'], "string"),
        (["2.5", '"2.50"', '"2.5"'], "string"),
        (["0.1234567890123456", '"1.50"'], "string"),
        (["0.12345678901234567890123", '"1.000000000000000000000000"'], "string"),
        (['[{"lat": 4.2, "lon": 5.25}]'], "array<struct<lat decimal(18,2), lon decimal(18,2)>>"),
        (["null", "null"], "string"),
        (["NaN".lower().replace("nan", "null"), "1"], "bigint"),
    ],
)
def test_a_type_is_the_narrowest_that_keeps_every_sample(values, data_type):
    assert of("f", *values)[0] == data_type


@pytest.mark.parametrize(
    ("values", "doubt"),
    [
        (["1.5"] * 997 + ['"2"'] * 3, "3 of 1,000 events have text"),
        (["1", '"a"', '"b"'], "of 3 events, 2 have text, 1 have a number"),
        (["null", "null"], "no value in 2 events"),
        (['"1.5"'], "every value is a number in quotes; declare a number if it is one"),
        (["4.2", "3.1"],
         "at most 1 digit after the point in 2 values; values with more than 2 are rejected"),
        (["52.3702157"],
         "at most 7 digits after the point in 1 value; values with more than 7 are rejected"),
        (['{"lat": 4.2}'],
         "`lat`: at most 1 digit after the point in 1 value; values with more than 2 are rejected"),
        (["1", "2", '"01234"'],
         "of 3 events, 2 have a number, 1 have text; "
         "as numbers, 1 of the texts would lose zeros, a sign or an exponent"),
        (["1", str(2**63)], "1 of 2 events do not fit bigint"),
        (['"2017-01-01"', '"soon"', '"2018-01-01"'],
         "2 of 3 events look like a date, the others do not"),
        (['"2017-13-01"'], "1 of 1 event look like a date, and are not valid"),
    ],
)  # fmt: skip
def test_what_is_uncertain_is_counted(values, doubt):
    assert doubt in of("f", *values)[1]


def test_a_field_in_every_event_is_required_and_names_that_cannot_be_columns_are_left_out():
    found = infer(samples_of(
        '{"a": 1, "b": null, "Id": 1, "id": 2, "_offset": 1, "it\'s": 1}', '{"a": 2, "c": 1}',
    ), key="b")  # fmt: skip
    assert {each.name: each.required for each in found.columns} == {
        "a": True, "b": True, "Id": False, "c": False,
    }  # fmt: skip
    assert set(found.left_out) == {"id", "_offset", "it's"}


# Texts of JSON values, by kind; a field mixes one or two kinds.
_INTEGERS = st.integers(-(10**40), 10**40).map(str) | st.integers(-100, 100).map(str)
_DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, places=3).map(lambda n: f"{n:f}")
_FLOATS = st.floats(allow_nan=False, allow_infinity=False).map(json.dumps)
_EXPONENTS = st.builds("{}e{}".format, st.integers(-999, 999), st.integers(-400, 400))
_DAYS = st.dates().map(lambda day: json.dumps(day.isoformat()))
_TIMES = st.datetimes().map(lambda at: json.dumps(at.isoformat()))
_ZONED = st.builds(
    lambda at, zone: json.dumps(at.isoformat() + zone),
    st.datetimes(), st.sampled_from(["Z", "+00:00", "+02:00", "-0530", "+14"]),
)  # fmt: skip
_FINE = st.builds(
    lambda at, more: json.dumps(f"{at:%Y-%m-%dT%H:%M:%S}.{more}Z"),
    st.datetimes(datetime(1900, 1, 1)), st.text("0123456789", min_size=1, max_size=9),  # noqa: DTZ001
)  # fmt: skip
_NEARLY = st.sampled_from(
    ["2017-02-29", "0000-01-01", "2017-01-01T24:00:00", "infinity", "12:00", "1_000", "0x10", " 1",
     "1 ", "+1", ".5", "1.", "NaN", "true", "", "2017-01-01T12:00:00 Europe/Berlin", "\u0661"]
).map(json.dumps)  # fmt: skip
_TEXTS = st.text().filter(lambda text: text.isprintable()).map(json.dumps) | _NEARLY
_DIGITS = st.text("0123456789", min_size=1, max_size=4)
_NUMBERS_IN_QUOTES = st.builds(
    '"{}{}{}{}"'.format, st.sampled_from(["", "", "-", "+"]), _DIGITS | st.just("0"),
    st.just("") | _DIGITS.map(".{}".format), st.sampled_from(["", "", "", "e0", "E2", "e-1"]),
)  # fmt: skip
"""Codes that look like numbers, such as `"01234"`."""
_CODES = st.integers(0, 9999).map(str) | _DECIMALS | _FLOATS | _NUMBERS_IN_QUOTES
_BOOLEANS = st.sampled_from(["true", "false"])
_LEAVES = st.just("null") | _INTEGERS | _DECIMALS | _FLOATS | _DAYS | _ZONED | _TEXTS | _BOOLEANS
_NESTED = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(st.sampled_from(["x", "Y", "o y"]), inner, max_size=3).map(
            lambda fields: (
                "{" + ", ".join(f'"{name}": {each}' for name, each in fields.items()) + "}"
            )
        )
    ),
    max_leaves=6,
)
# One structure in all events, whose numbers and texts differ.
_ALIKE = st.builds(
    '[{{"id": {}, "price": {}, "at": {}, "tags": [{}]}}]'.format,
    _INTEGERS, _DECIMALS | _FLOATS, _ZONED | _FINE, _TEXTS | st.just("null"),
)  # fmt: skip
_KINDS = st.sampled_from(
    [_INTEGERS, _DECIMALS, _FLOATS, _EXPONENTS, _DAYS, _TIMES, _ZONED, _FINE, _TEXTS, _BOOLEANS,
     _NESTED, _ALIKE, _CODES]
)  # fmt: skip


@st.composite
def documents(draw: Any) -> list[str]:
    fields = draw(
        st.lists(st.sampled_from(["a", "B", "order", "ö", "x y"]), unique=True, min_size=1)
    )
    kinds = {name: draw(_KINDS) | draw(_KINDS) for name in fields}
    return [
        "{" + ", ".join(
            f"{json.dumps(name)}: {draw(st.just('null') | kinds[name] | kinds[name])}"
            for name in fields if draw(st.integers(0, 9))
        ) + "}"
        for _ in range(draw(st.integers(1, 5)))
    ]  # fmt: skip


@given(documents())
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_the_samples_land_without_a_rejection_and_without_a_changed_value(texts):
    samples = samples_of(*texts)
    found = infer(samples)
    assume(found.columns)  # a topic without a column cannot be declared
    decoded = landed(found, texts)
    assert decoded.rejected.num_rows == 0, decoded.rejected["reason"].to_pylist()
    assert decoded.rows["_rescued"].null_count == len(texts)
    for column in found.columns:
        values = decoded.rows[column.name].to_pylist()
        sent = [each.fields.get(column.name) for each in samples]
        for each, value in zip(sent, values, strict=True):
            assert_same(each, value)
        codes = {each: value for each, value in zip(sent, values, strict=True) if type(each) is str}
        if column.data_type.startswith(("bigint", "decimal", "double")):
            assert len(set(codes.values())) == len(codes)  # `1.1` and `1.10` stay different codes


def landed(found: Inference, texts: list[str]) -> Any:
    columns = tuple(Column(each.name, each.data_type, required=each.required)
                    for each in found.columns)  # fmt: skip
    raw = RawTable("shop", "shop_raw", "t", "shop.t", columns, "", False, Path("t.yml"), 1)
    batch = with_offsets(from_rows((None, each.encode(), 0, None) for each in texts), 0)
    return Decoder(raw).decode(0, pa.Table.from_batches([batch]), datetime.now(UTC))


def assert_same(sent: Any, value: Any) -> None:
    """A landed value means exactly what the event says."""
    if sent is None:
        assert value is None
    elif isinstance(sent, list | dict) and isinstance(value, str):
        assert json.loads(value, parse_int=Number, parse_float=Number) == sent
    elif isinstance(sent, list):
        for each, found in zip(sent, value, strict=True):
            assert_same(each, found)
    elif isinstance(sent, dict):
        assert set(sent) <= set(value)
        for name, found in value.items():
            assert_same(sent.get(name), found)
    elif isinstance(sent, bool):
        assert value == (sent if isinstance(value, bool) else str(sent).lower())
    else:
        assert meant_by(sent, value) == value


def meant_by(sent: str, value: Any) -> Any:
    """A text or number of an event as a value of the type that it landed as."""
    if isinstance(value, datetime):
        assert not re.search(r"[.][0-9]{6}0*[1-9]", sent)  # Python's parser would drop it
        return datetime.fromisoformat(sent)
    if isinstance(value, date):
        return date.fromisoformat(sent)
    if isinstance(value, float):
        assert Decimal(repr(value)) == Decimal(sent)
        assert isinstance(sent, Number) or repr(value) == sent
        return value
    if isinstance(value, int | Decimal):
        if not isinstance(sent, Number):  # it prints as the text that was sent, with more zeros
            printed = f"{value:f}" if isinstance(value, Decimal) else str(value)
            assert printed.startswith(sent)
            assert set(printed[len(sent) :]) <= {".", "0"}
        return Decimal(sent)
    return sent
