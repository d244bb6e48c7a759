"""Change events of Debezium's PostgreSQL and MySQL connectors, as Kafka Connect's JSON converter
writes them, with and without schemas."""

from __future__ import annotations

import base64
import json
import math
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshhouse.events.batches import from_rows, with_offsets
from meshhouse.landing.decode import Decoded, Decoder
from meshhouse.landing.formats import BadDeclaration
from meshhouse.repository import RawTable
from tests.support.registries import LANDED_AT, decoded, reason, row, topic

POSTGRES = {
    "version": "2.7.0.Final", "connector": "postgresql", "name": "shop", "ts_ms": 1559033904863,
    "snapshot": "false", "db": "postgres", "sequence": '["24023119","24023128"]',
    "schema": "public", "table": "customers", "txId": 555, "lsn": 24023128, "xmin": None,
}  # fmt: skip
MYSQL = {
    "version": "2.4.2.Final", "connector": "mysql", "name": "mysql", "ts_ms": 1713518076000,
    "snapshot": "first", "db": "cdc", "sequence": None, "table": "product", "server_id": 0,
    "gtid": None, "file": "binlog.000002", "pos": 757, "row": 0, "thread": None, "query": None,
}  # fmt: skip
CUSTOMER = {
    "id": 1, "first_name": "Anne", "last_name": "Kretchmar", "email": "annek@noanswer.org",
}  # fmt: skip
CUSTOMERS = {"id": "bigint!", "first_name": "string", "last_name": "string", "email": "string"}
FACTS = {"__op": "string", "__position": "string", "__source_time": "timestamptz",
         "__table": "string"}  # fmt: skip


def payload(op: str, before: Any, after: Any, source: dict[str, Any]) -> dict[str, Any]:
    return {"before": before, "after": after, "source": source, "op": op,
            "ts_ms": 1559033904990, "transaction": None}  # fmt: skip


def field(name: str, kind: str, logical: str = "", **more: Any) -> dict[str, Any]:
    named = {"name": logical, "version": 1} if logical else {}
    return {"type": kind, "optional": True, **named, **more, "field": name}


def with_schema(document: dict[str, Any], *fields: dict[str, Any]) -> bytes:
    """An envelope of a connector with `value.converter.schemas.enable=true`."""
    state = {"type": "struct", "fields": list(fields), "optional": True, "name": "shop.Value"}
    schema = {
        "type": "struct",
        "fields": [
            {**state, "field": "before"},
            {**state, "field": "after"},
            {"type": "struct", "fields": [field("version", "string"), field("ts_ms", "int64")],
             "optional": False, "name": "io.debezium.connector.mysql.Source", "field": "source"},
            field("op", "string"),
            field("ts_ms", "int64"),
        ],
        "optional": False, "name": "shop.Envelope", "version": 1,
    }  # fmt: skip
    return json.dumps({"schema": schema, "payload": document}).encode()


def bare(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode()


def changes(columns: dict[str, str], encodings: dict[str, str] | None = None) -> Decoder:
    return Decoder(declared(columns, encodings or {}))


def declared(columns: dict[str, str], encodings: dict[str, str]) -> RawTable:
    raw = topic(columns, "debezium", changelog=True)
    encoded = (replace(each, encoding=encodings.get(each.name)) for each in raw.columns)
    return replace(raw, columns=tuple(encoded))


def keyed(by: Decoder, *events: tuple[bytes | None, bytes | None]) -> Decoded:
    rows = [(key, value, 1_000, None) for key, value in events]
    table = pa.Table.from_batches([with_offsets(from_rows(rows), 100)])
    return by.decode(0, table, LANDED_AT)


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("op", ["c", "u", "r"])
def test_a_row_of_postgres_lands_as_it_is_after_the_change(op, wrapped):
    fields = [field("id", "int32"), *(field(each, "string") for each in list(CUSTOMER)[1:])]
    document = payload(op, {**CUSTOMER, "email": "old"}, CUSTOMER, POSTGRES)
    value = with_schema(document, *fields) if wrapped else bare(document)
    assert row(changes(CUSTOMERS), value) == CUSTOMER


def test_a_row_of_mysql_has_its_times_and_decimals_exactly():
    # Values of a MySQL table, with `time.precision.mode` and `decimal.handling.mode` as by default.
    state = {
        "id": 8, "active": 1, "birth_date": 8905, "decimal_column": "MDk=", "price": "JxA=",
        "datetime_column": 1712917800000, "precise": 1712917800123456, "time_column": 37800000000,
        "changed_at": "2024-04-12T10:30:00Z", "year_column": 2024, "json_column": '{"a": [1.10]}',
        "debt": base64.b64encode((-(10**20)).to_bytes(10, "big", signed=True)).decode(),
    }  # fmt: skip
    decimal = "org.apache.kafka.connect.data.Decimal"

    def scaled(name: str, scale: int) -> dict[str, Any]:
        parameters = {"scale": str(scale), "connect.decimal.precision": "38"}
        return field(name, "bytes", decimal, parameters=parameters)

    value = with_schema(
        payload("r", None, state, MYSQL),
        field("id", "int64"), field("active", "int16"),
        field("birth_date", "int32", "io.debezium.time.Date"),
        scaled("decimal_column", 2), scaled("price", 2), scaled("debt", 4),
        field("datetime_column", "int64", "io.debezium.time.Timestamp"),
        field("precise", "int64", "io.debezium.time.MicroTimestamp"),
        field("time_column", "int64", "io.debezium.time.MicroTime"),
        field("changed_at", "string", "io.debezium.time.ZonedTimestamp"),
        field("year_column", "int32", "io.debezium.time.Year"),
        field("json_column", "string", "io.debezium.data.Json"),
    )  # fmt: skip
    columns = {
        "id": "bigint!", "active": "boolean", "birth_date": "date",
        "decimal_column": "decimal(10,2)", "price": "decimal(12,4)", "debt": "decimal(38,4)",
        "datetime_column": "timestamp", "precise": "timestamptz", "time_column": "string",
        "changed_at": "timestamptz", "year_column": "integer",
        "json_column": "struct<a array<decimal(4,2)>>", **FACTS,
    }  # fmt: skip
    found = decoded(changes(columns), value)
    assert found.rejected["reason"].to_pylist() == []
    [made] = found.rows.select(list(columns)).to_pylist()
    assert made == {
        "id": 8, "active": True, "birth_date": date(1994, 5, 20),
        "decimal_column": Decimal("123.45"), "price": Decimal("100.0000"),
        "debt": Decimal("-10000000000000000.0000"),
        "datetime_column": datetime(2024, 4, 12, 10, 30),  # noqa: DTZ001
        "precise": datetime(2024, 4, 12, 10, 30, 0, 123456, UTC), "time_column": "10:30:00",
        "changed_at": datetime(2024, 4, 12, 10, 30, tzinfo=UTC), "year_column": 2024,
        "json_column": {"a": [Decimal("1.10")]},
        "__op": "r", "__position": f"{2:020d}:{757:020d}:{0:020d}",
        "__source_time": datetime(2024, 4, 19, 9, 14, 36, tzinfo=UTC), "__table": "product",
    }  # fmt: skip


def test_decimals_of_any_scale_and_arrays_of_postgres():
    variable = {"scale": 3, "value": base64.b64encode(b"\x04\xd2").decode()}
    state = {"n": variable, "tags": ["a", None], "days": [19825]}
    value = with_schema(
        payload("c", None, state, POSTGRES),
        field("n", "struct", "io.debezium.data.VariableScaleDecimal"),
        field("tags", "array", items={"type": "string", "optional": True}),
        field("days", "array", items={"type": "int32", "name": "io.debezium.time.Date"}),
    )
    columns = {"n": "decimal(10,3)", "tags": "array<string>", "days": "array<date>"}
    assert row(changes(columns), value) == {
        "n": Decimal("1.234"), "tags": ["a", None], "days": [date(2024, 4, 12)],
    }  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(st.integers(-(10**38) + 1, 10**38 - 1), st.integers(0, 38))
def test_every_decimal_comes_back(unscaled, scale):
    size = unscaled.bit_length() // 8 + 1
    text = base64.b64encode(unscaled.to_bytes(size, "big", signed=True)).decode()
    parameters = {"scale": str(scale)}
    kind = field("d", "bytes", "org.apache.kafka.connect.data.Decimal", parameters=parameters)
    value = with_schema(payload("c", None, {"d": text}, MYSQL), kind)
    made = row(changes({"d": f"decimal(38,{scale})"}), value)["d"]
    assert int(f"{made:f}".replace(".", "")) == unscaled


def test_without_a_schema_the_declaration_says_how_values_are_encoded():
    state = {"at": 1712917800123, "day": 19825, "price": "JxA=", "total": "1234", "sum": 1.25}
    value = bare(payload("c", None, state, MYSQL))
    columns = {"at": "timestamp", "day": "date", "price": "decimal(12,2)",
               "total": "decimal(12,2)", "sum": "decimal(12,2)"}  # fmt: skip
    encodings = {"at": "milliseconds", "price": "base64", "total": "text"}
    assert row(changes(columns, encodings), value) == {
        "at": datetime(2024, 4, 12, 10, 30, 0, 123000),  # noqa: DTZ001
        "day": date(2024, 4, 12), "price": Decimal("100.00"), "total": Decimal("1234.00"),
        "sum": Decimal("1.25"),
    }  # fmt: skip
    assert "Declare `encoding`: milliseconds" in reason(changes(columns), value)
    columns.pop("at")
    assert "`JxA=` may be a decimal or base64" in reason(changes(columns), value)


def test_an_encoding_counts_at_every_level_of_a_nested_column():
    price = base64.b64encode(b"\x04\xd2").decode()
    state = {"s": {"at": 1712917800123, "l": [{"at": None}]}, "p": {"CHF": price},
             "doc": '{"price": "12.34", "at": 1712917800123}'}  # fmt: skip
    columns = {"s": "struct<at timestamp, l array<struct<at timestamp>>>",
               "p": "map<string, decimal(10,2)>",
               "doc": "struct<price decimal(10,2), at timestamp>"}  # fmt: skip
    encodings = {"s": "milliseconds", "p": "base64", "doc": "milliseconds"}
    value = bare(payload("c", None, state, POSTGRES))
    at = datetime(2024, 4, 12, 10, 30, 0, 123000)  # noqa: DTZ001
    assert row(changes(columns, encodings), value) == {
        "s": {"at": at, "l": [{"at": None}]}, "p": [("CHF", Decimal("12.34"))],
        "doc": {"price": Decimal("12.34"), "at": at},
    }  # fmt: skip
    assert "field `s.at`" in reason(changes(columns), value)
    assert "field `p[CHF]`" in reason(changes(columns, {"s": "milliseconds"}), value)


@pytest.mark.parametrize("kind", ["decimal(10,2)", "bigint", "integer", "double", "timestamp"])
@pytest.mark.parametrize("logical", ["", "io.debezium.data.Bits"])
def test_bytes_that_look_like_a_number_are_none(kind, logical):
    event = with_schema(payload("c", None, {"v": "1234"}, MYSQL), field("v", "bytes", logical))
    assert "`1234` is bytes in base64" in reason(changes({"v": kind}), event)
    assert row(changes({"v": "string"}), event) == {"v": "1234"}


@pytest.mark.parametrize(
    ("logical", "count"),
    [("MicroTimestamp", 9223372036825200000), ("Date", 2**31 - 1), ("MicroTime", 86_400_000_000),
     ("Timestamp", -(2**63))],
)  # fmt: skip
def test_a_count_without_a_text_is_kept_only_as_a_number(logical, count):
    column = field("v", "int64", f"io.debezium.time.{logical}")
    event = with_schema(payload("c", None, {"v": count}, POSTGRES), column)
    assert f"`{count}` is not a valid" in reason(changes({"v": "string"}), event)
    assert row(changes({"v": "bigint"}), event) == {"v": count}


def test_a_deletion_and_its_tombstone_delete_the_key():
    by = changes({**CUSTOMERS, **FACTS})
    key = b'{"id":1}'
    deletion = payload("d", {"id": 1, "first_name": None}, None, {**POSTGRES, "lsn": 24023200})
    done = keyed(
        by,
        (key, bare(payload("c", None, CUSTOMER, POSTGRES))),
        (key, bare(deletion)),
        (key, None),
    )
    assert done.rejected["reason"].to_pylist() == []
    rows = done.rows.select(["id", "email", "__op", "__position", "_tombstone"]).to_pylist()
    assert [tuple(each.values()) for each in rows] == [
        (1, "annek@noanswer.org", "c", f"{24023128:020d}", False),
        (None, None, "d", f"{24023200:020d}", True),
        (None, None, None, None, True),
    ]


def test_a_key_is_the_same_with_and_without_its_schema():
    schema = {"type": "struct", "fields": [field("id", "int32")], "name": "shop.Key"}
    keys = [
        json.dumps({"schema": schema, "payload": {"id": 1}}).encode(), b'{"id": 1}', b"1",
        b'{"schema":"a","payload":"b"}',
    ]  # fmt: skip
    value = bare(payload("c", None, CUSTOMER, POSTGRES))
    done = keyed(changes(CUSTOMERS), *((key, value) for key in keys))
    assert done.rows["_key"].to_pylist() == [
        '{"id":1}', '{"id":1}', "1", '{"schema":"a","payload":"b"}',
    ]  # fmt: skip


def test_undeclared_columns_of_the_source_are_rescued():
    value = bare(payload("c", None, {**CUSTOMER, "phone": "1"}, POSTGRES))
    assert row(changes(CUSTOMERS), value)["_rescued"] == '{"phone":"1"}'


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (b'{"id": 1, "first_name": "Anne"}', "is not a Debezium envelope"),
        (b'{"schema": {}, "payload": null}', "without a payload"),
        (b'{"schema": {}, "payload": [1]}', "is not a Debezium envelope"),
        (b"[]", "is JSON, but not an object"),
        (b"\x00\x00\x00\x00\x01x", "is not JSON"),
        (bare(payload("t", None, None, POSTGRES)), "truncates the whole table"),
        (bare(payload("m", None, None, POSTGRES)), "is a message of the database's log"),
        (bare(payload("x", None, CUSTOMER, POSTGRES)), "has the unknown operation `x`"),
        (bare(payload("u", CUSTOMER, None, POSTGRES)), "no object `after`"),
        (bare(payload("u", None, {**CUSTOMER, "id": None}, POSTGRES)),
         "misses the required field `id`"),
        (bare(payload("u", None, {**CUSTOMER, "email": "__debezium_unavailable_value"}, POSTGRES)),
         "field `email`: the database did not log this value"),
    ],
)  # fmt: skip
def test_what_cannot_be_placed_is_rejected_with_a_reason(value, problem):
    assert problem in reason(changes(CUSTOMERS), value)


@pytest.mark.parametrize(
    ("kind", "logical", "value", "problem"),
    [
        ("timestamp", "", 1712917800000, "is a number without a logical type of time"),
        ("timestamp", "io.debezium.time.Timestamp", "soon", "`soon` is not a count"),
        ("timestamp", "io.debezium.time.NanoTimestamp", 1712917800123456789,
         "is not a valid timestamp"),
        ("timestamp", "io.debezium.time.Timestamp", 10**18, "is not a valid timestamp"),
        ("timestamp", "io.debezium.time.ZonedTimestamp", "2024-01-01T00:00:00Z",
         "is not a valid timestamp"),
        ("date", "io.debezium.time.Date", 2**31 - 1, "is not a valid date"),
        ("decimal(12,2)", "org.apache.kafka.connect.data.Decimal", "JxA=", "has no scale"),
    ],
)  # fmt: skip
def test_a_value_that_its_type_cannot_hold_is_rejected(kind, logical, value, problem):
    event = with_schema(payload("c", None, {"v": value}, MYSQL), field("v", "int64", logical))
    assert problem in reason(changes({"v": kind}), event)


def test_positions_sort_as_the_logs_of_their_sources():
    by = changes({"id": "bigint", "__position": "string"})

    def position(**source: Any) -> str | None:
        return (
            decoded(by, bare(payload("c", None, {"id": 1}, source))).rows["__position"][0].as_py()
        )

    binlog = (("09", 9000, 0), ("10", 4, 0), ("10", 157, 0), ("10", 157, 1))
    ordered = [
        [{**POSTGRES, "lsn": lsn} for lsn in (9, 24023128, 100000000000)],
        [{**MYSQL, "file": f"mysql-bin.0000{number}", "pos": pos, "row": place}
         for number, pos, place in binlog],
        [{"connector": "sqlserver", "commit_lsn": f"00000027:0000075{n}:0005",
          "change_lsn": "00000027:00000758:0003", "event_serial_no": n} for n in (1, 2)],
        [{"connector": "oracle", "scn": str(scn)} for scn in (999, 28518719)],
    ]  # fmt: skip
    for sources in ordered:
        positions = [position(**each) for each in sources]
        assert None not in positions
        assert positions == sorted(positions)
        assert len(set(positions)) == len(positions)
    assert position(connector="mongodb", ts_ms=1) is None


def test_the_topic_must_be_a_changelog():
    with pytest.raises(BadDeclaration) as refused:
        Decoder(topic({"id": "bigint"}, "debezium"))
    assert "Add `changelog: true`" in str(refused.value)


@pytest.mark.parametrize("key", ['{"id":NaN}', '{"schema":{},"payload":-Infinity}',
                                 f'{{"a":{"[" * 5_000}{"]" * 5_000}}}'])  # fmt: skip
def test_a_key_that_json_does_not_have_is_the_reason_of_a_rejection(key):
    value = bare(payload("c", None, CUSTOMER, POSTGRES))
    done = keyed(changes(CUSTOMERS), (key.encode(), value), (key.encode(), None), (b"1", value))
    assert done.rows["_key"].to_pylist() == ["1"]
    assert done.rejected["_key"].to_pylist() == [key, key]
    assert all(
        each.startswith("has a key that is ") for each in done.rejected["reason"].to_pylist()
    )


def test_half_a_surrogate_pair_inside_a_column_of_json_is_rejected():
    value = bare(payload("c", None, {"id": 1, "doc": r'{"s": "\ud800"}'}, POSTGRES))
    by = changes({"id": "bigint", "doc": "struct<s string>"})
    assert reason(by, value).startswith("field `doc`: its JSON has half of a surrogate pair")
    twice = bare(payload("c", None, {"id": 1, "doc": '{"s": "a", "s": "b"}'}, POSTGRES))
    assert reason(by, twice) == "field `doc`: its JSON has the field `s` more than once"


_ODD = st.sampled_from([math.nan, math.inf, "\ud800", r'{"s": "\ud800"}', '{"s": NaN}', "[" * 900])


@settings(max_examples=100, deadline=None)
@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | _ODD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(
            ["schema", "payload", "op", "source", "after", "fields", "field", "doc", "s"]),
        inner, max_size=5),
))  # fmt: skip
def test_no_document_stops_landing(document):
    by = changes(
        {**CUSTOMERS, "at": "timestamp", "doc": "struct<s string, l array<date>>", **FACTS}
    )
    odd = {"schema": document, "payload": {"op": "c", "source": document, "after": document}}
    fields = {"fields": [{"field": "after", "fields": document}]}
    odder = {"schema": fields, "payload": {"op": "u", "source": {}, "after": {"at": document}}}
    after = {"op": "u", "source": {}, "after": {"doc": document}}
    keys = ({"id": document}, {"schema": {}, "payload": document}, document, 1)
    texts = [json.dumps(each).encode() for each in (document, odd, odder, after)]
    done = keyed(by, *zip((json.dumps(each).encode() for each in keys), texts, strict=True))
    assert done.rows.num_rows + done.rejected.num_rows == 4
