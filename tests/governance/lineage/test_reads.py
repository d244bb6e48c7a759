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
