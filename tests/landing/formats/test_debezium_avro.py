"""Change events of Debezium as Kafka Connect's Avro converter writes them, with a schema registry.

The schemas are those of Debezium's PostgreSQL connector with Confluent's converter: nullable
fields are unions, `after` repeats `before` by name, and logical types of Kafka Connect are
properties (`connect.name`, `connect.parameters`).
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import count
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshhouse.errors import MeshError
from meshhouse.events.batches import from_rows, with_offsets
from meshhouse.landing.decode import Decoded, Decoder
from meshhouse.landing.formats import BadDeclaration
from meshhouse.landing.formats import schema_registry as client
from tests.landing.formats.test_avro import binary, record
from tests.support.registries import LANDED_AT, Registry, decoded, framed, reason, row, topic

IDS = count(5000)
FACTS = {"__op": "string", "__position": "string", "__source_time": "timestamptz",
         "__table": "string"}  # fmt: skip
SOURCE = {
    "version": "2.7.0.Final", "connector": "postgresql", "name": "shop", "ts_ms": 1559033904863,
    "snapshot": "false", "db": "shop", "schema": "public", "table": "customers", "txId": 555,
    "lsn": 24023128,
}  # fmt: skip
SOME = settings(max_examples=50, deadline=None,
                suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip


def named(kind: str, name: str, **more: Any) -> dict[str, Any]:
    """A logical type of Kafka Connect in Avro."""
    return {"type": kind, "connect.version": 1, "connect.name": name, **more}


def of_time(kind: str, name: str) -> dict[str, Any]:
    return named(kind, f"io.debezium.time.{name}")


def of_decimal(precision: int, scale: int) -> dict[str, Any]:
    parameters = {"scale": str(scale), "connect.decimal.precision": str(precision)}
    return named("bytes", "org.apache.kafka.connect.data.Decimal", scale=scale,
                 precision=precision, logicalType="decimal",
                 **{"connect.parameters": parameters})  # fmt: skip


def optional(kind: Any) -> list[Any]:
    return ["null", kind]


def envelope(fields: dict[str, Any]) -> dict[str, Any]:
    state = {**record(fields, "Value"), "connect.name": "shop.public.customers.Value"}
    source = {
        "type": "record", "name": "Source", "namespace": "io.debezium.connector.postgresql",
        "connect.name": "io.debezium.connector.postgresql.Source",
        "fields": [
            *({"name": each, "type": "string"} for each in ("version", "connector", "name")),
            {"name": "ts_ms", "type": "long"},
            {"name": "snapshot", "default": "false", "type": [
                named("string", "io.debezium.data.Enum", **{
                    "connect.parameters": {"allowed": "true,last,false,incremental"},
                    "connect.default": "false"}), "null"]},
            *({"name": each, "type": "string"} for each in ("db", "schema", "table")),
            *({"name": each, "type": optional("long")} for each in ("txId", "lsn")),
        ],
    }  # fmt: skip
    block = {**record({"id": "string", "total_order": "long"}, "block"), "namespace": "event",
             "connect.version": 1, "connect.name": "event.block"}  # fmt: skip
    return {
        "type": "record", "name": "Envelope", "namespace": "shop.public.customers",
        "connect.version": 2, "connect.name": "shop.public.customers.Envelope",
        "fields": [
            {"name": "before", "type": optional(state), "default": None},
            {"name": "after", "type": ["null", "Value"], "default": None},
            {"name": "source", "type": source},
            {"name": "transaction", "type": optional(block), "default": None},
            {"name": "op", "type": "string"},
            {"name": "ts_ms", "type": optional("long"), "default": None},
        ],
    }  # fmt: skip


class Table:
    """A table of the source: its envelopes in Avro."""

    def __init__(self, registry: Registry, fields: dict[str, Any]) -> None:
        self.schema = envelope(fields)
        self.id = next(IDS)
        registry.add(self.id, self.schema)

    def event(self, op: str, state: Any, **source: Any) -> bytes:
        before, after = (state, None) if op == "d" else (None, state)
        document = {"before": before, "after": after, "source": {**SOURCE, **source}, "op": op,
                    "ts_ms": 1559033904990, "transaction": None}  # fmt: skip
        return framed(self.id, binary(without_logical(self.schema), document))


def without_logical(schema: Any) -> Any:
    """So that the bytes of decimals can be given as Kafka Connect makes them."""
    if isinstance(schema, dict):
        return {key: without_logical(each) for key, each in schema.items() if key != "logicalType"}
    return [without_logical(each) for each in schema] if isinstance(schema, list) else schema


def unscaled(number: int) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True)


def changes(columns: dict[str, str], **settings: Any) -> Decoder:
    return Decoder(topic(columns, "debezium-avro", **{"changelog": True, **settings}))


def keyed(by: Decoder, *events: tuple[bytes | None, bytes | None]) -> Decoded:
    rows = [(key, value, 1_000, None) for key, value in events]
    table = pa.Table.from_batches([with_offsets(from_rows(rows), 100)])
    return by.decode(0, table, LANDED_AT)


def test_a_row_has_its_times_and_decimals_exactly(registry: Registry):
    variable = {
        "type": "record", "name": "VariableScaleDecimal", "namespace": "io.debezium.data",
        "connect.version": 1, "connect.name": "io.debezium.data.VariableScaleDecimal",
        "fields": [{"name": "scale", "type": "int"}, {"name": "value", "type": "bytes"}],
    }  # fmt: skip
    kinds: dict[str, tuple[Any, str, Any, Any]] = {
        "id": ("int", "bigint!", 8, 8),
        "active": ({"type": "int", "connect.type": "int16"}, "boolean", 1, True),
        "born_on": (of_time("int", "Date"), "date", 8905, date(1994, 5, 20)),
        "credit": (of_decimal(12, 2), "decimal(12,2)", unscaled(-12345), Decimal("-123.45")),
        "any_scale": (variable, "decimal(10,3)", {"scale": 3, "value": unscaled(1234)},
                      Decimal("1.234")),
        "millis": (of_time("long", "Timestamp"), "timestamp", 1712917800123,
                   datetime(2024, 4, 12, 10, 30, 0, 123000)),  # noqa: DTZ001
        "micros": (of_time("long", "MicroTimestamp"), "timestamptz", 1712917800123456,
                   datetime(2024, 4, 12, 10, 30, 0, 123456, UTC)),
        "zoned": (of_time("string", "ZonedTimestamp"), "timestamptz", "2024-04-12T10:30:00Z",
                  datetime(2024, 4, 12, 10, 30, tzinfo=UTC)),
        "clock": (of_time("long", "MicroTime"), "string", 37800000000, "10:30:00"),
        "connect_date": (named("int", "org.apache.kafka.connect.data.Date", logicalType="date"),
                         "date", 19825, date(2024, 4, 12)),
        "connect_time": (named("long", "org.apache.kafka.connect.data.Timestamp",
                               logicalType="timestamp-millis"), "timestamp", 1712917800000,
                         datetime(2024, 4, 12, 10, 30)),  # noqa: DTZ001
        "count": (of_time("long", "MicroTimestamp"), "bigint", 1712917800123456, 1712917800123456),
        "document": (named("string", "io.debezium.data.Json"), "struct<a array<decimal(4,2)>>",
                     '{"a": [1.10]}', {"a": [Decimal("1.10")]}),
        "days": ({"type": "array", "items": optional(of_time("int", "Date"))}, "array<date>",
                 [19825, None], [date(2024, 4, 12), None]),
        "prices": ({"type": "map", "values": of_decimal(4, 2)}, "map<string, decimal(4,2)>",
                   {"CHF": unscaled(1234)}, [("CHF", Decimal("12.34"))]),
        "weight": ("double", "double", 1.5, 1.5),
        "photo": ("bytes", "string", b"\x00\xff", base64.b64encode(b"\x00\xff").decode()),
        "state": ({"type": "enum", "name": "State", "symbols": ["NEW", "OLD"]}, "string", "OLD",
                  "OLD"),
    }  # fmt: skip
    table = Table(registry, {name: optional(kind[0]) for name, kind in kinds.items()})
    columns = {name: kind[1] for name, kind in kinds.items()}
    value = table.event("c", {name: kind[2] for name, kind in kinds.items()})
    found = decoded(changes({**columns, **FACTS}), value)
    assert found.rejected["reason"].to_pylist() == []
    [made] = found.rows.select([*columns, *FACTS]).to_pylist()
    assert made == {
        **{name: kind[3] for name, kind in kinds.items()},
        "__op": "c", "__position": f"{24023128:020d}", "__table": "customers",
        "__source_time": datetime(2019, 5, 28, 8, 58, 24, 863000, UTC),
    }  # fmt: skip


@SOME
@given(st.integers(-(10**38) + 1, 10**38 - 1), st.integers(0, 38), st.booleans())
def test_every_decimal_comes_back(registry: Registry, number, scale, by_connect):
    # `connect.meta.data=false` leaves only Avro's logical type.
    kind = of_decimal(38, scale)
    if not by_connect:
        kind = {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": scale}
    value = Table(registry, {"d": kind}).event("r", {"d": unscaled(number)})
    made = row(changes({"d": f"decimal(38,{scale})"}), value)["d"]
    assert int(f"{made:f}".replace(".", "")) == number


def test_a_deletion_and_its_tombstone_delete_the_key(registry: Registry):
    table = Table(registry, {"id": "long", "email": optional("string")})
    key_schema, other_key = record({"id": "long"}, "Key"), record({"id": "int"}, "Key")
    ids = next(IDS), next(IDS)
    registry.add(ids[0], key_schema)
    registry.add(ids[1], {**other_key, "connect.name": "shop.public.customers.Key"})
    keys = [framed(ids[0], binary(key_schema, {"id": 1})),
            framed(ids[1], binary(other_key, {"id": 1})), b'{"id": 1}']  # fmt: skip
    by = changes({"id": "bigint", "email": "string", **FACTS})
    done = keyed(
        by,
        (keys[0], table.event("u", {"id": 1, "email": "a"})),
        (keys[1], table.event("d", {"id": 1, "email": None}, lsn=24023200)),
        (keys[2], None),
    )
    assert done.rejected["reason"].to_pylist() == []
    rows = done.rows.select(["_key", "email", "__op", "__position", "_tombstone"]).to_pylist()
    assert [tuple(each.values()) for each in rows] == [
        ('{"id":1}', "a", "u", f"{24023128:020d}", False),
        ('{"id":1}', None, "d", f"{24023200:020d}", True),
        ('{"id":1}', None, None, None, True),
    ]


def test_keys_that_are_one_value_or_unreadable(registry: Registry):
    table = Table(registry, {"id": "long"})
    number = next(IDS)
    registry.add(number, '"string"')
    by, value = changes({"id": "bigint"}), table.event("c", {"id": 1})
    key = framed(number, binary("string", "a b"))
    assert keyed(by, (key, value), (b"plain", value)).rows["_key"].to_pylist() == ['"a b"', "plain"]
    [rejected] = keyed(by, (framed(2**31 - 1, b""), value)).rejected["reason"].to_pylist()
    assert "has a key that names schema 2147483647, which the schema registry" in rejected


def test_a_new_column_of_the_source_is_rescued(registry: Registry):
    by = changes({"id": "bigint"})
    first, second = (Table(registry, {"id": "long", **more}) for more in ({}, {"phone": "string"}))
    assert row(by, first.event("c", {"id": 1})) == {"id": 1}
    assert row(by, second.event("c", {"id": 2, "phone": "1"})) == {
        "id": 2, "_rescued": '{"phone":"1"}'
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "value", "declared", "problem"),
    [
        (optional("long"), 1712917800000, "timestamp", "number without a logical type of time"),
        (optional("string"), "__debezium_unavailable_value", "string", "did not log this value"),
        (optional("bytes"), b"__debezium_unavailable_value", "string", "did not log this value"),
        ("bytes", b"1234", "decimal(12,2)", "is bytes in base64"),
        (["null", "bytes", "long"], b"1234", "decimal(12,2)", "is bytes in base64"),
        (of_time("int", "Date"), 2**31 - 1, "date", "is not a valid date"),
        (of_decimal(9, 3), unscaled(1999), "decimal(9,2)", "is not a valid decimal"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_placed_is_rejected(registry, kind, value, declared, problem):
    event = Table(registry, {"v": kind}).event("u", {"v": value})
    assert problem in reason(changes({"v": declared}), event)


def test_what_is_not_an_envelope_in_avro_is_rejected(registry: Registry):
    table = Table(registry, {"id": "long"})
    flat, text, protobuf, looping = (next(IDS) for _ in range(4))
    registry.add(flat, record({"id": "long"}))
    registry.add(text, '"string"')
    registry.add(protobuf, "", "PROTOBUF")
    registry.add(looping, record({"next": ["null", "Sale"], "op": "string"}))
    whole = table.event("c", {"id": 1})
    by = changes({"id": "bigint"})
    for value, problem in [
        (framed(flat, b"\x02"), "declare `format: avro`"),
        (framed(text, b"\x02a"), "it does not describe a record"),
        (framed(protobuf, b""), "which is PROTOBUF, not AVRO"),
        (framed(looping, b"\x02" * 5000 + b"\x00\x02c"), "does not decode as Avro"),
        (framed(10**9, b""), "which the schema registry does not know"),
        (whole[:-3], "does not decode as Avro"),
        (whole + b"x", "1 bytes are left over"),
        (json.dumps({"op": "c", "source": {}, "after": {"id": 1}}).encode(), "wire format"),
        (b"", "wire format"),
        (table.event("t", None), "truncates the whole table"),
        (table.event("u", None), "no object `after`"),
    ]:
        assert problem in reason(by, value), problem
    assert row(by, whole) == {"id": 1}


def test_without_a_registry_nothing_is_rejected(registry, monkeypatch):
    event = Table(registry, {"id": "long"}).event("c", {"id": 1})
    monkeypatch.delenv(client.URL)
    with pytest.raises(MeshError, match=r"topics.yml:7: .* Set SCHEMA_REGISTRY_URL"):
        decoded(changes({"id": "bigint"}), event)


def test_it_must_be_a_changelog():
    with pytest.raises(BadDeclaration, match=r"format debezium-avro, .* Add `changelog: true`"):
        changes({"id": "bigint"}, changelog=False)
