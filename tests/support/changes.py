"""The corpus of changes: reads tests/governance/changes/*.yml and makes comparisons of them.

Belongs here: the base contract, edits of it, and the tables and readers of a case. Not here: the
assertions (tests/governance/test_changes.py), or the page that is made from the files.

A file describes one kind of change:

    id: S1
    title: required column removed
    hurt: queries fail
    verdict: B L                      # as in the table of changes
    detect: PC, LIN
    cases:
      - name: a reader selects it
        before: {columns.amount.required: true}      # edits of the base contract
        after: {columns.amount: null}                # edits of `before`; null removes
        sql: {before: select ..., after: select ...} # the product's SQL, if it matters
        rows: {before: from orders(90), after: from orders(99)}  # DuckDB SQL; see `ORDERS`
        consumers: {crm.stg_orders: select order_id, amount from sales.orders}
        past: {null_shares: {amount: 0.0}}           # fields of `Past`
        today: 2026-11-30
        same_code: true                              # only events made the rows differ
        expect: {verdict: breaking, hits: [crm.stg_orders.amount], bump: major}

A near miss is a case that must not be called this kind of change: it has `row: S5`, the kind that
it is instead, or `expect: none`.

A path of an edit is dotted; items of `columns` and `checks` are addressed by name or id, and an
item that does not exist is appended. `after: removed` removes the product. With `expect: none`
nothing may be found; with `expect: no alarm` nothing worse than minor (benign edits).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import yaml

from meshhouse.governance.comparison import Comparison, Past
from meshhouse.governance.contract import Contract
from meshhouse.governance.lineage import bare_names_of, reads_of
from meshhouse.governance.readers import Readers
from meshhouse.governance.statistics import statistics_of

CHANGES = Path(__file__).parents[1] / "governance" / "changes"
_KEYS = {"columns": "name", "checks": "id", "agreements": "consumer"}

SQL = """
select
    transactions.basket_id as order_id,
    transactions.household_id as customer_id,
    transactions.sold_at as ordered_at,
    cast(transactions.sold_at as date) as order_date,
    transactions.status,
    sum(transactions.amount) as amount
from sales_raw.transactions as transactions
where transactions.quantity > 0
group by
    transactions.basket_id, transactions.household_id, transactions.sold_at, transactions.status
"""

ORDERS = """
select
    i as order_id,
    i % 20 as customer_id,
    to_timestamp(1483228800 + i * 8640) as ordered_at,
    date '2017-01-01' + cast(i // 10 as integer) as order_date,
    ['open', 'paid', 'sent'][1 + i % 3] as status,
    cast(10 + i % 90 as decimal(12, 2)) as amount
from range(n) as r(i)
"""
"""The rows of `orders(n)`: ten orders on each day from 2017-01-01."""

BASE: Mapping[str, Any] = {
    "format": 2,
    "product": "sales.orders",
    "domain": "sales",
    "model": "orders",
    "version": 1,
    "versioned": True,
    "latest_version": 1,
    "relation": "sales.orders_v1",
    "access": "public",
    "enforced": True,
    "description": "Orders of all stores. One row per order.",
    "owner": {"group": "sales", "name": "Sales team", "email": "sales@example.com"},
    "grain": {"columns": ["order_id"], "text": "One row per order."},
    "columns": [
        {"name": "order_id", "type": "bigint", "required": True, "unique": True,
         "description": "The order."},
        {"name": "customer_id", "type": "bigint", "required": True, "description": "Who bought."},
        {"name": "ordered_at", "type": "timestamptz", "required": True, "description": "When."},
        {"name": "order_date", "type": "date", "required": True, "description": "Business day."},
        {"name": "status", "type": "string", "description": "State of the order."},
        {"name": "amount", "type": "decimal(12,2)", "unit": "USD", "description": "Net value."},
    ],
    "checks": [
        {"id": "rows", "kind": "row_count", "must": {"must_be_greater_than": 0},
         "severity": "error", "stage": "gate", "enabled": True},
    ],
    "promises": {"refreshed_within_hours": 24, "keeps_rows_percent": 90},
    "models": {"orders": {"sql": SQL, "materialized": "table"}},
}  # fmt: skip


@dataclass(frozen=True)
class Expected:
    """What the judgement must say."""

    verdict: str
    hits: tuple[str, ...] = ()
    bump: str = "none"
    also: bool = False
    """Other rows may be worse: the edit cannot be made without them."""


@dataclass(frozen=True)
class Case:
    """One case of one kind of change."""

    kind: str
    """The kind of change that the file describes."""
    content: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.kind} {self.content['name']}"

    @property
    def row(self) -> str:
        """The kind of change that must be found; another one than `kind` for a near miss."""
        return str(self.content.get("row", self.kind))

    @property
    def expected(self) -> Expected:
        told = self.content["expect"]
        if isinstance(told, str):
            return Expected(told)
        return Expected(**{**told, "hits": tuple(told.get("hits", ()))})

    def comparison(self, folder: Path) -> Comparison:
        """The comparison; tables are written to a folder."""
        content = self.content
        before = edited(BASE, content.get("before", {}))
        after = None
        if content.get("after") != "removed":
            after = edited(before, content.get("after", {}))
        for document, name in ((before, "before"), (after, "after")):
            sql = content.get("sql", {}).get(name)
            if sql is not None and document is not None:
                document["models"][document["model"]]["sql"] = sql
        schema = [each["name"] for each in before["columns"]]
        names = {before["product"], before["relation"], *before.get("aliases", ())}
        schemas = dict.fromkeys(names, schema)
        reads = [
            read
            for reader, sql in content.get("consumers", {}).items()
            for find in (reads_of, bare_names_of)
            for read in find(reader, sql, schemas)
        ]
        today = content.get("today", date(2026, 11, 30))
        past = {**content.get("past", {})}
        for name in ("names", "domains"):
            if name in past:
                past[name] = frozenset(past[name])
        return Comparison(
            before=Contract(before),
            after=Contract(after) if after is not None else None,
            readers=Readers(tuple(reads)),
            before_statistics=self._statistics(folder, "before", before),
            after_statistics=self._statistics(folder, "after", after) if after else None,
            past=Past(**past),
            today=today,
            is_same_code=content.get("same_code", False),
        )

    def _statistics(self, folder: Path, name: str, contract: Mapping[str, Any]) -> Any:
        sql = self.content.get("rows", {}).get(name)
        if sql is None:
            return None
        file = folder / f"{name}.parquet"
        connection = _connection()
        connection.execute(f"copy ({sql}) to '{file}' (format parquet)")
        return statistics_of(connection, f"read_parquet('{file}')", Contract(contract))


@cache
def _connection() -> duckdb.DuckDBPyConnection:
    """One for all cases: opening one takes 30 ms. It has the table function `orders`."""
    connection = duckdb.connect(config={"threads": 1})
    connection.execute(f"create macro orders(n) as table {ORDERS}")
    return connection


# In C it needs 0.3 s for all files instead of 2 s.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def cases_of(path: Path) -> Iterator[Case]:
    """The cases of one file."""
    content = yaml.load(path.read_text(), Loader=_LOADER)
    for case in content["cases"]:
        yield Case(kind=str(content["id"]), content=case)


def edited(document: Mapping[str, Any], edits: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a contract with edits; see the head of this module."""
    made = copy.deepcopy(dict(document))
    for path, value in edits.items():
        _edit(made, path.split("."), value)
    return made


def _edit(place: Any, path: list[str], value: Any, key: str = "name") -> None:
    name, *rest = path
    if isinstance(place, list):
        at = next((at for at, each in enumerate(place) if each[key] == name), None)
        if at is None:
            place.append({key: name})
            at = len(place) - 1
        if rest:
            _edit(place[at], rest, value)
        elif value is None:
            del place[at]
        else:
            place[at] = {key: name, **value}
    elif rest:
        empty: Any = [] if name in _KEYS and name not in place else {}
        _edit(place.setdefault(name, empty), rest, value, _KEYS.get(name, "name"))
    elif value is None:
        place.pop(name, None)
    else:
        place[name] = value
