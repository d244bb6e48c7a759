"""A condition that is said to follow from another really does, whatever the rows.

Belongs here: soundness against DuckDB, and implications that must be found. Not here: what a filter
means for readers (changes/A7.yml, A8.yml, V10.yml).
"""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshhouse.governance.predicates import is_implied

ROWS = """
    create table grid as
    select number, label, day
    from (select unnest([-2, -1, 0, 1, 2, 3, null]) as number) as numbers
    cross join (select unnest(['a', 'b', 'B', '', null]) as label) as labels
    cross join (
        select unnest([date '2026-01-01', date '2026-02-01', date '2025-12-31', null]) as day
    ) as days
"""
_SIGN = st.sampled_from(["=", "<>", "<", "<=", ">", ">="])
_NUMBER = st.sampled_from(["-2", "-1", "0", "1", "2", "1.5"])
_LABEL = st.sampled_from(["'a'", "'b'", "'B'", "''"])
_DAY = st.sampled_from(["date '2026-01-01'", "date '2026-02-01'", "'2025-12-31'"])
LEAVES = st.one_of(
    st.tuples(st.just("number"), _SIGN, _NUMBER).map(" ".join),
    st.tuples(_NUMBER, _SIGN, st.just("number")).map(" ".join),
    st.tuples(st.just("label"), _SIGN, _LABEL).map(" ".join),
    st.tuples(st.just("day"), _SIGN, _DAY).map(" ".join),
    st.lists(_LABEL, min_size=1, max_size=3).map(lambda found: f"label in ({', '.join(found)})"),
    st.lists(_NUMBER, min_size=1, max_size=3).map(lambda found: f"number in ({', '.join(found)})"),
    st.tuples(_NUMBER, _NUMBER).map(lambda ends: f"number between {ends[0]} and {ends[1]}"),
    st.sampled_from(["number is null", "label is not null", "true", "false"]),
)
CONDITIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]}) and ({pair[1]})"),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]}) or ({pair[1]})"),
        inner.map(lambda each: f"not ({each})"),
    ),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def grid():
    with duckdb.connect() as connection:
        connection.execute(ROWS)
        yield connection


@settings(max_examples=300, deadline=None)
@given(narrow=CONDITIONS, wide=CONDITIONS)
def test_an_implication_holds_on_every_row(grid, narrow, wide):
    if is_implied(narrow, wide):
        sql = f"select count(*) from grid where ({narrow}) and ({wide}) is not true"
        assert grid.execute(sql).fetchone() == (0,), f"{narrow} does not imply {wide}"


@settings(max_examples=60, deadline=None)
@given(one=CONDITIONS, other=CONDITIONS)
def test_a_further_condition_is_known_to_be_narrower(one, other):
    assert is_implied(f"({one}) and ({other})", one)
    assert is_implied(one, f"({one}) or ({other})")
    assert is_implied(one, one)


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        ("amount > 10", "amount > 0"),
        ("amount > 10", "amount <> 3"),
        ("amount between 2 and 3", "amount >= 0 and amount < 5"),
        ("status = 'paid'", "status in ('open', 'paid')"),
        ("status in ('open', 'paid')", "status <> 'returned'"),
        ("order_date >= date '2026-02-01'", "order_date >= date '2026-01-01'"),
        ("NOT amount <= 10", "10 < Amount"),
        ("a = 1 or a = 2", "a < 5"),
        ("amount > 10", None),
    ],
)
def test_an_implication_is_found(narrow, wide):
    assert is_implied(narrow, wide)


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        (None, "amount > 0"),
        ("amount > 0", "amount > 10"),
        ("amount < 10", "amount > 0"),
        ("amount > 10", "total > 0"),
        ("amount > '9'", "amount > 10"),
        ("status like 'p%'", "status = 'paid'"),
        ("amount >", "amount > 0"),
    ],
)
def test_what_is_not_proved_is_not_implied(narrow, wide):
    assert not is_implied(narrow, wide)
