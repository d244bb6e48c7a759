"""The whole demo: consumers read the same figures as in the source files.

The tests compute the figures from the Parquet files, with other SQL than the models'.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

import meshhouse
from meshhouse.demo.retail import data_folder
from tests.conftest import Mesh
from tests.support.retail import CHANGED_HOUSEHOLDS, LATE_LINES, copied_repository, send_late


@pytest.fixture(scope="module")
def retail_folder(tmp_path_factory: pytest.TempPathFactory) -> Mesh:
    """A copy of the real repository's domains, without data."""
    return copied_repository(tmp_path_factory.mktemp("retail"))


@pytest.fixture(scope="module")
def first_run(retail_folder: Mesh) -> dict:
    """The JSON output of the first `mesh demo`."""
    return json.loads(retail_folder.run("demo", "--json").stdout)


@pytest.fixture(scope="module")
def retail(retail_folder: Mesh, first_run: dict) -> Mesh:
    """The real repository's domains, after one `mesh demo`."""
    return retail_folder


@pytest.fixture(scope="module")
def products(retail: Mesh) -> Iterator[duckdb.DuckDBPyConnection]:
    with meshhouse.connect(retail.root) as connection:
        yield connection


@pytest.fixture(scope="module")
def source() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        for path in Path(data_folder()).glob("*.parquet"):
            connection.execute(f"create view {path.stem} as from read_parquet('{path}')")
        yield connection


def one(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple:
    return connection.execute(sql).fetchone()


def test_every_product_of_every_domain_is_published(first_run: dict) -> None:
    assert len(first_run["published"]) == 15
    assert first_run["failed"] == []
    assert all(product["score"] == 100 for product in first_run["published"])


def test_order_lines_hold_every_purchase_to_the_cent(products, source) -> None:
    published = one(
        products,
        """select count(*), sum(sales_value), sum(quantity),
            sum(retail_discount), sum(coupon_discount),
            count(distinct household_id), count(distinct basket_id), count(distinct product_id),
            min(ordered_at), max(ordered_at) from sales.order_lines""",
    )
    expected = one(
        source,
        """select count(*), sum(sales_value::decimal(12,2)), sum(quantity),
            sum(retail_disc::decimal(12,2)), sum(coupon_disc::decimal(12,2)),
            count(distinct household_id), count(distinct basket_id), count(distinct product_id),
            min(transaction_timestamp) at time zone 'UTC',
            max(transaction_timestamp) at time zone 'UTC'
        from transactions""",
    )
    assert published == expected
    assert published[:2] == (1_469_307, Decimal("4596039.58"))


def test_orders_and_daily_sales_add_up_to_the_same_money(products, source) -> None:
    assert one(products, "select count(*), sum(sales_value), sum(lines) from sales.orders") == one(
        source,
        """select count(distinct basket_id), sum(sales_value::decimal(12,2)), count(*)
        from transactions""",
    )
    assert one(
        products, "select sum(sales_value), sum(orders) from sales.daily_store_sales"
    ) == one(products, "select sum(sales_value), count(*) from sales.orders")


def test_a_day_is_a_new_york_day(products, source) -> None:
    published = products.execute(
        "select order_date, sum(sales_value) from sales.daily_store_sales group by all order by all"
    ).fetchall()
    # New York is five hours behind UTC; four from 12 March to 5 November 2017, each at 2 a.m.
    expected = source.execute(
        """select (transaction_timestamp - case
                when transaction_timestamp >= '2017-03-12 07:00'
                    and transaction_timestamp < '2017-11-05 06:00'
                then interval 4 hour else interval 5 hour end)::date as day,
            sum(sales_value::decimal(12,2))
        from transactions group by all order by all"""
    ).fetchall()
    assert published == expected


def test_households_and_catalogue_are_the_source_row_for_row(products, source) -> None:
    for product, table, columns in (
        ("customers.households", "demographics", "household_id, age, income, home_ownership, "
         "marital_status, household_size, household_comp, kids_count"),
        ("merchandising.product_catalogue", "products", "product_id, manufacturer_id, department, "
         "brand, product_category, product_type, package_size"),
        ("marketing.campaign_audience", "campaigns", "campaign_id, household_id"),
    ):  # fmt: skip
        rows = products.execute(f"select {columns} from {product} order by all").fetchall()
        assert rows == source.execute(f"select {columns} from {table} order by all").fetchall()


def test_promotions_are_the_first_two_weeks(products, source) -> None:
    assert one(products, "select count(*), min(week), max(week) from merchandising.promotions") == (
        *one(source, "select count(*) from (select distinct * from promotions where week <= 2)"),
        1,
        2,
    )


def test_customer_360_knows_every_shopper_and_what_it_spent(products, source) -> None:
    spent = dict(
        source.execute(
            "select household_id, sum(sales_value::decimal(12,2)) from transactions group by all"
        ).fetchall()
    )
    rows = products.execute("select household_id, sales_value from mesh.customer_360").fetchall()
    assert len(rows) == 2_469
    assert dict(rows) == spent


def test_campaign_reach_and_redemptions_agree_with_the_source(products, source) -> None:
    published = products.execute(
        "select campaign_id, reach, redemptions from mesh.campaign_effectiveness order by all"
    ).fetchall()
    expected = source.execute(
        """select campaign_id, reach, coalesce(redemptions, 0) from
            (select campaign_id, count(*) as reach from campaigns group by all)
            left join
            (select campaign_id, count(*) as redemptions from coupon_redemptions group by all)
            using (campaign_id) order by all"""
    ).fetchall()
    assert published == expected


def test_recommendations_are_ten_products_that_the_household_never_bought(products) -> None:
    assert one(products, "select max(rank), min(rank) from mesh.recommendations") == (10, 1)
    assert one(
        products,
        """select count(*) from mesh.recommendations
        join sales.order_lines using (household_id, product_id)""",
    ) == (0,)


def test_support_is_labelled_synthetic(retail: Mesh) -> None:
    from meshhouse.repository import Repository

    support = Repository.find(retail.root).domain("support")
    for thing in (*support.products, *support.raw_tables):
        assert "synthetic" in thing.description.lower()


def test_a_second_demo_publishes_nothing(retail: Mesh) -> None:
    again = json.loads(retail.run("demo", "--json").stdout)
    assert sum(topic["written"] for topic in again["replayed"]) == 0
    assert again["published"] == []
    assert len(again["unchanged"]) == 15


def test_a_late_line_corrects_its_order_and_a_redelivered_one_counts_once(retail: Mesh) -> None:
    send_late(retail, LATE_LINES)
    retail.run("run", "sales")
    assert retail.query(
        "select lines, sales_value from sales.orders where basket_id = 31198570044"
    ) == [{"lines": 2, "sales_value": "3.00"}]
    assert retail.query("select count(*) as n, sum(sales_value) as v from sales.order_lines") == [
        {"n": 1_469_308, "v": "4596042.08"}
    ]
    # The code is the same for an incremental and a full build, so nothing is left to do.
    assert json.loads(retail.run("run", "sales", "--json").stdout)["published"] == []


def test_the_newest_event_of_a_household_wins_and_a_deletion_removes_it(retail: Mesh) -> None:
    send_late(retail, CHANGED_HOUSEHOLDS)
    retail.run("run", "customers")
    assert retail.query(
        "select household_id, age from customers.households where household_id in (1, 1001)"
    ) == [{"household_id": 1, "age": "19-24"}]
    assert retail.query("select count(*) as n from customers.households") == [{"n": 800}]
