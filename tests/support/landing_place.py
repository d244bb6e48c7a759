"""An event log with one topic, and a lake, for tests of landing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import duckdb

from meshhouse.events import EventLog
from meshhouse.lake import Lake
from meshhouse.lake.views import connect_memory, plain_path
from meshhouse.landing import LakeStore, Landing
from meshhouse.landing.land import land
from meshhouse.repository import Column, RawTable

COLUMNS = (Column("sale_id", "bigint", required=True), Column("amount", "decimal(12,2)"))
RAW = RawTable(
    domain="shop",
    schema="shop_raw",
    name="sales",
    topic="shop.sales",
    columns=COLUMNS,
    description="",
    changelog=False,
    path=Path("domains/shop/models/topics.yml"),
    line=8,
)


@dataclass(frozen=True)
class Place:
    """An event log with one topic, and a lake."""

    log: EventLog
    lake: Lake

    def send(self, *values: bytes | None) -> None:
        events = [(str(number).encode(), value, 0, []) for number, value in enumerate(values)]
        self.log.append_events(RAW.topic, events, "test")

    def sell(self, *numbers: int) -> None:
        self.send(*(sale(number) for number in numbers))

    def land(self, raw: RawTable = RAW, **options) -> Landing:
        return land(self.log, LakeStore(self.lake), raw, **options)

    def select(self, what: str, table: str = "sales") -> list:
        """The current rows of a raw table, sorted."""
        location = self.lake.states()[f"shop_raw.{table}"]
        return select_from(plain_path(location), what, "order by all")

    def ids(self) -> list[int]:
        return [number for (number,) in self.select("sale_id")]

    def states(self) -> list[str]:
        """All metadata files that the raw table ever had, oldest first."""
        return sorted(str(path) for path in self.lake.warehouse.glob("shop_raw/sales/*/*.json"))


@cache
def reader() -> duckdb.DuckDBPyConnection:
    return connect_memory()


def select_from(state: str, what: str, rest: str = "") -> list:
    return reader().execute(f"select {what} from iceberg_scan('{state}') {rest}").fetchall()


def sale(number: int) -> bytes:
    return json.dumps({"sale_id": number, "amount": 1.25}).encode()
