"""`mesh check --target all` finds SQL that runs on every target but gives different results."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.portability_here import (
    COLUMNS,
    cases,
    failing,
    observed,
    on_duckdb,
    on_spark,
    reported,
)
from tests.support.spark_here import needs_spark

CASES = cases()
TPCH = {
    "customer": {"c_custkey": "bigint", "c_acctbal": "decimal(15,2)", "c_phone": "string"},
    "lineitem": {
        "l_orderkey": "bigint", "l_partkey": "bigint", "l_quantity": "decimal(15,2)",
        "l_extendedprice": "decimal(15,2)", "l_discount": "decimal(15,2)",
        "l_tax": "decimal(15,2)", "l_shipdate": "date", "l_suppkey": "bigint",
    },
    "nation": {"n_nationkey": "integer", "n_name": "string"},
    "orders": {"o_orderkey": "bigint", "o_orderdate": "date", "o_totalprice": "decimal(15,2)"},
    "part": {"p_partkey": "bigint", "p_type": "string", "p_size": "integer"},
    "partsupp": {"ps_availqty": "bigint", "ps_supplycost": "decimal(15,2)"},
    "region": {"r_regionkey": "integer", "r_name": "string"},
    "supplier": {"s_suppkey": "bigint", "s_acctbal": "decimal(15,2)"},
}  # fmt: skip
SETTLED = {
    1: {"average"},
    8: {"quotient"},
    14: {"quotient"},
    17: {"average", "quotient"},
    22: {"average"},
}
"""Queries whose averages and quotients of decimals differ between targets."""


def test_the_corpus_is_large_enough_to_say_something():
    assert len({case.expression for case in CASES}) >= 200
    assert {case.observed for case in CASES} >= {"same", "differs", "fails on spark"}


def test_the_check_agrees_with_what_duckdb_and_spark_made_of_each_expression():
    """If DuckDB and Spark agree, an expression is reported only if Snowflake differs."""
    silent, alarmed = [], []
    for case in CASES:
        found = reported(f"select {case.expression} as v from t", {"t": COLUMNS})
        if not found and (case.observed != "same" or case.snowflake):
            silent.append(case)
        if found and case.observed == "same" and not case.snowflake:
            alarmed.append((case.expression, found))
    assert silent == []
    assert alarmed == []


def test_what_is_recorded_of_duckdb_is_what_it_does():
    found = on_duckdb(case.expression for case in CASES)
    failing = {name for name, made in found.items() if isinstance(made, str)}
    recorded = {each.expression for each in CASES if "duckdb" in each.observed}
    assert failing == recorded


@needs_spark
def test_what_is_recorded_is_what_duckdb_and_spark_do(spark):
    expressions = [case.expression for case in CASES]
    local, sparks = on_duckdb(expressions), on_spark(spark, expressions, failing(CASES))
    changed = [
        (case.expression, case.observed, local[case.expression], sparks[case.expression])
        for case in CASES
        if case.observed != observed(local[case.expression], sparks[case.expression])
    ]
    again = "python -m tests.support.portability_here"
    assert changed == [], f"Run `{again}`, and look at what changed."


@pytest.mark.parametrize("number", range(1, 23))
def test_averages_and_quotients_of_tpc_h_are_named_and_no_others(number):
    text = Path(__file__).with_name("tpch.sql").read_text()
    queries = dict(re.findall(r"^-- Q(\d+)\n(.*?);$", text, re.MULTILINE | re.DOTALL))
    found = reported(queries[str(number)], TPCH)
    named = {match[1] for each in found if (match := re.match(r"an? (average|quotient) of", each))}
    assert named == SETTLED.get(number, set())
