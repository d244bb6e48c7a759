"""Statistics say what is in a table, without values of personal columns.

Belongs here: what is measured, and how two measurements compare. Not here: what rules make of it
(test_changes.py).
"""

from __future__ import annotations

import json

import duckdb
import pytest

from meshhouse.governance.contract import Contract
from meshhouse.governance.statistics import statistics_of
from meshhouse.governance.statistics_compared import (
    are_comparable,
    found_again,
    rewritten_periods,
)

ORDERS = """(values
    (1, 'new', 10.50::decimal(12,2), 1.5::double, date '2026-01-01', 'ann@example.com', true),
    (2, 'paid', -3.25, 2.5, date '2026-01-01', 'bob@example.com', true),
    (3, 'paid', null, null, date '2026-01-02', 'ann@example.com', false)
) as orders (order_id, status, amount, weight, ordered_on, email, gift)"""
CONTRACT = Contract(
    {
        "product": "shop.orders",
        "relation": "shop.orders",
        "grain": {"columns": ["order_id"]},
        "columns": [
            {"name": "order_id", "type": "bigint"},
            {"name": "email", "type": "string", "classification": "personal"},
        ],
    }
)


@pytest.fixture
def connection():
    with duckdb.connect() as opened:
        yield opened


def test_each_column_is_described(connection):
    found = statistics_of(connection, ORDERS, CONTRACT)
    assert found["rows"] == 3
    assert found["engine"] == "duckdb"
    columns = found["columns"]
    assert columns["order_id"]["min"] == 1
    assert columns["order_id"]["max"] == 3
    assert columns["status"] == {
        "nulls": 0,
        "distinct": 2,
        "min": "new",
        "max": "paid",
        "sum": None,
        "negative": None,
        "top": [["paid", 2], ["new", 1]],
    }
    assert columns["amount"]["nulls"] == 1
    assert columns["amount"]["sum"] == "7.25"
    assert columns["amount"]["negative"] == 1
    assert columns["weight"]["sum"] == 4.0
    assert columns["ordered_on"]["max"] == "2026-01-02"
    assert columns["gift"]["top"] == [["true", 2], ["false", 1]]
    assert json.loads(json.dumps(found)) == found


def test_values_of_personal_columns_are_nowhere(connection):
    found = statistics_of(connection, ORDERS, CONTRACT)
    assert found["columns"]["email"]["distinct"] == 2
    assert "ann" not in json.dumps(found)


@pytest.mark.parametrize(
    "classification", ["personal", "Personal", "sensitive", ["pii", "personal"]]
)
def test_protected_numbers_keys_and_fixed_values_are_not_kept(connection, classification):
    people = "(values (4711, 'hiv', 90210.5)) as people (id, illness, salary)"
    protected = {"classification": classification, "immutable": True}
    columns = [{"name": name, "type": kind, **protected}
               for name, kind in (("illness", "string"), ("salary", "decimal(12,2)"))]  # fmt: skip
    document = {**CONTRACT.document, "columns": columns, "grain": {"columns": ["id"]}}
    found = statistics_of(connection, people, Contract(document))
    assert "hiv" not in json.dumps(found)
    assert "90210" not in json.dumps(found)
    assert found["columns"]["salary"]["negative"] is None
    assert "immutable" not in found["keys"]
    grain = {"columns": ["id", "illness"]}
    assert statistics_of(connection, people, Contract({**document, "grain": grain}))["keys"] is None


def test_sample_rows_are_those_of_columns_that_everyone_may_see(connection):
    classes = {"amount": "internal", "weight": "public", "gift": "our own class"}
    columns = [*CONTRACT.document["columns"],
               *({"name": name, "type": "double", "classification": each}
                 for name, each in classes.items())]  # fmt: skip
    found = statistics_of(connection, ORDERS, Contract({**CONTRACT.document, "columns": columns}))
    assert found["sample"] == {
        "columns": ["order_id", "status", "weight", "ordered_on"],
        "rows": [
            ["1", "new", "1.5", "2026-01-01"],
            ["2", "paid", "2.5", "2026-01-01"],
            ["3", "paid", None, "2026-01-02"],
        ],
    }


def test_a_sample_has_nothing_that_looks_personal_and_no_row_about_one_person(connection):
    people = "(values (1, 'call +49 170 1234567', 'x')) as people (id, note, first_name)"
    columns = [{"name": "id", "type": "bigint"}]
    document = {**CONTRACT.document, "columns": columns, "grain": {"columns": ["id"]}}
    found = statistics_of(connection, people, Contract(document))["sample"]
    assert found == {"columns": ["id"], "rows": [["1"]]}
    columns = [{"name": "id", "type": "bigint", "classification": "personal"}]
    document = {**document, "columns": columns}
    assert statistics_of(connection, people, Contract(document))["sample"] is None


def test_a_personal_date_does_not_become_a_period(connection):
    born = "(values (1, date '1980-05-06')) as people (id, born_on)"
    columns = [{"name": "born_on", "type": "date", "classification": "personal"}]
    found = statistics_of(connection, born, Contract({**CONTRACT.document, "columns": columns}))
    assert found["periods"] is None
    assert "1980" not in json.dumps(found)


def test_an_empty_table_has_statistics(connection):
    found = statistics_of(connection, f"(select * from {ORDERS} where false)", CONTRACT)
    assert found["rows"] == 0
    assert found["columns"]["amount"]["sum"] is None
    assert found["keys"] == {"columns": ["order_id"], "sketch": [], "exact": True}


def test_what_cannot_be_ordered_or_added_has_counts_only(connection):
    found = statistics_of(connection, "(select [1, 2] as list, {'a': 1} as struct)", CONTRACT)
    assert found["columns"]["list"]["distinct"] == 1
    assert found["columns"]["struct"]["top"] is None
    assert found["keys"] is None


@pytest.mark.parametrize("column", ["{}", "[{}]", "{{'m': {}}}"])
def test_the_order_of_the_entries_of_a_map_is_no_change(connection, column):
    fixed = [{"name": "m", "type": "string", "immutable": True}, *CONTRACT.document["columns"]]
    contract = Contract({**CONTRACT.document, "columns": fixed})
    before, after = (
        statistics_of(
            connection,
            f"(select 1 as order_id, 7 as paid, date '2026-01-01' as d, {column.format(m)} as m)",
            contract,
        )
        for m in ("map {'a': 1, 'b': 2}", "map {'b': 2, 'a': 1}")
    )
    assert before["periods"] == after["periods"]
    assert before["periods"]["of"] == ["order_id", "paid"]
    assert before["keys"] == after["keys"]


@pytest.mark.parametrize("value", ["'nan'::double", "'infinity'::double"])
def test_numbers_that_json_lacks_become_text(connection, value):
    found = statistics_of(connection, f"(select {value} as share)", CONTRACT)
    json.dumps(found, allow_nan=False)


def test_long_texts_are_cut(connection):
    found = statistics_of(connection, "(select repeat('x', 100000) as note)", CONTRACT)
    assert found["columns"]["note"]["min"] == "x" * 200
    assert found["columns"]["note"]["top"] is None


def test_many_keys_are_sketched_and_few_are_all_there(connection):
    def keys(sql):
        return statistics_of(connection, f"({sql})", CONTRACT)["keys"]

    few = keys("select range as order_id from range(512)")
    assert few["exact"]
    assert len(few["sketch"]) == 512
    many = keys("select range as order_id from range(10000)")
    assert not many["exact"]
    assert many["sketch"] == sorted(many["sketch"])
    assert found_again(few, many) == 1.0
    half = keys("select range * 2 as order_id from range(10000)")
    assert found_again(many, half) == pytest.approx(0.5, abs=0.1)
    assert found_again(many, keys("select 'k' || range as order_id from range(10000)")) == 0.0
    repeated = keys("select range % 700 as order_id from range(10000)")
    once = keys("select range as order_id from range(700)")
    assert repeated == once


def test_rewritten_days_are_found_whatever_the_order_of_rows_and_columns(connection):
    def periods(sql):
        return statistics_of(connection, f"({sql})", CONTRACT)["periods"]

    before = periods("select date '2026-01-01' + (range // 10)::int as d, range as a, 1 as b "
                     "from range(100)")  # fmt: skip
    assert before["unit"] == "day"
    assert before["counts"]["2026-01-01"][0] == 10
    same = periods("select 1 as b, range as a, date '2026-01-01' + (range // 10)::int as d "
                   "from range(100) order by a desc")  # fmt: skip
    assert rewritten_periods(before, same) == {}
    changed = periods("select date '2026-01-01' + (range // 10)::int as d, "
                      "case when range = 15 then -1 else range end as a, 1 as b "
                      "from range(99)")  # fmt: skip
    assert rewritten_periods(before, changed) == {"2026-01-02": (10, 10), "2026-01-10": (10, 9)}
    fewer = periods("select date '2026-01-01' + (range // 10)::int as d, range as a from range(9)")
    assert rewritten_periods(before, fewer) is None


def test_a_period_has_other_values_only_if_the_values_differ_not_their_type(connection):
    def periods(amount, number="1"):
        sql = f"(select date '2026-01-01' as d, {amount} as amount, {number} as number)"
        return statistics_of(connection, sql, CONTRACT)["periods"]

    before = periods("1.10::decimal(18, 2)")
    assert rewritten_periods(before, periods("1.10::decimal(18, 4)", "1::bigint")) == {}
    assert rewritten_periods(before, periods("1.10::decimal(38, 10)")) == {}
    stored_alike = periods("0.0110::decimal(18, 4)")  # 110 without its scale, too
    assert rewritten_periods(before, stored_alike) == {"2026-01-01": (1, 1)}


def test_over_400_days_are_counted_by_month_and_still_compare(connection):
    sql = "select date '2026-01-01' + range::int as d, range as a from range({})"
    days = statistics_of(connection, f"({sql.format(400)})", CONTRACT)["periods"]
    months = statistics_of(connection, f"({sql.format(401)})", CONTRACT)["periods"]
    years = statistics_of(connection, f"({sql.format(20_000)})", CONTRACT)["periods"]
    assert (days["unit"], months["unit"], years["unit"]) == ("day", "month", "year")
    assert rewritten_periods(days, months) == {"2027-02": (4, 5)}
    assert rewritten_periods(months, years) == {"2027": (36, 365)}


def test_the_promised_time_column_is_preferred(connection):
    document = {**CONTRACT.document, "promises": {"measured_on": "paid_at"}}
    sql = "(select date '2026-01-01' as d, timestamp '2026-02-03 04:05:06' as paid_at)"
    found = statistics_of(connection, sql, Contract(document))
    assert found["periods"]["column"] == "paid_at"
    assert found["columns"]["paid_at"]["min"] == "2026-02-03 04:05:06"


def test_names_are_quoted(connection):
    found = statistics_of(connection, """(select 1 as "a""b' ; --")""", CONTRACT)
    assert [*found["columns"]] == ["a\"b' ; --"]


def test_only_statistics_of_one_engine_compare(connection):
    found = statistics_of(connection, ORDERS, CONTRACT)
    assert are_comparable(found, found)
    assert not are_comparable(found, {**found, "engine": "other"})
    assert not are_comparable(None, found)
