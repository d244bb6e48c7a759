"""A raw table with nested columns: what lands, what is added, refused, reprocessed and redriven."""

from __future__ import annotations

import json
import tempfile
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyiceberg.table import Table

from meshhouse.errors import UsageError
from meshhouse.events import EventLog
from meshhouse.lake import Lake
from meshhouse.lake.files import rows_of
from meshhouse.landing import LakeStore, lake_table
from meshhouse.landing.decode import Decoder
from meshhouse.landing.land import land
from meshhouse.landing.pending import Pending
from meshhouse.landing.redrive import redrive
from meshhouse.landing.reprocess import reprocess
from meshhouse.landing.target import Fenced, open_target
from meshhouse.repository import Column, RawTable
from meshhouse.repository.datatype import DataType
from tests.support.landing_place import RAW, Place

from .test_nested import types, written

SALE_ID = Column("sale_id", "bigint", required=True)
CUSTOMER = "struct<name string, address struct<zip integer>>"
LINES = "array<struct<sku string, price decimal(10,2)>>"


def table(customer: str = CUSTOMER, lines: str = LINES) -> RawTable:
    return replace(RAW, columns=(SALE_ID, Column("customer", customer), Column("lines", lines)))


@pytest.fixture
def place(tmp_path) -> Place:
    log = EventLog(tmp_path / "events")
    log.create_topic(RAW.topic, 2)
    return Place(log, Lake(tmp_path))


def order(number: int, **fields: object) -> bytes:
    return json.dumps({"sale_id": number, **fields}).encode()


ANNA = {"name": "Anna", "address": {"zip": 4051}}
LINE = {"sku": "a", "price": 1.25}


def test_every_level_is_read_back_from_the_table(place):
    everything = (
        "struct<id bigint, big decimal(38,10), at timestamp, `zip code` string, "
        "tags array<string>, prices map<string, struct<net decimal(12,2), days array<date>>>>"
    )
    raw = replace(RAW, columns=(SALE_ID, Column("all", everything)))
    at = datetime(2024, 1, 2, 3, 4, 5, 6)  # noqa: DTZ001
    value = {
        "id": 2**63 - 1, "big": "1234567890123456789012345678.0123456789", "at": at.isoformat(),
        "zip code": "04051", "tags": ["a", None, ""],
        "prices": {"CHF": {"net": 0.1, "days": ["2024-02-29"]}, "EUR": None},
    }  # fmt: skip
    place.send(order(1, all=value), order(2, all=None), order(3, all={}))
    assert place.land(raw).rows == 3
    [(_, found), (_, nothing), (_, empty)] = place.select('sale_id, "all"')
    assert nothing is None
    assert list(empty.values()) == [None] * 6
    assert found == {
        **value, "big": Decimal(value["big"]), "at": at,
        "prices": {"CHF": {"net": Decimal("0.10"), "days": [at.date().replace(2024, 2, 29)]},
                   "EUR": None},
    }  # fmt: skip


def test_an_added_nested_field_is_null_for_what_landed_before_and_was_rescued(place):
    place.send(order(1, customer={**ANNA, "vip": True}, lines=[{**LINE, "gift": {"wrap": "red"}}]))
    first = place.land(table())
    assert first.new_fields == ("customer.vip", "lines[].gift")
    wider = table(
        "struct<name string, vip boolean, address struct<zip bigint, city string>>",
        "array<struct<gift struct<wrap string>, sku string, price decimal(12,2)>>",
    )
    anna = {"name": "Anna", "vip": False, "address": {"zip": 2**40, "city": "Basel"}}
    place.send(order(2, customer=anna, lines=[{**LINE, "gift": None}]))
    place.land(wider)
    rows = place.select("sale_id, customer, lines, _rescued")
    assert rows[0][1] == {"name": "Anna", "vip": None, "address": {"zip": 4051, "city": None}}
    assert rows[0][2] == [{"gift": None, "sku": "a", "price": Decimal("1.25")}]
    assert json.loads(rows[0][3]) == {
        "customer": {"vip": True}, "lines": [{"gift": {"wrap": "red"}}],
    }  # fmt: skip
    assert rows[1][1:] == (anna, [{"gift": None, "sku": "a", "price": Decimal("1.25")}], None)
    before = place.lake.states()
    place.land(wider)
    assert place.lake.states() == before
    now = place.lake.load(RAW.relation)
    files = [task.file for task in now.scan().plan_files()]
    compacted = [row for file in files for batch in rows_of(now, file) for row in batch.to_pylist()]
    assert len(files) == 2
    assert sorted((each["sale_id"], each["customer"], each["lines"]) for each in compacted) == [
        row[:3] for row in rows
    ]

    reprocess(place.log, place.lake, wider, {0: 0, 1: 0})
    again = place.select("sale_id, customer.vip, lines[1].gift.wrap, _rescued")
    assert again == [(1, True, "red", None), (2, False, None, None)]


@pytest.mark.parametrize(
    ("customer", "lines", "problem"),
    [
        ("struct<name string>", LINES,
         "the field `customer.address` of shop_raw.sales is no longer declared"),
        ("struct<name string, address struct<zip string>>", LINES,
         "the field `customer.address.zip` of shop_raw.sales holds integer; its type cannot "
         "become string"),
        (CUSTOMER, "array<struct<sku string, price decimal(9,2)>>",
         "the field `lines[].price` of shop_raw.sales holds decimal(10,2)"),
        (CUSTOMER, "map<string, string>", "column `lines` of shop_raw.sales holds array<"),
        ("string", LINES, "column `customer` of shop_raw.sales holds struct<name string"),
    ],
)  # fmt: skip
def test_a_declaration_that_loses_a_nested_field_is_refused(place, customer, lines, problem):
    place.send(order(1, customer=ANNA))
    place.land(table())
    with pytest.raises(UsageError) as refused:
        place.land(table(customer, lines))
    assert problem in str(refused.value)
    assert len(place.select("sale_id")) == 1


def test_an_event_that_was_rejected_for_a_nested_value_is_redriven_with_a_wider_type(place):
    place.send(order(1, customer={**ANNA, "address": {"zip": 2**40}}), order(2, customer=ANNA))
    landed = place.land(table())
    assert (landed.rows, landed.rejected) == (1, 1)
    [(reason,)] = place.select("reason", "sales__rejected")
    assert reason == f"field `customer.address.zip`: `{2**40}` is not a valid integer"
    wide = table("struct<name string, address struct<zip bigint>>")
    done = redrive(place.lake, wide)
    assert (done.moved, done.kept) == (1, 0)
    assert place.select("sale_id, customer.address.zip") == [(1, 2**40), (2, 4051)]


WIDER = table("struct<name string, vip boolean, address struct<zip integer>>")


def test_a_lander_with_an_older_declaration_stops_and_no_value_is_lost(place):
    place.send(*(order(number, customer=ANNA) for number in range(8)))
    topic = place.log.describe(RAW.topic)
    ends = {number: each.end for number, each in topic.partitions.items()}
    assert all(ends.values())
    old, new = (open_target(LakeStore(place.lake), raw, topic, ()) for raw in (table(), WIDER))

    def read(raw: RawTable, partition: int) -> Pending:
        pending = Pending()
        for batch in place.log.read(RAW.topic, {partition: (0, ends[partition])}, 1 << 20):
            events = pa.Table.from_batches([batch.events])
            pending.add(0, batch, Decoder(raw).decode(partition, events, datetime.now(UTC)))
        return pending

    for target in (old, new):
        target.starts(topic)
    new.commit(read(WIDER, 1))
    landed = place.select("sale_id, customer.name, customer.address.zip")
    assert len(landed) == ends[1]
    for _ in range(2):  # a second attempt must not pass either
        with pytest.raises(UsageError, match=r"the field `customer\.vip` of shop_raw\.sales is no"):
            old.commit(read(table(), 0))
    assert place.select("sale_id, customer.name, customer.address.zip") == landed
    assert landed[0][1:] == ("Anna", 4051)


def test_a_rival_that_makes_the_table_first_is_noticed(place, monkeypatch):
    place.send(*(order(number, customer=ANNA) for number in range(8)))
    stage, rivals = place.lake.stage, [Lake(place.lake.warehouse.parent)]

    def late(*arguments: object, **options: object) -> Table:
        if rivals:
            # As if the rival were on another machine, where it has another lock.
            monkeypatch.setattr(lake_table, "advisory_lock", lambda path: nullcontext())
            land(place.log, LakeStore(rivals.pop()), WIDER)
        return stage(*arguments, **options)

    monkeypatch.setattr(place.lake, "stage", late)
    with pytest.raises((Fenced, UsageError)):
        place.land(table())
    with pytest.raises(UsageError, match=r"`customer\.vip` of shop_raw\.sales is no longer"):
        place.land(table())
    assert place.select("customer.name") == [("Anna",)] * 8


@pytest.mark.parametrize("change", ["reprocess", "redrive"])
def test_a_wider_declaration_that_lands_meanwhile_stops_a_change(place, monkeypatch, change):
    zipped = {"name": "Anna", "address": {"zip": "x"}}
    place.send(order(1, customer=ANNA), order(2, customer=zipped), order(3, customer=ANNA))
    place.land(table())

    checked = lake_table.check_columns

    def then_landed(raw: RawTable, current: Table) -> None:
        checked(raw, current)
        monkeypatch.undo()
        place.send(*(order(number, customer={**ANNA, "vip": True}) for number in range(4, 8)))
        land(place.log, LakeStore(Lake(place.lake.warehouse.parent)), WIDER)

    monkeypatch.setattr(f"meshhouse.landing.{change}.check_columns", then_landed)
    begin = {
        "reprocess": lambda: reprocess(place.log, place.lake, table(), {0: 0, 1: 0}),
        "redrive": lambda: redrive(place.lake, table()),
    }[change]
    with pytest.raises(UsageError, match=r"the field `customer\.vip` of shop_raw\.sales is no"):
        begin()
    assert place.select("sale_id, customer.name, customer.vip") == [
        (1, "Anna", None), (3, "Anna", None), *((number, "Anna", True) for number in range(4, 8))
    ]  # fmt: skip


def test_null_and_empty_stay_apart_in_the_table_and_after_a_rewrite(place):
    kind = "map<string, struct<a integer>>"
    raw = replace(RAW, columns=(SALE_ID, Column("lines", LINES), Column("m", kind),
                                Column("s", f"struct<l {LINES}, m {kind}>")))  # fmt: skip
    fields = [
        {"lines": None, "m": None, "s": None},
        {"lines": [], "m": {}, "s": {}},
        {"lines": [None, LINE], "m": {"x": None}, "s": {"l": [], "m": {}}},
        {"lines": [LINE], "m": {"x": {"a": 1}}, "s": {"l": None, "m": None}},
    ] * 3
    place.send(*(order(number, **each) for number, each in enumerate(fields)))
    place.land(raw, commit_bytes=1)
    rows = place.select("sale_id, lines, m, s")
    price = {"sku": "a", "price": Decimal("1.25")}
    assert [row[1:] for row in rows] == [
        (None, None, None),
        ([], {}, {"l": None, "m": None}),
        ([None, price], {"x": None}, {"l": [], "m": {}}),
        ([price], {"x": {"a": 1}}, {"l": None, "m": None}),
    ] * 3
    reprocess(place.log, place.lake, raw, {0: 3, 1: 3})
    assert place.select("sale_id, lines, m, s") == rows


def as_duckdb(value: object, kind: DataType) -> object:
    """A value as DuckDB's client gives it: a map is a dictionary."""
    if value is None or not kind.is_nested:
        return value
    if kind.kind == "struct":
        assert isinstance(value, dict)
        return {part.name: as_duckdb(value[part.name], part.type) for part in kind.parts}
    assert isinstance(value, list)
    if kind.kind == "map":
        return {key: as_duckdb(each, kind.parts[1].type) for key, each in value}
    return [as_duckdb(each, kind.parts[0].type) for each in value]


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_generated_types_and_values_are_read_back_from_the_table(data):
    kind = data.draw(types())
    cases = data.draw(st.lists(written(kind), min_size=1, max_size=6))
    with tempfile.TemporaryDirectory() as folder:
        place = Place(EventLog(Path(folder, "events")), Lake(Path(folder)))
        place.log.create_topic(RAW.topic, 2)
        texts = enumerate(text for _, text in cases)
        place.send(*(b'{"sale_id": %d, "v": %s}' % (n, text.encode()) for n, text in texts))
        raw = replace(RAW, columns=(SALE_ID, Column("v", str(kind))))
        assert place.land(raw).rows == len(cases)
        expected = [(n, as_duckdb(value, kind)) for n, (value, _) in enumerate(cases)]
        assert place.select("sale_id, v") == expected
        before = place.select("sale_id, v, _offset")
        reprocess(place.log, place.lake, raw, {0: 1, 1: 1})
        assert place.select("sale_id, v, _offset") == before
