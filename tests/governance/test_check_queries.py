"""A check's new query is the same, looks at fewer rows, or is for a person to compare.

Belongs here: pairs of queries and conditions. Not here: verdicts (changes/V10.yml, V11.yml).
"""

from __future__ import annotations

import pytest

from meshhouse.governance.check_queries import Covers, compare_conditions, compare_queries

FAILING = "select order_id from sales.orders where amount < 0"


@pytest.mark.parametrize(
    "after",
    [
        "SELECT order_id\nFROM sales.orders -- all\nWHERE 0 > amount",
        f"{FAILING} and amount < 0",
        f"  {FAILING}  ",
    ],
)
def test_layout_and_order_do_not_matter(after):
    assert compare_queries(FAILING, after) is Covers.SAME


@pytest.mark.parametrize(
    "after",
    [
        f"{FAILING} and status = 'paid'",
        "select order_id from sales.orders where amount < -100",
        f"{FAILING} limit 10",
        "select order_id from sales.orders tablesample 1% where amount < 0",
    ],
)
def test_a_query_that_looks_at_fewer_rows_is_found(after):
    assert compare_queries(FAILING, after) is Covers.FEWER


def test_a_first_condition_makes_a_query_look_at_fewer_rows():
    before = "select count(*) from sales.orders"
    assert compare_queries(before, f"{before} where amount > 0") is Covers.FEWER


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (FAILING, "select order_id from sales.orders"),
        (FAILING, "select order_id from sales.orders where amount < 10"),
        (FAILING, "select order_id from sales.order_lines where amount < 0"),
        (FAILING, "select amount from sales.orders where amount < 0 and status = 'paid'"),
        (FAILING, "select from where ("),
        ("select from where (", FAILING),
        (FAILING, ""),
        ("", FAILING),
        (f"{FAILING} limit 10", f"{FAILING} limit 20"),
        (f"{FAILING} limit 10", FAILING),
    ],
)
def test_another_query_is_for_a_person_to_compare(before, after):
    assert compare_queries(before, after) is Covers.OTHER


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("amount < 0", "0 > amount", Covers.SAME),
        ("amount < 0", "amount < -100", Covers.FEWER),
        ("amount < 0", "amount < 0 and status = 'paid'", Covers.FEWER),
        ("amount < 0", "amount < 10", Covers.OTHER),
        ("amount < 0", "", Covers.OTHER),
        ("", "amount < 0", Covers.OTHER),
        ("amount <", "amount < 0", Covers.OTHER),
        ("amount < 0", "amount <", Covers.OTHER),
    ],
)
def test_conditions_of_failing_rows_are_compared(before, after, expected):
    assert compare_conditions(before, after) is expected
