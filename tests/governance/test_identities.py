"""Spellings that count as one give equal rows on DuckDB, and those that only look alike do not.

Belongs here: equivalences that need a proof (governance/identities.py, and `distinct` inside
`in`). Not here: other equal queries (test_shape.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshhouse.governance.contract import Contract
from meshhouse.governance.shape import Shape, shape_of

DATES = st.dates(date(1900, 1, 1), date(2200, 1, 1))
TIMES = DATES.map(lambda day: datetime(day.year, day.month, day.day, 12, tzinfo=UTC))
WHOLE = st.one_of(st.integers(-2, 2), st.integers(-(2**63), 2**63 - 1))
DECIMALS = st.decimals(Decimal("-99999999.9999"), Decimal("99999999.9999"), places=4)
VALUES = {"date": DATES, "timestamptz": TIMES, "bigint": WHOLE, "decimal(12, 4)": DECIMALS}

CASTS = "(select cast(a as {0}) as a, cast(b as {0}) as b from raw.t) as t"
LARGER = [
    "coalesce(greatest(a, b), a, b)",
    "coalesce(greatest(b, a), a, b)",
    "case when b is null or a > b then a else b end",
    "case when b is null or a >= b then a else b end",
    "case when b <= a or b is null then a else b end",
    "case when a is null or b > a then b else a end",
    "if(b is null or a >= b, a, b)",
]
SMALLER = [
    "coalesce(least(a, b), a, b)",
    "case when b is null or a < b then a else b end",
    "case when b is null or a <= b then a else b end",
    "case when a >= b or a is null then b else a end",
]
OTHERS = {
    "the other one of both": "case when b is null or a < b then a else b end",
    "null of the other value": "case when a is null or a > b then a else b end",
    "no test of null": "case when a > b then a else b end",
    "null if one is null on Snowflake": "greatest(a, b)",
    "another default": "coalesce(greatest(a, b), b)",
    "both must hold": "case when b is null and a > b then a else b end",
}
SUMS = [
    "a - b - (c - d)",
    "a - b - c + d",
    "a + d - (b + c)",
    "-(b - a) - (c - d)",
    "d - c - b + a",
]
OTHER_SUMS = ["a - b - (c + d)", "a - b - c - d", "a + b - (c - d)", "a - (b - (c - d))"]
SUM = "select cast({} as decimal(12, 4)) as v from (select {} from raw.t) as t"


def shape(sql: str) -> Shape:
    document = {"product": "s.v", "model": "v", "models": {"v": {"sql": sql}}}
    found = shape_of(Contract(document))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("create schema raw; set threads = 1")
        yield connection


def fill(connection: duckdb.DuckDBPyConnection, kind: str, rows: Sequence[Sequence[Any]]) -> None:
    names = "abcd"[: len(rows[0])]
    columns = ", ".join(f"{name} {kind}" for name in names)
    connection.execute(f"create or replace table raw.t ({columns})")
    connection.executemany(f"insert into raw.t values ({', '.join('?' * len(names))})", rows)


def results(connection: duckdb.DuckDBPyConnection, sql: str) -> list[str]:
    """The rows, as text: equal values that are written differently are not the same."""
    return sorted(repr(row) for row in connection.execute(sql).fetchall())


def picked(spelling: str, kind: str) -> str:
    return f"select {spelling} as v from {CASTS.format(kind)}"


@pytest.mark.parametrize("spellings", [LARGER, SMALLER], ids=["larger", "smaller"])
@pytest.mark.parametrize("kind", ["date", "timestamptz", "bigint"])
@settings(max_examples=25)
@given(data=st.data())
def test_the_larger_of_two_values_is_equal_in_all_spellings(connection, spellings, kind, data):
    value = st.none() | VALUES[kind]
    drawn = data.draw(st.lists(st.tuples(value, value), min_size=1, max_size=8))
    equal = [(one, one) for one, _ in drawn]
    fill(connection, kind, [*drawn, *equal, (None, None)])
    queries = [picked(each, kind) for each in spellings]
    rows = [results(connection, each) for each in queries]
    assert all(each == rows[0] for each in rows)
    assert all(shape(each) == shape(queries[0]) for each in queries)


@pytest.mark.parametrize("name", OTHERS)
def test_what_only_looks_like_the_larger_one_is_another_expression(name):
    assert shape(picked(OTHERS[name], "date")) != shape(picked(LARGER[0], "date"))


@pytest.mark.parametrize(
    "kind", ["double", "varchar", "interval", "decimal(12, 4)", "timestamp_ns"]
)
def test_values_that_are_equal_and_not_the_same_prove_nothing(kind):
    """0.0 and -0.0, texts with a collation, a month and 30 days."""
    assert shape(picked(LARGER[0], kind)) != shape(picked(LARGER[2], kind))


def test_equal_doubles_are_not_the_same_value(connection):
    fill(connection, "double", [(0.0, -0.0)])
    assert results(connection, picked(LARGER[2], "double")) != results(
        connection, picked(LARGER[3], "double")
    )


@pytest.mark.parametrize(
    "source",
    [
        "raw.t",
        "(select cast(random() as int) as a, cast(b as int) as b from raw.t) as t",
        "(select max(cast(a as int), 2) as a, max(cast(b as int), 2) as b from raw.t) as t",
        "(select cast(of_today(a) as int) as a, cast(b as int) as b from raw.t) as t",
    ],
    ids=["columns without a type", "random values", "lists", "a function that is not known"],
)
def test_nothing_is_proved_of_values_that_may_be_others_each_time(source):
    queries = [f"select {each} as v from {source}" for each in (LARGER[0], LARGER[2])]
    assert shape(queries[0]) != shape(queries[1])


def columns_of(kind: str) -> str:
    return ", ".join(f"cast({name} as {kind}) as {name}" for name in "abcd")


@settings(max_examples=50)
@given(rows=st.lists(st.tuples(*[st.none() | DECIMALS] * 4), min_size=1, max_size=8))
def test_a_sum_of_decimals_is_equal_in_each_order(connection, rows):
    kind = "decimal(12, 4)"
    extreme = Decimal("99999999.9999")
    fill(connection, kind, [*rows, [extreme, -extreme, extreme, extreme], [None] * 4])
    queries = [
        SUM.replace("decimal(12, 4)", "decimal(16, 4)").format(each, columns_of(kind))
        for each in SUMS
    ]
    found = [results(connection, each) for each in queries]
    assert all(each == found[0] for each in found)
    assert all(shape(each) == shape(queries[0]) for each in queries)


@pytest.mark.parametrize("spelling", OTHER_SUMS)
def test_a_sum_with_another_sign_is_another_expression(spelling):
    queries = [SUM.format(each, columns_of("decimal(12, 4)")) for each in (SUMS[0], spelling)]
    assert shape(queries[0]) != shape(queries[1])


@pytest.mark.parametrize(
    "kind", ["double", "bigint", "decimal(18, 4)", "decimal(16, 4)", "decimal"]
)
def test_a_sum_that_may_overflow_or_round_depends_on_its_order(kind):
    queries = [SUM.format(each, columns_of(kind)) for each in SUMS[:2]]
    assert shape(queries[0]) != shape(queries[1])


def test_a_sum_of_long_decimals_fails_in_one_order_only(connection):
    most = Decimal("99999999999999.9999")
    fill(connection, "decimal(18, 4)", [(most, -most, most, most)])
    kept = "select a - (c + 0 * d) - b from raw.t"
    assert results(connection, kept)
    with pytest.raises(duckdb.OutOfRangeException):
        connection.execute("select a - b - (c - 0 * d) from raw.t").fetchall()


@settings(max_examples=25)
@given(rows=st.lists(st.tuples(st.none() | st.integers(-1, 1)), min_size=1, max_size=8))
def test_a_repeated_default_is_one_default(connection, rows):
    fill(connection, "bigint", rows)
    queries = [
        f"select {each} as v from raw.t"
        for each in ("coalesce(a, 0)", "coalesce(coalesce(a, 0), 0)")
    ]
    assert results(connection, queries[0]) == results(connection, queries[1])
    assert shape(queries[0]) == shape(queries[1])
    assert shape(queries[0]) != shape("select coalesce(coalesce(a, 1), 0) as v from raw.t")


AMONG = {
    "itself": "select distinct b from raw.t",
    "of a named query": "select n.b from (select distinct b from raw.t) as n",
    "twice": "select distinct n.b from (select distinct b from raw.t) as n",
}
NOT_AMONG = {
    "before a limit": "select b from (select distinct b from raw.t order by b limit 2) as n",
    "with a limit": "select distinct b from raw.t order by b limit 2",
    "before a count": "select b from (select distinct b from raw.t) as n group by b"
    " having count(*) > 1",
    "before a rank": "select b from (select distinct b from raw.t) as n"
    " qualify row_number() over (order by b) <= 2",
    "one row per key": "select distinct on (a) b from raw.t order by a, b",
}


@pytest.mark.parametrize("operator", ["in", "not in"])
@settings(max_examples=25)
@given(rows=st.lists(st.tuples(*[st.none() | st.integers(0, 3)] * 2), min_size=1, max_size=8))
def test_values_that_occur_twice_do_not_matter_to_in(connection, operator, rows):
    fill(connection, "bigint", rows)
    query = f"select a as v from raw.t where a {operator} ({{}})"
    queries = [query.format(each) for each in ("select b from raw.t", *AMONG.values())]
    found = [results(connection, each) for each in queries]
    assert all(each == found[0] for each in found)
    assert all(shape(each) == shape(queries[0]) for each in queries)


@pytest.mark.parametrize("name", NOT_AMONG)
def test_a_distinct_that_decides_what_is_counted_or_kept_matters_to_in(connection, name):
    fill(connection, "bigint", [(3, 1), (1, 1), (2, 2), (2, 3)])
    inner = NOT_AMONG[name]
    without = inner.replace("distinct on (a) ", "").replace("distinct ", "")
    queries = [f"select a as v from raw.t where a in ({each})" for each in (inner, without)]
    assert shape(queries[0]) != shape(queries[1])
    assert results(connection, queries[0]) != results(connection, queries[1])


def test_a_distinct_outside_in_matters():
    assert shape("select distinct a from raw.t") != shape("select a from raw.t")
    one, other = (
        f"select (select count(*) from (select {each}a from raw.t) as n) as v from raw.u"
        for each in ("distinct ", "")
    )
    assert shape(one) != shape(other)
