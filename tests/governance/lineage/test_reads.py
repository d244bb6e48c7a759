"""Every read of every query of the golden corpus, and no other."""

from pathlib import Path

import pytest
import yaml

from meshhouse.governance.lineage import reads_of

_CORPUS = yaml.safe_load(Path(__file__).with_name("reads.yml").read_text())
_QUERIES = _CORPUS["queries"]


def test_the_corpus_has_at_least_60_queries():
    assert len({each["sql"] for each in _QUERIES}) >= 60


@pytest.mark.parametrize("query", _QUERIES, ids=[each["name"] for each in _QUERIES])
def test_reads_are_exactly_those_of_the_corpus(query):
    found = reads_of("crm.model", query["sql"], _CORPUS["schemas"], query.get("dialect", "duckdb"))
    told = {
        f"{each.relation}.{each.column}": "?"
        if not each.is_known
        else (set(each.how), set(each.into), set(each.literals))
        for each in found
    }
    assert len(told) == len(found)
    assert told == {key: _expected(value) for key, value in query["reads"].items()}


def _expected(value):
    if value == "?":
        return value
    parts = [*(value if isinstance(value, list) else [value]), "", ""][:3]
    return tuple(set(each if isinstance(each, list) else str(each).split()) for each in parts)


def test_a_condition_of_2000_parts_is_read():
    parts = " or ".join(f"id = {each}" for each in range(2000))
    sql = f"select code || {' || '.join(['code'] * 500)} as c from sales.tiny where {parts}"
    code, number = reads_of("crm.model", sql, _CORPUS["schemas"])
    assert (code.column, code.into) == ("code", ("c",))
    assert (number.column, len(number.literals)) == ("id", 2000)


@pytest.mark.parametrize(
    ("condition", "operators"),
    [
        ("amount >= 1", {">="}),
        ("1 >= amount", {"<="}),
        ("not (amount < 1)", {">="}),
        ("not not amount = 1", {"="}),
        ("amount in (1, 2)", {"in"}),
        ("amount not in (1, 2)", {"not in"}),
        ("amount between 1 and 2", {"between"}),
        ("amount is not distinct from 1", {"="}),
        ("amount = 1 or true", {"=", "or"}),
        ("amount = 1 and (amount > 2)", {"=", ">"}),
        ("(amount = 1) = false", {"?"}),
        ("amount like 'a%'", {"like"}),
        ("case when amount = 1 then true end", {"case"}),
        ("case when not amount <> 1 then true end", {"case"}),
        ("case when amount = 1 then true else false end", {"="}),
        ("case amount when 1 then true end", {"case"}),
        ("case amount when 1 then true else false end", {"="}),
        ("if(amount in (1, 2), true)", {"case"}),
        ("if(amount in (1, 2), true, false)", {"in"}),
        ("map {1: true}[amount]", {"key"}),
        ("order_id = 1", set()),
    ],
)
def test_a_read_has_the_operators_that_hold_for_the_column(condition, operators):
    sql = f"select customer_id from sales.orders where {condition}"
    reads = reads_of("crm.model", sql, _CORPUS["schemas"])
    found = {each.column: set(each.operators) for each in reads}
    assert found.get("amount", set()) == operators


def test_an_aggregate_skips_what_a_choice_does_not_list():
    sql = "select sum(case when amount = 1 then amount end) as s, {} as c from sales.orders"
    for other, operators in (
        ("1", {"="}),
        ("list(case when amount = 1 then 1 end)", {"=", "case"}),
    ):
        (read,) = reads_of("crm.model", sql.format(other), _CORPUS["schemas"])
        assert set(read.operators) == operators


def test_decode_of_snowflake_without_a_rest_is_a_case():
    for rest, operators in (("", {"case"}), (", 9", {"="})):
        sql = f"select decode(status, 'a', 1, 'b', 2{rest}) as v from sales.orders"
        (read,) = reads_of("crm.model", sql, _CORPUS["schemas"], "snowflake")
        assert set(read.operators) == operators
