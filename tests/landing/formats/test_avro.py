"""Avro events become rows with exact values, or rejected events with a reason."""

from __future__ import annotations

import base64
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from io import BytesIO
from itertools import count
from typing import Any
from uuid import UUID

import fastavro
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshhouse.landing.decode import Decoder
from meshhouse.landing.formats import BadDeclaration
from tests.support.registries import decoded, framed, reason, row, topic

SOME = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
IDS = count(1000)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
WIDE = Context(prec=60)


def logical(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "logicalType": name, **more}


def record(fields: dict[str, Any], name: str = "Sale") -> dict[str, Any]:
    return {
        "type": "record",
        "name": name,
        "fields": [{"name": field, "type": kind} for field, kind in fields.items()],
    }


def binary(schema: Any, value: Any) -> bytes:
    stream = BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), value)
    return stream.getvalue()


def from_file(tmp_path: Any, schema: Any, columns: dict[str, str], **settings: Any) -> Decoder:
    path = tmp_path / "sale.avsc"
    path.write_text(schema if isinstance(schema, str) else json.dumps(schema))
    return Decoder(topic(columns, "avro", schema_path=path, **settings))


def one(tmp_path: Any, kind: Any, declared: str) -> Decoder:
    return from_file(tmp_path, record({"a": kind}), {"a": declared})


def decimals(precision: int, scale: int) -> st.SearchStrategy[Decimal]:
    most = 10**precision - 1
    return st.integers(-most, most).map(lambda digits: Decimal(digits).scaleb(-scale, WIDE))


MOMENTS = st.datetimes(
    datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)  # noqa: DTZ001
)  # fmt: skip
# Avro's type, the declared type, values, and the value in the row if it differs.
TYPES: dict[str, tuple[Any, str, st.SearchStrategy, Any]] = {
    "long": ("long", "bigint", st.integers(-(2**63), 2**63 - 1), None),
    "int": ("int", "integer", st.integers(-(2**31), 2**31 - 1), None),
    "double": ("double", "double", st.floats(allow_nan=False, allow_infinity=False), None),
    "float": ("float", "double", st.floats(allow_nan=False, allow_infinity=False, width=32), None),
    "boolean": ("boolean", "boolean", st.booleans(), None),
    "string": ("string", "string", WORDS, None),
    "bytes": ("bytes", "string", st.binary(), lambda value: base64.b64encode(value).decode()),
    "decimal": (
        logical("bytes", "decimal", precision=38, scale=10), "decimal(38,10)",
        decimals(38, 10), None,
    ),
    "whole decimal": (
        logical("bytes", "decimal", precision=38), "decimal(38,0)", decimals(38, 0), None,
    ),
    "fixed decimal": (
        {**logical("fixed", "decimal", precision=12, scale=2), "name": "Price", "size": 6},
        "decimal(12,2)", decimals(12, 2), None,
    ),
    "timestamp-micros": (logical("long", "timestamp-micros"), "timestamptz", MOMENTS, None),
    "timestamp-millis": (
        logical("long", "timestamp-millis"), "timestamptz",
        MOMENTS.map(lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000)), None,
    ),
    "local-timestamp-micros": (
        logical("long", "local-timestamp-micros"), "timestamp",
        MOMENTS.map(lambda at: at.replace(tzinfo=None)), None,
    ),
    "date": (logical("int", "date"), "date", st.dates(), None),
    "time-micros": (
        logical("long", "time-micros"), "string", st.times(),
        lambda at: (at.isoformat().rstrip("0") if at.microsecond else at.isoformat()),
    ),
    "uuid": (logical("string", "uuid"), "string", st.uuids(), str),
    "enum": (
        {"type": "enum", "name": "Kind", "symbols": ["CASH", "CARD"]}, "string",
        st.sampled_from(["CASH", "CARD"]), None,
    ),
    "array": (
        {"type": "array", "items": ["null", "long"]}, "string",
        st.lists(st.none() | st.integers(-(2**63), 2**63 - 1)), json.loads,
    ),
    "map": ({"type": "map", "values": "string"}, "string", st.dictionaries(WORDS, WORDS), None),
}  # fmt: skip


@pytest.mark.parametrize("name", TYPES)
def test_every_value_of_a_type_comes_back_exactly_and_null_as_null(tmp_path, name):
    kind, declared, strategy, becomes = TYPES[name]
    schema = record({"a": ["null", kind]})
    by = from_file(tmp_path, schema, {"a": declared})
    nested = name in ("array", "map")

    @SOME
    @given(st.lists(st.none() | strategy, min_size=1, max_size=20))
    def check(written):
        done = decoded(by, *(binary(schema, {"a": value}) for value in written))
        assert done.rejected["reason"].to_pylist() == []
        found = done.rows["a"].to_pylist()
        if nested:
            found = [value if value is None else json.loads(value) for value in found]
        elif becomes:
            written = [value if value is None else becomes(value) for value in written]
        assert found == written
        assert done.rows["_rescued"].null_count == len(written)

    check()


def test_a_union_gives_the_value_of_whichever_branch(tmp_path):
    price = {**logical("fixed", "decimal", precision=4, scale=2), "name": "Price", "size": 2}
    kinds = ["null", logical("int", "date"), logical("long", "timestamp-millis"), "bytes", price,
             "string", record({"x": "int"}, "Point")]  # fmt: skip
    schema = record({"a": kinds})
    by = from_file(tmp_path, schema, {"a": "string"})
    # The branch is chosen by its position, because a writer could not choose by the value.
    events = [b"\x02\x04", b"\x04\x00", b"\x06\x02\xff", b"\x08\x00\x7b", b"\x0a\x02x", b"\x0c\x0e"]
    done = decoded(by, b"\x00", *events)
    assert done.rows["a"].to_pylist() == [
        None, "1970-01-03", "1970-01-01T00:00:00Z", "/w==", "1.23", "x", '{"x":7}',
    ]  # fmt: skip


def test_nested_records_are_json_text_with_their_decimals_and_times_exact(tmp_path):
    line = record(
        {
            "amount": logical("bytes", "decimal", precision=30, scale=4),
            "at": logical("long", "timestamp-micros"),
            "note": ["null", "string"],
        },
        "Line",
    )
    schema = record({"lines": {"type": "array", "items": line}})
    by = from_file(tmp_path, schema, {"lines": "string"})
    amount = Decimal("12345678901234567890123456.7890")
    at = datetime(2017, 1, 1, 12, 0, 0, 1, UTC)
    value = binary(schema, {"lines": [{"amount": amount, "at": at, "note": None}]})
    assert json.loads(row(by, value)["lines"]) == [
        {"amount": str(amount), "at": "2017-01-01T12:00:00.000001Z", "note": None}
    ]


def test_a_decimal_with_more_digits_than_its_schema_promises_is_not_rounded(tmp_path):
    by = one(tmp_path, logical("bytes", "decimal", precision=4, scale=2), "decimal(12,2)")
    assert row(by, b"\x06" + (1234567).to_bytes(3, "big")) == {"a": Decimal("12345.67")}


def test_logical_types_are_what_the_specification_says(tmp_path):
    assert row(one(tmp_path, logical("int", "time-millis"), "string"), b"\x02") == {
        "a": "00:00:00.001"
    }
    uuid = {**logical("fixed", "uuid"), "name": "Id", "size": 16}
    assert row(one(tmp_path, uuid, "string"), bytes(range(16))) == {
        "a": str(UUID(bytes=bytes(range(16))))
    }
    assert row(one(tmp_path, logical("long", "something-else"), "bigint"), b"\x02") == {"a": 1}


@pytest.mark.parametrize(
    ("kind", "declared", "value", "why"),
    [
        ("double", "double", b"\x00" * 6 + b"\xf8\x7f", "field `a`: `NaN` is not a valid double"),
        (
            "double",
            "double",
            b"\x00" * 6 + b"\xf0\xff",
            "field `a`: `-Infinity` is not a valid double",
        ),
        ("float", "double", b"\x00\x00\x80\x7f", "field `a`: `Infinity` is not a valid double"),
        (
            logical("long", "timestamp-nanos"), "timestamptz", b"\x02",
            "field `a`: `1970-01-01T00:00:00.000000001Z` is not a valid timestamptz",
        ),
        (
            logical("long", "timestamp-millis"), "timestamptz", b"\xfe" + b"\xff" * 8 + b"\x01",
            "field `a`: `9223372036854775807` is not a valid timestamptz",
        ),
        (
            logical("bytes", "decimal", precision=9, scale=4), "decimal(12,2)", b"\x02\x01",
            "field `a`: `0.0001` is not a valid decimal(12,2)",
        ),
        (logical("int", "date"), "date", b"\xfe\xff\xff\xff\x0f",
         "field `a`: `2147483647` is not a valid date"),
        (["null", "long"], "bigint!", b"\x00", "misses the required field `a`"),
        ("string", "string", b"", "does not decode as Avro: EOFError"),
        ("string", "string", b"\x08ab", "does not decode as Avro: Expected 4 bytes, read 2"),
        ("string", "string", b"\x02\xff", "does not decode as Avro: 'utf-8' codec can't decode"),
        ("long", "bigint", b"\x02\x02\x02", "does not decode as Avro: 2 bytes are left over"),
        (["null", "long"], "bigint", b"\x08", "does not decode as Avro: list index out of range"),
        ("long", "bigint", None, "has no value (a tombstone), which only a changelog accepts"),
    ],
)  # fmt: skip
def test_an_event_that_cannot_be_a_row_is_rejected_with_its_bytes_and_a_reason(
    tmp_path, kind, declared, value, why
):
    assert reason(one(tmp_path, kind, declared), value).startswith(why)


def test_a_bad_event_does_not_stop_those_around_it(tmp_path):
    done = decoded(one(tmp_path, "long", "bigint"), b"\x02", b"", b"\x04")
    assert done.rows["_offset"].to_pylist() == [100, 102]
    assert done.rejected["_offset"].to_pylist() == [101]


def test_a_tombstone_of_a_changelog_is_a_deletion_and_an_undecodable_event_is_not(tmp_path):
    by = from_file(tmp_path, record({"a": "long"}), {"a": "bigint"}, changelog=True)
    done = decoded(by, None, b"")
    assert done.rows["_tombstone"].to_pylist() == [True]
    assert done.rejected["_offset"].to_pylist() == [101]


NODE = record({"n": "int", "next": ["null", "Node"]}, "Node")


def test_an_event_that_nests_without_end_is_rejected_and_does_not_end_the_process(tmp_path):
    by = from_file(tmp_path, NODE, {"n": "integer", "next": "string"})
    assert "recursion" in reason(by, b"\x02\x02" * 1_000_000)
    assert row(by, b"\x02\x02\x04\x00") == {"n": 1, "next": '{"n":2,"next":null}'}


@pytest.mark.parametrize("items", ["null", {"type": "fixed", "name": "No", "size": 0},
                                   record({"x": "null"}, "No")])  # fmt: skip
def test_a_schema_by_which_a_few_bytes_would_fill_memory_is_refused(tmp_path, items):
    with pytest.raises(BadDeclaration, match="array of items that take no bytes"):
        one(tmp_path, {"type": "array", "items": items}, "string")


@pytest.mark.parametrize("schema", [record({name: kind for name, (kind, *_) in TYPES.items()
                                            if " " not in name and "-" not in name}),
                                    NODE], ids=["all types", "recursive"])  # fmt: skip
def test_for_any_bytes_each_event_becomes_one_row_or_one_rejected_event(tmp_path, schema):
    columns = {field["name"]: "string" for field in schema["fields"]}
    by = from_file(tmp_path, schema, columns)

    @SOME
    @given(st.lists(st.none() | st.binary(max_size=60), max_size=20))
    def check(events):
        done = decoded(by, *events)
        offsets = done.rows["_offset"].to_pylist() + done.rejected["_offset"].to_pylist()
        assert sorted(offsets) == list(range(100, 100 + len(events)))
        for rejected in done.rejected.to_pylist():
            assert rejected["value"] == events[rejected["_offset"] - 100]
            assert rejected["reason"]

    check()


def from_registry(columns: dict[str, str]) -> Decoder:
    return Decoder(topic(columns, "avro"))


def test_events_are_read_by_the_schema_that_each_names_and_new_fields_are_rescued(registry):
    old, new = record({"id": "long"}), record({"note": ["null", "string"], "id": "long"})
    first, second = next(IDS), next(IDS)
    registry.add(first, old)
    registry.add(second, new)
    by = from_registry({"id": "bigint!"})
    done = decoded(
        by,
        framed(first, binary(old, {"id": 1})),
        framed(second, binary(new, {"id": 2, "note": "x"})),
        framed(first, binary(old, {"id": 3})),
    )
    assert done.rejected["reason"].to_pylist() == []
    assert done.rows["id"].to_pylist() == [1, 2, 3]
    assert done.rows["_rescued"].to_pylist() == [None, '{"note":"x"}', None]


def test_a_schema_is_read_with_those_that_it_refers_to(registry):
    money = {**record({"amount": logical("bytes", "decimal", precision=9, scale=2)}, "Money"),
             "namespace": "com.shop"}  # fmt: skip
    item = record({"price": "com.shop.Money"}, "Item")
    sale = record({"item": "Item", "paid": "com.shop.Money"})
    ids = [next(IDS) for _ in range(3)]
    registry.add(ids[0], money)
    registry.add(ids[1], item, references={"com.shop.Money": ids[0]})
    registry.add(ids[2], sale, references={"Item": ids[1], "com.shop.Money": ids[0]})
    by = from_registry({"item": "string", "paid": "string"})
    assert row(by, framed(ids[2], b"\x02\x01\x04\x01\x00")) == {
        "item": '{"price":{"amount":"0.01"}}',
        "paid": '{"amount":"2.56"}',
    }


def test_what_is_not_in_the_wire_format_is_rejected_without_asking_the_registry(registry):
    by = from_registry({"id": "bigint"})
    asked = len(registry.asked)
    for value in (b"", b"\0\0\0\0", b"\1\0\0\0\1\2", b'{"id": 1}', b"\0\xff\xff\xff\xff\0"):
        assert reason(by, value).startswith("is not in the wire format of a schema registry")
    assert len(registry.asked) == asked


def test_an_unknown_id_rejects_its_events_is_asked_for_once_a_batch_and_may_be_known_later(
    registry,
):
    schema, unknown = record({"id": "long"}), next(IDS)
    by = from_registry({"id": "bigint"})
    event = framed(unknown, binary(schema, {"id": 1}))
    asked = len(registry.asked)
    done = decoded(by, event, event, event)
    assert (
        done.rejected["reason"].to_pylist()
        == [f"names schema {unknown}, which the schema registry does not know"] * 3
    )
    assert len(registry.asked) == asked + 1
    registry.add(unknown, schema)
    assert row(by, event) == {"id": 1}


@pytest.mark.parametrize(
    ("schema", "kind", "why"),
    [
        ("{}", "JSON", "which is JSON, not AVRO"),
        ('"string"', "AVRO", "which cannot be used: it does not describe a record"),
        ('{"type": "recrod"}', "AVRO", "which cannot be used: "),
        ("{", "AVRO", "which cannot be used: "),
        ("5", "AVRO", "which cannot be used: "),
    ],
)
def test_a_schema_that_cannot_be_used_rejects_the_events_that_name_it(registry, schema, kind, why):
    schema_id = next(IDS)
    registry.add(schema_id, schema, kind)
    assert f"names schema {schema_id}, {why}" in reason(
        from_registry({"id": "bigint"}), framed(schema_id, b"\x02")
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "cannot be read: No such file"),
        ('{\n"type": record}', "not valid JSON"),
        ('"string"', "does not describe a record"),
        ('{"type": "record", "name": "x", "fields": [{"name": "a", "type": "b"}]}', "`?b`?"),
        ("[]", "does not describe a record"),
        ("5", "this Avro schema cannot be used"),
    ],
)
def test_a_schema_file_that_cannot_be_used_stops_the_landing_before_it_begins(
    tmp_path, text, problem
):
    path = tmp_path / "sale.avsc"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BadDeclaration, match=problem):
        Decoder(topic({"a": "bigint"}, "avro", schema_path=path))


def test_dates_are_days_since_1970(tmp_path):
    by = one(tmp_path, logical("int", "date"), "date")
    assert row(by, b"\x01") == {"a": date(1970, 1, 1) - timedelta(days=1)}
