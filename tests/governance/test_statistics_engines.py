"""Every engine measures the same table alike, except for checksums.

Belongs here: `measure` through the readers of engines. Not here: what is measured
(test_statistics.py).
"""

from __future__ import annotations

from contextlib import closing

import duckdb
import pytest

from meshhouse.engines.duckdb.engine import DuckDBReader
from meshhouse.governance.contract import Contract
from meshhouse.governance.statistics import Statistics, measure
from meshhouse.governance.statistics_compared import rewritten_periods
from tests.support.snowflake_here import needs_snowflake
from tests.support.spark_here import needs_spark, with_compiler

COLUMNS = {
    "order_id": "bigint", "status": "string", "amount": "decimal(12,2)", "weight": "double",
    "ordered_on": "date", "sold_at": "timestamp", "seen_at": "timestamptz", "gift": "boolean",
    "email": "string",
}  # fmt: skip
CONTRACT = Contract(
    {
        "product": "shop.orders",
        "relation": "shop.orders",
        "grain": {"columns": ["order_id", "status"]},
        "columns": [
            {"name": name, "type": kind, "classification": "personal" if name == "email" else None}
            for name, kind in COLUMNS.items()
        ],
    }
)
ROW = """select cast({id} as bigint) as order_id, cast({status} as {string}) as status,
    cast({amount} as decimal(12, 2)) as amount, cast({id} + 0.5 as double) as weight,
    cast('2026-01-0{day}' as date) as ordered_on,
    cast('2026-01-0{day} 04:05:06' as {timestamp}) as sold_at,
    cast('2026-01-0{day} 04:05:06' as {timestamptz}) as seen_at,
    {id} > 2 as gift, cast('ann@example.com' as {string}) as email"""
NAMES = {
    "duckdb": {"string": "varchar", "timestamp": "timestamp", "timestamptz": "timestamptz"},
    "snowflake": {"string": "varchar", "timestamp": "timestamp_ntz", "timestamptz": "timestamp_tz"},
    "spark": {"string": "string", "timestamp": "timestamp_ntz", "timestamptz": "timestamp"},
}


def rows(engine: str, amount: str = "-3.25") -> str:
    values = [(1, "'new'", "10.50", 1), (2, "'paid'", amount, 1), (3, "null", "null", 2)]
    return " union all ".join(
        ROW.format(id=number, status=status, amount=each, day=day, **NAMES[engine])
        for number, status, each, day in values
    )


def without_checksums(found: Statistics) -> dict:
    periods = found["periods"]
    counts = {period: each[0] for period, each in periods["counts"].items()}
    kept = {name: each for name, each in found["columns"].items() if name != "seen_at"}
    # Engines write the zone of an instant differently.
    at = found["sample"]["columns"].index("seen_at")
    sample = {
        "columns": [each for each in found["sample"]["columns"] if each != "seen_at"],
        "rows": [[*row[:at], *row[at + 1 :]] for row in found["sample"]["rows"]],
    }
    return {**found, "engine": "", "columns": kept, "sample": sample,
            "periods": {**periods, "method": "", "counts": counts}}  # fmt: skip


@pytest.fixture
def expected() -> dict:
    with closing(duckdb.connect()) as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute("create schema shop")
        connection.execute(f"create view shop.orders as {rows('duckdb')}")
        return without_checksums(measure(DuckDBReader(connection), "shop.orders", CONTRACT))


def check(found: Statistics, changed: Statistics, expected: dict) -> None:
    assert without_checksums(found) == expected
    assert "ann@" not in str(found)
    assert found["columns"]["seen_at"]["min"].startswith("2026-01-01 04:05:06")
    assert rewritten_periods(found["periods"], found["periods"]) == {}
    assert rewritten_periods(found["periods"], changed["periods"]) == {"2026-01-01": (2, 2)}


@needs_snowflake
def test_snowflake_measures_alike(chosen, expected) -> None:
    from meshhouse.engines.snowflake.reader import SnowflakeReader
    from meshhouse.engines.snowflake.session import connect

    connect().execute("create schema if not exists kept")
    found = []
    for at, amount in enumerate(("-3.25", "-3.26")):
        table = f"kept.orders_{at}"
        connect().execute(f"create table {table} as {rows('snowflake', amount)}")
        reader = SnowflakeReader(connect(), {"shop.orders": table}, {})
        found.append(measure(reader, "shop.orders", CONTRACT))
    check(*found, expected)


@needs_spark
def test_spark_measures_alike(spark, expected) -> None:
    from meshhouse.engines.spark.engine import SparkReader

    found = []
    for amount in ("-3.25", "-3.26"):
        with with_compiler(spark):
            spark.sql(rows("spark", amount)).createOrReplaceTempView("orders")
            found.append(measure(SparkReader(spark), "orders", CONTRACT))
    check(*found, expected)
