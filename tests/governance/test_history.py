"""The commits that changed the SQL of the demo's products, and what the judgement says of each.

Belongs here: history.json, which has the compiled SQL of the products before and after each commit
for DuckDB. Not here: benign edits that code makes of today's models (test_demo_rewritten.py).

35 commits touched the demo's models or macros. 11 of them changed the SQL of published products.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pytest

from meshhouse.governance.change import Change, Verdict
from meshhouse.governance.comparison import Comparison
from meshhouse.governance.contract import Contract
from meshhouse.governance.judgement import judge
from meshhouse.governance.lineage import reads_of
from meshhouse.governance.readers import Readers
from meshhouse.governance.shape import shape_of
from meshhouse.governance.statistics import statistics_of

SALES = ("sales.order_lines D4", "sales.orders D2", "sales.orders D4",
         "sales.daily_store_sales D2", "sales.daily_store_sales D4")  # fmt: skip
LISTED = ("customers.households", "marketing.campaigns", "merchandising.product_catalogue")
EFFECT = "mesh.campaign_effectiveness"
PERIODS = ("before", "during", "after")
DAILY = [
    f"{who}_daily_sales_value_{when}" for who in ("audience", "comparison") for when in PERIODS
]
ASKS: dict[str, list[str]] = {
    # Silent: equal in every row.
    "a549833": [],
    "9a3717e": [],
    "1eeae05": [],
    "87d6143": [],
    "72fb5a5": [],
    # Another row of several deliveries stays: the partition decides as well.
    "d50d6f1": [*SALES],
    # Landing columns have other names, and 1e-9 is added to each quotient before it is rounded.
    "5da5a33": [
        *SALES,
        *(f"{each} {row}" for each in LISTED for row in ("D2", "D4")),
        "support.contact_summary M2:average_satisfaction",
        "support.tickets M2:hours_to_close",
        "mesh.customer_360 M2:average_basket_value",
        "mesh.product_affinity M2:lift",
        *(f"{EFFECT} M2:{each}" for each in (*DAILY, "daily_sales_value_uplift")),
        f"{EFFECT} M2:redemption_rate",
    ],
    # Offsets decide which event of a key is the last one, and not times.
    "5082e61": [f"{each} D4" for each in LISTED],
    "2776cee": [*SALES],
    # 1e-9 is added, and missing days count as 0: Snowflake's `greatest` was null there.
    "007cd5f": [
        "mesh.recommendations D4",
        "mesh.recommendations M2:rank",
        "mesh.recommendations M2:score",
        "mesh.product_affinity D4",
        "mesh.product_affinity M2:neighbour_rank",
        "mesh.product_affinity M2:similarity",
        *(f"{EFFECT} N7:{each}" for each in (*DAILY, "daily_sales_value_uplift")),
        *(f"{EFFECT} N7:days_{each}" for each in PERIODS),
    ],
    # Equal, and not proved: a join with one row of totals moved below a left join.
    "feaa03b": [
        "mesh.customer_360 D3",
        "mesh.customer_360 M4",
        *(
            f"mesh.customer_360 S10:{each}"
            for each in (
                "average_basket_value", "first_order_date", "last_order_date", "recency_days",
                "sales_value",
            )
        ),
    ],
}  # fmt: skip
"""Commit -> the changes that ask for a confirmation where there are no rows to compare."""

UPSTREAM = """
create schema sales; create schema customers; create schema marketing; create schema support;
create table sales.orders as
    select i as basket_id, i % 40 as household_id,
        date '2017-01-01' + cast(i % 90 as integer) as order_date,
        cast(i % 50 as decimal(18, 2)) as sales_value
    from range(500) as r(i);
create table customers.households as
    select i as household_id, 'a' || i % 6 as age, 'b' || i % 5 as income, 'c' as home_ownership,
        'd' as marital_status, '2' as household_size, 'e' as household_comp, '1' as kids_count
    from range(20, 60) as r(i);
create table marketing.campaign_audience as
    select i % 7 as campaign_id, i % 30 as household_id from range(70) as r(i);
create table marketing.coupon_redemptions as
    select i % 45 as household_id, i as coupon_upc, i % 7 as campaign_id,
        date '2017-02-01' as redemption_date
    from range(90) as r(i);
create table support.contact_summary as
    select i as household_id, 2 as tickets, 1 as open_tickets, 5 as messages,
        timestamptz '2017-03-01 12:00:00+00' as last_contact_at, 4.5 as average_satisfaction
    from range(35) as r(i);
"""
MADE_OF = (
    "stg_sales__orders", "stg_customers__households", "stg_marketing__campaign_audience",
    "stg_marketing__coupon_redemptions", "stg_support__contact_summary", "int_household_shopping",
    "int_household_campaigns",
)  # fmt: skip
"""The models that `customer_360` reads, before those that read them."""


@cache
def history() -> dict[str, Any]:
    return json.loads(Path(__file__).with_name("history.json").read_text())


def models(pair: dict[str, Any], domain: str, side: str) -> dict[str, dict[str, str]]:
    """Model of a domain -> its `sql`, and `later` if later builds run something else."""
    return {
        name.removeprefix(f"{domain}."): {
            kind: history()["texts"][text]
            for kind, text in (found.get(side) or found["both"]).items()
        }
        for name, found in pair["models"].items()
        if name.startswith(f"{domain}.") and (side in found or "both" in found)
    }


def contract(pair: dict[str, Any], product: str, side: str) -> Contract:
    domain, _, model = product.partition(".")
    columns = [
        dict(zip(("name", "type"), each.split(" ", 1), strict=True))
        for each in history()["texts"][pair["products"][product]].split(", ")
    ]
    found = models(pair, domain, side)
    return Contract({
        "format": 2, "product": product, "relation": product, "model": model, "hooks": {},
        "columns": columns,
        "models": {name: {"sql": each["sql"], "materialized": "table"}
                   for name, each in found.items()},
        "later_builds": {name: each["later"] for name, each in found.items() if "later" in each},
    })  # fmt: skip


def comparisons(commit: str) -> list[Comparison]:
    """Each changed product, with a reader of all its columns."""
    pair = history()["pairs"][commit]
    made = []
    for product in pair["products"]:
        before, after = (contract(pair, product, side) for side in ("before", "after"))
        names = list(before.columns)
        reads = reads_of("crm.all", f"select {', '.join(names)} from {product}", {product: names})
        made.append(Comparison(before, after, Readers(tuple(reads))))
    return made


def alarms(comparison: Comparison) -> list[Change]:
    return [each for each in judge(comparison) if each.verdict > Verdict.MINOR]


@pytest.mark.parametrize("commit", ASKS)
def test_a_commit_of_the_past_asks_only_for_what_is_not_proved(commit):
    found = [
        f"{each.before.product} {change.key}"
        for each in comparisons(commit)
        for change in alarms(each)
    ]
    assert sorted(found) == sorted(ASKS[commit])


def test_the_sql_of_every_commit_can_be_read():
    assert {*history()["pairs"]} == {*ASKS}
    made = [each for commit in ASKS for each in comparisons(commit)]
    assert len(made) == 60
    for each in made:
        assert each.after is not None
        assert shape_of(each.before) is not None
        assert shape_of(each.after) is not None


def test_a_rewrite_that_is_not_proved_is_silent_where_rows_are_compared():
    [compared] = [
        each for each in comparisons("feaa03b") if each.before.product == "mesh.customer_360"
    ]
    pair = history()["pairs"]["feaa03b"]
    statistics = []
    for side, made in (("before", compared.before), ("after", compared.after)):
        with duckdb.connect() as connection:
            connection.execute(f"{UPSTREAM}; create schema mesh_build")
            left = models(pair, "mesh", side)
            for name in filter(left.__contains__, MADE_OF):
                connection.execute(f"create view mesh_build.{name} as {left[name]['sql']}")
            sql = left["customer_360"]["sql"]
            statistics.append(statistics_of(connection, f"({sql})", made))
    seen = Comparison(
        compared.before, compared.after, compared.readers,
        before_statistics=statistics[0], after_statistics=statistics[1],
    )  # fmt: skip
    assert alarms(compared)
    assert [each.key for each in alarms(seen)] == []
