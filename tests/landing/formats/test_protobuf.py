"""Protobuf events become rows with exact values, or rejected events with a reason."""

from __future__ import annotations

import base64
import json
from decimal import Context, Decimal
from itertools import count
from typing import Any

import pytest
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    message_factory,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from meshhouse.errors import MeshError
from meshhouse.landing.decode import Decoder
from tests.support.registries import decoded, framed, reason, row, topic

SOME = settings(max_examples=50, deadline=None)
IDS = count(1)
FIELD = descriptor_pb2.FieldDescriptorProto
WELL_KNOWN = {
    module.DESCRIPTOR.name: module.DESCRIPTOR
    for module in (timestamp_pb2, duration_pb2, struct_pb2, wrappers_pb2)
}


def file(
    messages: dict[str, dict[str, Any]], name: str = "sale.proto", imports: list[str] | None = None
) -> descriptor_pb2.FileDescriptorProto:
    """A proto3 file of the package `shop`.

    A field's type is a type of protobuf in lower case, the name of a message, or `enum X`, with
    `repeated` or `optional` before it if needed. A dictionary is a nested message.
    """
    made = descriptor_pb2.FileDescriptorProto(
        name=name, package="shop", syntax="proto3", dependency=imports or []
    )
    for message, fields in messages.items():
        _fill(made.message_type.add(name=message), fields)
    return made


def _fill(message: descriptor_pb2.DescriptorProto, fields: dict[str, Any]) -> None:
    for number, (name, kind) in enumerate(fields.items(), start=1):
        if isinstance(kind, dict):
            _fill(message.nested_type.add(name=name), kind)
            continue
        field = message.field.add(name=name, number=number, label=FIELD.LABEL_OPTIONAL)
        *words, kind = kind.split()
        if "repeated" in words:
            field.label = FIELD.LABEL_REPEATED
        if "optional" in words:
            field.proto3_optional = True
            field.oneof_index = len(message.oneof_decl)
            message.oneof_decl.add(name=f"_{name}")
        if "enum" in words:
            field.type, field.type_name = FIELD.TYPE_ENUM, kind
        elif kind.startswith("."):
            field.type, field.type_name = FIELD.TYPE_MESSAGE, kind
        else:
            field.type = FIELD.Type.Value(f"TYPE_{kind.upper()}")


def message(made: descriptor_pb2.FileDescriptorProto, name: str, *others: Any) -> Any:
    """The class of a message, made without the code under test."""
    pool = descriptor_pool.DescriptorPool()
    for each in (*WELL_KNOWN.values(), *others, made):
        pool.AddSerializedFile(
            each.SerializeToString() if hasattr(each, "SerializeToString") else each.serialized_pb
        )
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"shop.{name}"))


def registered(registry: Any, made: Any, **settings: Any) -> int:
    schema_id = next(IDS)
    bare = descriptor_pb2.FileDescriptorProto()
    bare.CopyFrom(made)
    bare.name = ""  # registries store no file names
    text = base64.b64encode(bare.SerializeToString()).decode()
    registry.add(schema_id, text, "PROTOBUF", **settings)
    return schema_id


def event(schema_id: int, value: Any, path: bytes = b"\0") -> bytes:
    return framed(schema_id, path + value.SerializeToString())


def decoder(**columns: str) -> Decoder:
    return Decoder(topic(columns, "protobuf"))


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
TYPES: dict[str, tuple[str, st.SearchStrategy]] = {
    "int32": ("integer", st.integers(-(2**31), 2**31 - 1)),
    "sint64": ("bigint", st.integers(-(2**63), 2**63 - 1)),
    "int64": ("bigint", st.integers(-(2**63), 2**63 - 1)),
    "fixed64": ("decimal(38,0)", st.integers(0, 2**64 - 1).map(Decimal)),
    "uint64": ("decimal(38,0)", st.integers(0, 2**64 - 1).map(Decimal)),
    "double": ("double", st.floats(allow_nan=False, allow_infinity=False)),
    "float": ("double", st.floats(allow_nan=False, allow_infinity=False, width=32)),
    "bool": ("boolean", st.booleans()),
    "string": ("string", WORDS),
    "bytes": ("string", st.binary()),
}


@pytest.mark.parametrize("kind", TYPES)
def test_every_value_of_a_type_comes_back_exactly_and_what_is_absent_as_null(registry, kind):
    declared, strategy = TYPES[kind]
    made = file({"Sale": {"a": f"optional {kind}", "plain": kind}})
    schema_id, kind_of = registered(registry, made), message(made, "Sale")
    by = decoder(a=declared, plain=declared)

    @SOME
    @given(st.lists(st.tuples(st.none() | strategy, strategy), min_size=1, max_size=10))
    def check(pairs):
        def plain(value):
            return int(value) if isinstance(value, Decimal) else value

        sales = [kind_of(a=plain(a), plain=plain(other)) for a, other in pairs]
        done = decoded(by, *(event(schema_id, sale) for sale in sales))
        assert done.rejected["reason"].to_pylist() == []
        for name, written in zip(("a", "plain"), zip(*pairs, strict=True), strict=True):
            if kind == "bytes":
                written = [v if v is None else base64.b64encode(v).decode() for v in written]
            assert done.rows[name].to_pylist() == list(written)
        assert done.rows["_rescued"].null_count == len(pairs)

    check()


def test_names_lists_nested_messages_enums_and_maps_are_as_the_schema_has_them(registry):
    made = file(
        {
            "Sale": {
                "saleId": "int64", "tags": "repeated string", "lines": "repeated .shop.Sale.Line",
                "kind": "enum .shop.Kind", "Line": {"unit_price": "int64", "data": "bytes"},
            }
        }
    )  # fmt: skip
    kinds = made.enum_type.add(name="Kind")
    kinds.value.add(name="CASH", number=0)
    kinds.value.add(name="CARD", number=1)
    counts = made.message_type[0].nested_type.add(name="CountsEntry")
    counts.options.map_entry = True
    counts.field.add(name="key", number=1, type=FIELD.TYPE_BOOL, label=FIELD.LABEL_OPTIONAL)
    counts.field.add(name="value", number=2, type=FIELD.TYPE_INT64, label=FIELD.LABEL_OPTIONAL)
    made.message_type[0].field.add(
        name="counts", number=9, type=FIELD.TYPE_MESSAGE, label=FIELD.LABEL_REPEATED,
        type_name=".shop.Sale.CountsEntry",
    )  # fmt: skip
    schema_id, kind_of = registered(registry, made), message(made, "Sale")
    by = decoder(saleId="bigint", tags="string", lines="string", kind="string", counts="string")
    sale = kind_of(
        saleId=2**53 + 1, tags=["a", "ü"], kind=1, counts={True: 2**63 - 1},
        lines=[{"unit_price": 5, "data": b"\xff"}, {}],
    )  # fmt: skip
    assert row(by, event(schema_id, sale)) == {
        "saleId": 2**53 + 1,
        "tags": '["a","ü"]',
        "lines": '[{"unit_price":5,"data":"/w=="},{"unit_price":0,"data":""}]',
        "kind": "CARD",
        "counts": '{"true":9223372036854775807}',
    }
    assert row(by, event(schema_id, kind_of(kind=7)))["kind"] == "7"


def test_well_known_types_are_what_they_mean(registry):
    made = file(
        {
            "Sale": {
                "at": ".google.protobuf.Timestamp", "took": ".google.protobuf.Duration",
                "maybe": ".google.protobuf.Int64Value", "more": ".google.protobuf.Struct",
            }
        },
        imports=[*WELL_KNOWN],
    )  # fmt: skip
    schema_id, kind_of = registered(registry, made), message(made, "Sale")
    by = decoder(at="timestamptz", took="string", maybe="bigint", more="string")
    sale = kind_of(
        at={"seconds": -1, "nanos": 5_000}, took={"seconds": -1, "nanos": -500_000_000},
        maybe={"value": 0}, more={"a": [1.5, None, True, {"b": "c"}]},
    )  # fmt: skip
    found = row(by, event(schema_id, sale))
    assert found["at"].isoformat() == "1969-12-31T23:59:59.000005+00:00"
    assert (found["took"], found["maybe"]) == ("-1.5s", 0)
    assert json.loads(found["more"]) == {"a": [1.5, None, True, {"b": "c"}]}
    assert row(by, event(schema_id, kind_of())) == dict.fromkeys(found)
    finer = kind_of(at={"nanos": 1})
    assert "`1970-01-01T00:00:00.000000001Z` is not a valid timestamptz" in reason(
        by, event(schema_id, finer)
    )


def test_confluents_decimals_arrive_exactly(registry):
    made = file(
        {"Sale": {"paid": ".confluent.type.Decimal"}},
        imports=["confluent/meta.proto", "confluent/type/decimal.proto"],
    )
    schema_id = registered(registry, made)
    by = decoder(paid="decimal(38,10)")
    unscaled = -(10**38 - 1)
    body = unscaled.to_bytes(16, "big", signed=True)
    value = b"\x0a\x14" + b"\x0a\x10" + body + b"\x18\x0a"
    assert row(by, framed(schema_id, b"\0" + value)) == {
        "paid": Decimal(unscaled).scaleb(-10, Context(prec=60))
    }
    huge = b"\x0a\x0b" + b"\x0a\x01\x01" + b"\x18\xff\xff\xff\xff\x07" + b"\x10\x01"
    assert "has a scale of 2147483647" in reason(by, framed(schema_id, b"\0" + huge))


def test_an_event_says_which_message_of_its_schema_it_holds(registry):
    made = file({"First": {"a": "int64"}, "Second": {"b": "int64", "Inner": {"c": "int64"}}})
    schema_id = registered(registry, made)
    by = decoder(a="bigint", b="bigint", c="bigint")
    value = b"\x08\x05"
    for path, field in [(b"\0", "a"), (b"\x02\x00", "a"), (b"\x02\x02", "b"),
                        (b"\x04\x02\x00", "c")]:  # fmt: skip
        assert row(by, framed(schema_id, path + value))[field] == 5
    for path, problem in [
        (b"\x02\x04", "names a message that its schema does not have: [2]"),
        (b"\x02\x01", "names a message that its schema does not have: [-1]"),
        (b"\x04\x00\x00", "names a message that its schema does not have: [0, 0]"),
        (b"", "does not say which message of its schema it holds"),
        (b"\x06\x00", "does not say which message of its schema it holds"),
        (b"\xff\xff\xff\xff\xff\xff", "does not say which message of its schema it holds"),
    ]:
        assert reason(by, framed(schema_id, path)) == problem


def test_a_schema_is_read_with_those_that_it_refers_to(registry):
    base = file({"Money": {"cents": "int64"}}, "base.proto")
    money = file({"Price": {"net": ".shop.Money"}}, "dir/price.proto", ["base.proto"])
    made = file(
        {"Sale": {"price": ".shop.Price", "paid": ".shop.Money"}},
        imports=["base.proto", "dir/price.proto"],
    )
    first = registered(registry, base)
    second = registered(registry, money, references={"base.proto": first})
    references = {"dir/price.proto": second, "base.proto": first}
    schema_id = registered(registry, made, references=references)
    sale = message(made, "Sale", base, money)(price={"net": {"cents": 5}}, paid={"cents": 6})
    found = row(decoder(price="string", paid="string"), event(schema_id, sale))
    assert found == {"price": '{"net":{"cents":5}}', "paid": '{"cents":6}'}


def test_a_new_field_is_rescued_and_so_is_one_that_the_schema_does_not_know(registry):
    old = file({"Sale": {"id": "int64"}})
    new = file({"Sale": {"id": "int64", "note": "string"}})
    first, second = registered(registry, old), registered(registry, new)
    sale = message(new, "Sale")(id=1, note="x")
    by = decoder(id="bigint!")
    assert row(by, event(second, sale)) == {"id": 1, "_rescued": '{"note":"x"}'}
    assert row(by, event(first, sale)) == {"id": 1, "_rescued": '{"2":["eA=="]}'}


def test_a_message_may_hold_itself_but_not_without_end(registry):
    made = file({"Node": {"n": "int64", "next": ".shop.Node"}})
    schema_id, kind_of = registered(registry, made), message(made, "Node")
    by = decoder(n="bigint", next="string")
    found = row(by, event(schema_id, kind_of(n=1, next={"n": 2})))
    assert found == {"n": 1, "next": '{"n":2}'}
    nested = b""
    for _ in range(200):
        size = len(nested)
        nested = b"\x12" + (bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7]))\
            + nested  # fmt: skip
    assert "does not decode as shop.Node" in reason(by, framed(schema_id, b"\0" + nested))


@pytest.mark.parametrize(
    ("kind", "payload", "why"),
    [
        ("int64", b"\x08", "does not decode as shop.Sale: "),
        ("string", b"\x0a\x01\xff", "does not decode as shop.Sale: "),
        ("double", b"\x09" + b"\0" * 6 + b"\xf8\x7f", "field `a`: `NaN` is not a valid double"),
        ("int64", b"\x08\x80\x80\x80\x80\x20", "field `a`: `8589934592` is not a valid integer"),
    ],
)
def test_an_event_that_cannot_be_a_row_is_rejected_with_its_bytes_and_a_reason(
    registry, kind, payload, why
):
    schema_id = registered(registry, file({"Sale": {"a": kind}}))
    by = decoder(a="double" if kind == "double" else "integer")
    assert reason(by, framed(schema_id, b"\0" + payload)).startswith(why)


def test_a_schema_that_cannot_be_used_rejects_the_events_that_name_it(registry):
    missing = registered(registry, file({"Sale": {"a": "int64"}}, imports=["gone.proto"]))
    broken = registered(registry, file({"Sale": {"a": ".shop.Gone"}}))
    avro = next(IDS)
    registry.add(avro, {"type": "record", "name": "Sale", "fields": []})
    by = decoder(a="bigint")
    assert "imports gone.proto, which it does not refer to" in reason(by, framed(missing, b"\0"))
    assert "which cannot be used" in reason(by, framed(broken, b"\0"))
    assert "which is AVRO, not PROTOBUF" in reason(by, framed(avro, b"\0"))


def test_a_registry_without_serialized_schemas_stops_the_landing(registry):
    schema_id = next(IDS)
    registry.add(schema_id, 'syntax = "proto3"; message Sale {}', "PROTOBUF")
    with pytest.raises(MeshError, match="does not return protobuf schemas in serialized form"):
        decoded(decoder(a="bigint"), framed(schema_id, b"\0"))


def test_for_any_bytes_each_event_becomes_one_row_or_one_rejected_event(registry):
    fields = {kind: kind for kind in TYPES} | {
        "node": ".shop.Sale", "at": ".google.protobuf.Timestamp", "more": "repeated int64",
        "any": ".google.protobuf.Struct",
    }  # fmt: skip
    schema_id = registered(registry, file({"Sale": fields}, imports=[*WELL_KNOWN]))
    by = decoder(**dict.fromkeys(fields, "string"))
    payloads = st.binary(max_size=60)

    @SOME
    @given(
        st.lists(
            st.none()
            | payloads
            | payloads.map(lambda value: framed(schema_id, value))
            | payloads.map(lambda value: framed(schema_id, b"\0" + value)),
            max_size=20,
        )
    )
    def check(events):
        done = decoded(by, *events)
        offsets = done.rows["_offset"].to_pylist() + done.rejected["_offset"].to_pylist()
        assert sorted(offsets) == list(range(100, 100 + len(events)))
        for rejected in done.rejected.to_pylist():
            assert rejected["value"] == events[rejected["_offset"] - 100]
            assert rejected["reason"]

    check()
