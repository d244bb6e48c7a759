"""Decoding keeps every value exact, rejects what would lose digits, and drops no event."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Context, Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshhouse.events.batches import from_rows, with_offsets
from meshhouse.events.source import SKIPPED
from meshhouse.landing.decode import DEEPEST, Decoded, Decoder
from meshhouse.landing.documents import Documents
from meshhouse.landing.formats.errors import Unreadable
from meshhouse.repository import Column, RawTable
from meshhouse.repository.types import DataType

LANDED_AT = datetime(2026, 1, 2, 3, 4, 5, 6, UTC)
SOME = settings(max_examples=150, deadline=None)


def raw_table(*columns: Column, changelog: bool = False) -> RawTable:
    path = Path("models/topics.yml")
    return RawTable("shop", "shop_raw", "sales", "shop.sales", columns, "", changelog, path, 1)


@cache
def decoder(kind: str) -> Decoder:
    """A decoder of one optional column `a` of a type."""
    return Decoder(raw_table(Column("a", kind)))


def decoded(by: Decoder, *values: bytes | None, keys: list[bytes | None] | None = None) -> Decoded:
    pairs = zip(keys or [b"k"] * len(values), values, strict=True)
    rows = [(key, value, 1_000, None) for key, value in pairs]
    events = pa.Table.from_batches([with_offsets(from_rows(rows), 100)])
    return by.decode(3, events, LANDED_AT)


def value_of(kind: str, written: str) -> Any:
    """The decoded value of `{"a": <written>}`; raises `AssertionError` if it is rejected."""
    done = decoded(decoder(kind), b'{"a": %s}' % written.encode())
    assert done.rows.num_rows == 1, done.rejected["reason"][0].as_py()
    return done.rows["a"][0].as_py()


def reason_of(kind: str, written: str) -> str:
    [reason] = decoded(decoder(kind), b'{"a": %s}' % written.encode()).rejected["reason"]
    return reason.as_py()


def decimals(precision: int, scale: int) -> st.SearchStrategy[Decimal]:
    most = 10**precision - 1
    return st.integers(-most, most).map(lambda digits: Decimal(digits).scaleb(-scale, WIDE))


WIDE = Context(prec=60)
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
# One day less at both ends, so that they are in the years 1 to 9999 in UTC as well.
MOMENTS = st.datetimes(
    datetime.min + timedelta(days=1),  # noqa: DTZ901 - hypothesis adds the zone
    datetime.max - timedelta(days=1),  # noqa: DTZ901
    timezones=ZONES | st.just(UTC),
)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def as_number(value: Decimal) -> str:
    return f"{value:f}"


def as_string(value: Any) -> str:
    return json.dumps(str(value))


# Type -> values and ways to write them in JSON. Most programs read a JSON number as a double,
# so producers write longer decimals as strings.
WRITTEN = {
    "bigint": st.tuples(st.integers(-(2**63), 2**63 - 1), st.sampled_from([str, as_string])),
    "integer": st.tuples(st.integers(-(2**31), 2**31 - 1), st.sampled_from([str, as_string])),
    "double": st.tuples(
        st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([repr, as_string])
    ),
    "boolean": st.tuples(st.booleans(), st.just(json.dumps)),
    "string": st.tuples(
        WORDS, st.sampled_from([json.dumps, lambda text: json.dumps(text, ensure_ascii=False)])
    ),
    "date": st.tuples(st.dates(), st.just(as_string)),
    "timestamptz": st.tuples(
        MOMENTS, st.sampled_from([as_string, lambda at: json.dumps(at.isoformat())])
    ),
    "timestamp": st.tuples(st.datetimes(), st.just(lambda at: json.dumps(at.isoformat()))),
    "decimal(12,2)": st.tuples(decimals(12, 2), st.sampled_from([as_number, as_string])),
    "decimal(15,15)": st.tuples(decimals(15, 15), st.sampled_from([as_number, as_string])),
    "decimal(38,10)": st.tuples(decimals(38, 10), st.just(as_string)),
    "decimal(38,0)": st.tuples(decimals(38, 0), st.sampled_from([as_number, as_string])),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_every_value_of_a_type_comes_back_exactly(kind):
    @SOME
    @given(st.lists(st.none() | WRITTEN[kind], min_size=1, max_size=30))
    def check(cases):
        values = [case and case[0] for case in cases]
        written = [case[1](case[0]) if case else "null" for case in cases]
        done = decoded(decoder(kind), *(b'{"a":%s}' % each.encode() for each in written))
        assert done.rejected["reason"].to_pylist() == []
        assert done.rows["a"].to_pylist() == values

    check()


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        ("bigint", "1.5"),
        ("bigint", "9223372036854775808"),
        ("bigint", "-9223372036854775809"),
        ("bigint", "1e-20"),
        ("bigint", '"1.0000000000000000001"'),
        ("bigint", "true"),
        ("bigint", '""'),
        ("bigint", "[1]"),
        ("integer", "2147483648"),
        ("integer", "0.1"),
        ("decimal(12,2)", "1.999"),
        ("decimal(12,2)", "10000000000"),
        ("decimal(12,2)", "12.5e-2"),
        ("decimal(12,2)", "1e-20"),
        ("decimal(12,2)", '"1.9900000000000000001"'),
        ("decimal(12,2)", '"1/3"'),
        ("decimal(38,20)", '"1e-21"'),
        ("double", "1e400"),
        ("double", "NaN"),
        ("double", '"Infinity"'),
        ("boolean", '"yes"'),
        ("boolean", "1"),
        ("boolean", '"True"'),
        ("date", '"2017-02-30"'),
        ("date", '"2017-01-01T10:00:00"'),
        ("date", '"01/02/2017"'),
        ("date", "20170101"),
        ("timestamptz", "1483272000"),
        ("timestamptz", '"2017-01-01T12:00:00.1234567Z"'),
        ("timestamptz", '"2017-01-01T25:00:00Z"'),
        ("timestamptz", '"2017-01-01T12:00:00 Europe/Berlin"'),
        ("timestamp", '"2017-01-01T12:00:00+02:00"'),
    ],
)
def test_a_value_that_would_change_is_rejected_with_its_field_text_and_type(kind, written):
    reason = reason_of(kind, written)
    assert reason.startswith("field `a`: `")
    assert reason.endswith(f"` is not a valid {kind}")


@pytest.mark.parametrize("written", ['"infinity"', '"-infinity"', '"10000-01-01"', '"0000-01-01"'])
@pytest.mark.parametrize("kind", ["date", "timestamptz", "timestamp"])
def test_a_time_that_iceberg_cannot_store_is_rejected(kind, written):
    # Iceberg's writer fails on these, so one of them would stop the landing of all events.
    assert reason_of(kind, written).endswith(f"is not a valid {kind}")


@pytest.mark.parametrize(
    ("kind", "written", "value"),
    [
        ("bigint", "1.0", 1),
        ("bigint", "1e3", 1000),
        ("bigint", '" 5 "', 5),
        ("decimal(12,2)", "1.990", Decimal("1.99")),
        ("decimal(12,2)", "1e-2", Decimal("0.01")),
        ("decimal(12,2)", "1.5E0", Decimal("1.50")),
        ("decimal(38,20)", '"1e-20"', Decimal("1e-20")),
        ("date", '"2016-02-29"', date(2016, 2, 29)),
        ("timestamptz", '"2017-01-01"', datetime(2017, 1, 1, tzinfo=UTC)),
        ("timestamptz", '"2017-01-01 12:30"', datetime(2017, 1, 1, 12, 30, tzinfo=UTC)),
        ("timestamptz", '"2017-01-01T12:30:00+0530"', datetime(2017, 1, 1, 7, tzinfo=UTC)),
        ("timestamptz", '"2017-01-01T12:30:00-08"', datetime(2017, 1, 1, 20, 30, tzinfo=UTC)),
        ("timestamptz", '"2017-01-01T00:00:00.0000010Z"', datetime(2017, 1, 1, 0, 0, 0, 1, UTC)),
        ("string", "5", "5"),
        ("string", '{"x": [1, null]}', '{"x":[1,null]}'),
    ],
)
def test_other_ways_to_write_the_same_value_are_read(kind, written, value):
    assert value_of(kind, written) == value


def test_a_time_without_zone_is_utc_whatever_zones_its_batch_has():
    # DuckDB applies the last named zone of a batch to times without a zone.
    values = ["2017-01-01T12:00:00 Asia/Tokyo", "2017-01-01T12:00:00", "2017-01-01 12:00"]
    done = decoded(decoder("timestamptz"), *(b'{"a":"%s"}' % each.encode() for each in values))
    assert done.rejected["_offset"].to_pylist() == [100]
    assert done.rows["a"].to_pylist() == [datetime(2017, 1, 1, 12, tzinfo=UTC)] * 2


REQUIRED = Decoder(raw_table(Column("id", "bigint", required=True), Column("note", "string")))
GOOD = b'{"id": 1, "note": "x"}'


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b'{"id": 1, "note": "\xff"}', "is not valid UTF-8"),
        (b"\xfe\xff", "is not valid UTF-8"),
        (b"", "is not JSON"),
        (b"  ", "is not JSON"),
        (b"hello", "is not JSON"),
        (b"{'id': 1}", "is not JSON"),
        (b'{"id": 1', "is not JSON"),
        (b'{"id": 1} {"id": 2}', "is not JSON"),
        (b'{"id": 01}', "is not JSON"),
        (b'\xef\xbb\xbf{"id": 1}', "is not JSON"),
        (b'\x0b{"id": 1}', "is not JSON"),
        (b'[{"id": 1}]', "is JSON, but not an object"),
        (b"1", "is JSON, but not an object"),
        (b"null", "is JSON, but not an object"),
        (b'{"note": "x"}', "misses the required field `id`"),
        (b'{"id": null}', "misses the required field `id`"),
        (b'{"ID": 1}', "misses the required field `id`"),
        (b'{"id": "one"}', "field `id`: `one` is not a valid bigint"),
        (None, "has no value (a tombstone), which only a changelog accepts"),
    ],
)
def test_a_rejected_event_keeps_its_bytes_and_reason_and_the_others_land(value, reason):
    done = decoded(REQUIRED, GOOD, value, GOOD)
    assert done.rows["_offset"].to_pylist() == [100, 102]
    assert done.rejected.to_pylist() == [
        {
            "_topic_partition": 3,
            "_offset": 101,
            "_timestamp": datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
            "_key": "k",
            "value": value,
            "reason": reason,
            "_landed_at": LANDED_AT,
        }
    ]


@pytest.mark.parametrize(("table_format", "pattern"), [("json", None), ("text", "(?P<line>.*)")])
def test_a_notice_of_a_line_that_was_skipped_is_rejected_with_its_words(table_format, pattern):
    notice = SKIPPED + b"the line at bytes 0 to 20000000 of app.log"
    raw = replace(raw_table(Column("line", "string")), format=table_format, pattern=pattern)
    [rejected] = decoded(Decoder(raw), notice, b'{"line": "b"}').rejected.to_pylist()
    assert rejected["value"] == notice
    assert rejected["reason"] == (
        "replaces a line that is too long for an event; the value says which line"
    )


def test_a_long_wrong_value_is_quoted_by_its_beginning():
    assert len(reason_of("bigint", json.dumps("x" * 10_000))) < 200


def test_a_row_says_where_it_came_from_and_when_it_landed():
    [row] = decoded(REQUIRED, GOOD, keys=[b"key"]).rows.to_pylist()
    assert row == {
        "id": 1,
        "note": "x",
        "_rescued": None,
        "_topic_partition": 3,
        "_offset": 100,
        "_timestamp": datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
        "_key": "key",
        "_tombstone": False,
        "_landed_at": LANDED_AT,
    }


def test_white_space_around_and_in_an_object_means_nothing():
    done = decoded(REQUIRED, b' \t\r\n{ "id"\n:\t1 ,\r"note" : "x"}\n\n')
    assert done.rows.select(["id", "note"]).to_pylist() == [{"id": 1, "note": "x"}]


def test_a_field_that_is_null_or_absent_is_null_and_not_rescued():
    done = decoded(REQUIRED, b'{"id": 1, "note": null}', b'{"id": 2}')
    assert done.rows["note"].to_pylist() == [None, None]
    assert done.rows["_rescued"].to_pylist() == [None, None]


@pytest.mark.parametrize(
    "value",
    [
        b'{"id": 1, "id": 2}',
        b'{"id": 1, "id": 1}',
        b'{"id": null, "id": 1}',
        b'{"id": 1, "\\u0069d": 2}',
        b'{"id": 1, "new": 1, "new": 2}',
        b'{"id": 1, "note": {"a": 1, "a": 2}}',
        b'{"id": 1, "new": [{"a": {"b": 1, "\\u0062": 1}}]}',
    ],
)
def test_an_event_with_a_field_more_than_once_is_rejected(value):
    done = decoded(REQUIRED, GOOD, value)
    assert done.rows["_offset"].to_pylist() == [100]
    assert "more than once" in done.rejected["reason"][0].as_py()


def nested(depth: int, opening: str, closing: str) -> str:
    return opening * depth + "1" + closing * depth


def called_from(frames: int, call: Callable[[], Any]) -> Any:
    """Runs a call with so many additional frames on the stack."""
    return called_from(frames - 1, call) if frames else call()


@pytest.mark.parametrize("field", ["note", "new"], ids=["declared", "unknown"])
@pytest.mark.parametrize(("opening", "closing"), [('{"a":', "}"), ("[", "]"), ('[{"a":', "}]")])
@pytest.mark.parametrize("depth", [332, 498, DEEPEST, DEEPEST + 2])
def test_an_event_may_nest_as_deep_as_its_format_allows(field, opening, closing, depth):
    inner = nested((depth - 1) // len(closing), opening, closing)
    deep = f'{{"id": 2, "{field}": {inner}}}'.encode()
    done = called_from(200, lambda: decoded(REQUIRED, GOOD, deep, GOOD))
    if depth > DEEPEST:
        assert done.rejected["reason"].to_pylist() == [f"is nested deeper than {DEEPEST}"]
        return
    assert done.rows["_offset"].to_pylist() == [100, 101, 102]
    found = done.rows[field if field == "note" else "_rescued"][1].as_py()
    assert found == (inner if field == "note" else f'{{"new":{inner}}}')


def test_an_event_deeper_than_the_stack_has_room_is_rejected_and_not_a_crash():
    documents = Documents([("note", DataType("string"))])
    free = sys.getrecursionlimit() - len(list(traceback.walk_stack(None)))
    for opening, closing in (('{"a":', "}"), ("[", "]")):
        deep = f'{{"note": {nested(DEEPEST - 1, opening, closing)}}}'.encode()
        with pytest.raises(Unreadable, match="is nested deeper than"):
            called_from(free - 300, lambda deep=deep: documents.read(deep))


def test_field_names_differ_by_case():
    [row] = decoded(REQUIRED, b'{"id": 1, "Note": "x"}').rows.to_pylist()
    assert row["note"] is None
    assert json.loads(row["_rescued"]) == {"Note": "x"}


def test_a_key_that_is_not_text_is_kept_readable():
    rows = decoded(REQUIRED, GOOD, GOOD, GOOD, keys=[b"\xff\x00a", None, "é".encode()]).rows
    assert rows["_key"].to_pylist() == ["\\xFF\\x00a", None, "é"]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(-1e300, 1e300) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)


@SOME
@given(
    st.fixed_dictionaries({"id": st.integers(0, 9)}, optional={"note": st.none() | WORDS}),
    st.dictionaries(WORDS.filter(lambda name: name not in ("id", "note")), JSON_VALUES, max_size=4),
)
def test_unexpected_fields_are_rescued_whole_as_json(expected, unexpected):
    [row] = decoded(REQUIRED, json.dumps({**expected, **unexpected}).encode()).rows.to_pylist()
    assert row["id"] == expected["id"]
    assert row["note"] == expected.get("note")
    assert json.loads(row["_rescued"] or "{}") == unexpected


CHANGELOG = Decoder(raw_table(Column("id", "bigint", required=True), changelog=True))


def test_a_tombstone_of_a_changelog_is_a_row_that_says_deleted():
    done = decoded(CHANGELOG, b'{"id": 1}', None, keys=[b"1", b"2"])
    assert done.rejected.num_rows == 0
    rows = done.rows.select(["id", "_key", "_tombstone"]).to_pylist()
    assert rows == [
        {"id": 1, "_key": "1", "_tombstone": False},
        {"id": None, "_key": "2", "_tombstone": True},
    ]


def test_an_event_without_key_is_rejected_by_a_changelog_with_its_bytes_and_a_deletion_too():
    done = decoded(CHANGELOG, b'{"id": 1}', b'{"id": 2}', None, None, keys=[b"", None, None, b"2"])
    assert done.rows.select(["id", "_key"]).to_pylist() == [
        {"id": 1, "_key": ""},
        {"id": None, "_key": "2"},
    ]
    assert done.rejected.select(["_offset", "value"]).to_pylist() == [
        {"_offset": 101, "value": b'{"id": 2}'},
        {"_offset": 102, "value": None},
    ]
    assert all("has no key" in reason for reason in done.rejected["reason"].to_pylist())


def test_an_event_without_key_is_a_row_unless_it_is_of_a_changelog():
    assert decoded(REQUIRED, GOOD, keys=[None]).rows["_key"].to_pylist() == [None]


def test_a_changelog_still_rejects_what_is_not_json():
    assert decoded(CHANGELOG, b"null", b"").rejected.num_rows == 2


ANYTHING = st.one_of(
    st.none(),
    st.binary(max_size=30),
    JSON_VALUES.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(st.sampled_from(["id", "note", "x"]), JSON_VALUES).map(
        lambda value: json.dumps(value, ensure_ascii=False).encode()
    ),
)


@pytest.mark.parametrize("by", [REQUIRED, CHANGELOG], ids=["events", "changelog"])
def test_every_event_becomes_one_row_or_one_rejection(by):
    @SOME
    @given(st.lists(st.tuples(st.none() | st.binary(max_size=5), ANYTHING), max_size=40))
    def check(events):
        done = decoded(by, *(value for _, value in events), keys=[key for key, _ in events])
        offsets = done.rows["_offset"].to_pylist() + done.rejected["_offset"].to_pylist()
        assert sorted(offsets) == list(range(100, 100 + len(events)))
        for offset, value in zip(
            done.rejected["_offset"].to_pylist(), done.rejected["value"].to_pylist(), strict=True
        ):
            assert value == events[offset - 100][1]
        assert None not in done.rejected["reason"].to_pylist()

    check()
