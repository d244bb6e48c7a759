"""Nested values come back exactly, at every level, or their event is rejected with the path."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshhouse.landing.decode import Decoder
from meshhouse.landing.plain import Plain, PlainReader
from meshhouse.repository import Column
from meshhouse.repository.datatype import DataType, Part
from meshhouse.repository.types import parse_type

from .test_decode import JSON_VALUES, WRITTEN, as_number, decimals, decoded, raw_table

SOME = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
NAMES = ["a", "b", "order", "zip code", "Größe"]
SINGLE = st.sampled_from(sorted(WRITTEN)).map(parse_type)
KEYS = st.sampled_from(["string", "bigint", "integer"]).map(parse_type)


def structs(inner: st.SearchStrategy[DataType]) -> st.SearchStrategy[DataType]:
    fields = st.lists(st.tuples(st.sampled_from(NAMES), inner), min_size=1, max_size=3,
                      unique_by=lambda each: each[0])  # fmt: skip
    return fields.map(lambda parts: DataType("struct", parts=tuple(Part(*each) for each in parts)))


def nested(inner: st.SearchStrategy[DataType], maps: bool) -> st.SearchStrategy[DataType]:
    arrays = inner.map(lambda each: DataType("array", parts=(Part("element", each),)))
    found = structs(inner) | arrays
    if maps:
        pairs = st.tuples(KEYS, inner)
        found |= pairs.map(
            lambda each: DataType("map", parts=(Part("key", each[0]), Part("value", each[1])))
        )
    return found


def types(maps: bool = True) -> st.SearchStrategy[DataType]:
    """Nested types of up to three levels."""
    one = nested(SINGLE, maps)
    return one | nested(SINGLE | one, maps) | nested(one, maps)


def written(kind: DataType) -> st.SearchStrategy[tuple[Any, str]]:
    """Values of a type, as Arrow gives them to Python, and as JSON."""
    if kind.kind == "struct":
        parts = st.tuples(*(written(part.type) for part in kind.parts))
        names = [part.name for part in kind.parts]
        return absent(parts.map(lambda each: (
            dict(zip(names, (value for value, _ in each), strict=True)),
            "{" + ", ".join(f"{json.dumps(name)}: {text}"
                            for name, (_, text) in zip(names, each, strict=True)) + "}",
        )))  # fmt: skip
    if kind.kind == "array":
        listed = st.lists(written(kind.parts[0].type), max_size=3)
        return absent(listed.map(lambda each: (
            [value for value, _ in each], f"[{', '.join(text for _, text in each)}]"
        )))  # fmt: skip
    if kind.kind == "map":
        keys = WRITTEN[str(kind.parts[0].type)].map(lambda each: each[0])
        pairs = st.lists(st.tuples(keys, written(kind.parts[1].type)), max_size=3,
                         unique_by=lambda each: each[0])  # fmt: skip
        return absent(pairs.map(lambda each: (
            [(key, value) for key, (value, _) in each],
            "{" + ", ".join(f"{json.dumps(str(key))}: {text}" for key, (_, text) in each) + "}",
        )))  # fmt: skip
    return absent(of_single(kind).map(lambda each: (each[0], each[1](each[0]))))


def of_single(kind: DataType) -> st.SearchStrategy[tuple[Any, Any]]:
    if str(kind) in WRITTEN:
        return WRITTEN[str(kind)]
    return st.tuples(decimals(kind.precision, kind.scale), st.just(as_number))


def absent(values: st.SearchStrategy[tuple[Any, str]]) -> st.SearchStrategy[tuple[Any, str]]:
    return st.one_of(values, values, values, st.just((None, "null")))


@pytest.mark.parametrize("maps", [True, False])
def test_generated_types_and_values_come_back_exactly(maps):
    @SOME
    @given(st.data())
    def check(data):
        kind = data.draw(types(maps))
        cases = data.draw(st.lists(written(kind), min_size=1, max_size=8))
        decoder = Decoder(raw_table(Column("a", str(kind)), Column("n", "bigint")))
        events = [
            b'{"a": %s, "n": %d}' % (text.encode(), number)
            for number, (_, text) in enumerate(cases)
        ]
        done = decoded(decoder, *events)
        assert done.rejected["reason"].to_pylist() == []
        assert done.rows["a"].to_pylist() == [value for value, _ in cases]
        assert done.rows["n"].to_pylist() == list(range(len(cases)))
        assert done.rows["_rescued"].null_count == len(cases)

    check()


def one_by_one(decoder: Decoder) -> Decoder:
    """A decoder without the fast pass."""
    decoder._plain = NothingPlain(decoder._columns, decoder._ask)
    return decoder


class NothingPlain(PlainReader):
    def read(self, values: pa.Array) -> Plain:
        return self._plain([], [])


ANY = (
    "struct<a bigint, b struct<c decimal(5,2), d string not null>, e array<date>>",
    "array<struct<a timestamp, b array<double>>>",
    "struct<a array<array<integer>>, b boolean>",
)


@pytest.mark.parametrize("kind", ANY)
def test_the_fast_pass_and_the_exact_one_give_the_same_rows_and_reasons(kind):
    columns = Column("x", kind), Column("n", "bigint", required=True)
    fast, exact = (Decoder(raw_table(*columns)) for _ in range(2))
    one_by_one(exact)
    shaped = st.recursive(
        st.none() | st.sampled_from([1, 1.5, 2**40, True, "2024-01-02", "x", "1.25", 999.999]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["a", "b", "c", "d", "e", "z"]), inner, max_size=4)
        ),
        max_leaves=10,
    )
    good = written(parse_type(kind).as_held()).map(lambda each: each[1])
    values = st.one_of(good, good, shaped.map(json.dumps), JSON_VALUES.map(json.dumps),
                       st.sampled_from(['{"a": 1, "a": 2}', '{"b": {"d": "x", "d": "y"}}',
                                        '{"b": {', "}", '[{"b": [NaN]}]']))  # fmt: skip

    @SOME
    @given(st.lists(values, min_size=1, max_size=12))
    def check(texts):
        events = [b'{"x": %s, "n": 1}' % each.encode() for each in texts]
        first, second = decoded(fast, *events), decoded(exact, *events)
        assert first.rows.equals(second.rows)
        assert first.rejected.equals(second.rejected)

    check()


CUSTOMER = "struct<id bigint, address struct<zip integer, city string>, tags array<string>>"
LINES = "array<struct<sku string not null, price decimal(12,2), notes map<string, integer>>>"
ORDERS = Decoder(raw_table(Column("customer", CUSTOMER), Column("lines", LINES)))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ('{"customer": {"address": {"zip": "x1"}}}',
         "field `customer.address.zip`: `x1` is not a valid integer"),
        ('{"customer": {"address": "Main Street"}}',
         "field `customer.address`: `Main Street` is not an object"),
        ('{"customer": 5}', "field `customer`: `5` is not an object"),
        ('{"customer": {"tags": "a"}}', "field `customer.tags`: `a` is not an array"),
        ('{"customer": {"tags": {"0": "a"}}}',
         'field `customer.tags`: `{"0":"a"}` is not an array'),
        ('{"lines": [{"sku": "a"}, {"sku": "b", "price": 1.999}]}',
         "field `lines[1].price`: `1.999` is not a valid decimal(12,2)"),
        ('{"lines": [{"sku": "a"}, {"price": 1}]}', "misses the required field `lines[1].sku`"),
        ('{"lines": [{"sku": null}]}', "misses the required field `lines[0].sku`"),
        ('{"lines": [{"sku": "a", "notes": {"b": 0.5}}]}',
         "field `lines[0].notes[b]`: `0.5` is not a valid integer"),
        ('{"lines": [{"sku": "a", "notes": [1]}]}',
         "field `lines[0].notes`: `[1]` is not an object"),
        ('{"lines": [7]}', "field `lines[0]`: `7` is not an object"),
        ('{"customer": "{\\"id\\": 1}"}', 'field `customer`: `{"id": 1}` is not an object'),
        ('{"customer": {"id": 1, "id": 1}}', "has the field `id` more than once"),
        ('{"customer": {"tags": [NaN]}}', "is not JSON: `NaN` is not a number"),
    ],
)  # fmt: skip
def test_an_event_with_a_bad_value_is_rejected_with_the_path_of_the_field(value, reason):
    good = b'{"customer": {"id": 1}, "lines": []}'
    done = decoded(ORDERS, good, value.encode(), good)
    assert done.rows["_offset"].to_pylist() == [100, 102]
    assert done.rejected["reason"].to_pylist() == [reason]
    assert done.rejected["value"].to_pylist() == [value.encode()]


def test_undeclared_nested_fields_are_rescued_at_their_places():
    value = {
        "customer": {"id": 1, "vip": None, "address": {"zip": 1, "geo": {"lat": 1.50}}},
        "lines": [{"sku": "a"}, {"sku": "b", "gift": True}, {"sku": "c"}],
        "channel": "web",
    }
    [row] = decoded(ORDERS, json.dumps(value).encode()).rows.to_pylist()
    assert row["customer"] == {"id": 1, "address": {"zip": 1, "city": None}, "tags": None}
    assert [each["sku"] for each in row["lines"]] == ["a", "b", "c"]
    assert json.loads(row["_rescued"]) == {
        "customer": {"vip": None, "address": {"geo": {"lat": 1.5}}},
        "lines": [None, {"gift": True}],
        "channel": "web",
    }


def test_null_empty_and_absent_are_told_apart():
    events = b'{"lines": null}', b'{"lines": []}', b'{"lines": [null]}', b"{}"
    rows = decoded(ORDERS, *events).rows
    assert rows["lines"].to_pylist() == [None, [], [None], None]
    rows = decoded(ORDERS, b'{"customer": null}', b'{"customer": {}}').rows
    assert rows["customer"].to_pylist() == [None, {"id": None, "address": None, "tags": None}]


@pytest.mark.parametrize("keys", ['"1": 1, "1.0": 2', '"07": 1, "7": 2'])
def test_a_map_whose_keys_mean_the_same_is_rejected(keys):
    decoder = Decoder(raw_table(Column("m", "map<integer, bigint>")))
    done = decoded(decoder, b'{"m": {%s}}' % keys.encode(), b'{"m": {"1": 1, "7": 2}}')
    assert done.rows["m"].to_pylist() == [[(1, 1), (7, 2)]]
    assert "more than once" in done.rejected["reason"][0].as_py()


def test_a_broken_event_cannot_become_a_field_of_the_event_before_it():
    decoder = Decoder(raw_table(Column("a", "struct<b bigint>"), Column("b", "bigint")))
    events = b'{"a": ', b'{"b": 1} }', b'{"b": 2}{"b": 3}'
    done = decoded(decoder, *events)
    assert done.rows.num_rows == 0
    assert done.rejected["reason"].to_pylist() == ["is not JSON"] * 3
