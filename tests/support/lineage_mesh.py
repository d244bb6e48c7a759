"""A small mesh of contracts, for tests of lineage in the catalog.

Belongs here: contracts by hand, and documents with what lineage needs. Not here: documents with
every fact (catalog_mesh.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from meshhouse.catalog.documents import (
    ColumnFacts,
    ColumnUse,
    DomainFacts,
    Mesh,
    Owner,
    ProductFacts,
    TopicFacts,
)
from meshhouse.catalog.inputs import inputs_of
from meshhouse.catalog.traces import Traces
from meshhouse.governance.contract import Contract

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def contract(
    relation: str,
    models: Mapping[str, str],
    columns: Sequence[str],
    reads: Sequence[str] = (),
    topics: Mapping[str, Sequence[str]] | None = None,
    **more: Any,
) -> Contract:
    """A contract with what lineage needs."""
    domain, _, name = relation.partition(".")
    return Contract(
        {
            "product": relation, "relation": relation, "domain": domain, "model": name,
            "models": {key: {"sql": sql, "materialized": "view"} for key, sql in models.items()},
            "columns": [{"name": each} for each in columns],
            "reads": [{"relation": each, "reader": f"{domain}.x"} for each in reads],
            "topics": {
                table: {"raw_table": table, "fields": {each: {} for each in fields}}
                for table, fields in (topics or {}).items()
            },
            **more,
        }
    )  # fmt: skip


LINES = "select basket, amount from sales_build.stg"
STAGING = "select basket_id as basket, amount from sales_raw.sales"
SALES = {"sales_raw.sales": ["basket_id", "amount"]}
ORDERS = contract(
    "sales.orders",
    {
        "orders": "select basket, sum(amount) as total, count(*) as lines"
        " from sales_build.lines group by basket",
        "lines": LINES,
        "stg": STAGING,
    },
    ["Basket", "total", "lines"],
    topics=SALES,
)
LINES_OF_ORDERS = contract(
    "sales.lines", {"lines": LINES, "stg": STAGING}, ["basket", "amount"], topics=SALES
)
PEOPLE = contract(
    "mesh.people",
    {
        "people": "select max(total) as best, sum(lines) as lines, max(gone) as gone"
        " from mesh_build.stg",
        "stg": "select o.*, o.nothing as gone from sales.orders as o",
    },
    ["best", "lines", "gone", "added"],
    reads=["sales.orders"],
)
MESH = (ORDERS, LINES_OF_ORDERS, PEOPLE)


def documents(contracts: Iterable[Contract] = MESH, text: str = "Words.", **facts: Any) -> Mesh:
    """The documents of contracts.

    Args:
        contracts: of the products.
        text: stands where people write text.
        facts: of every product.
    """
    known = list(contracts)
    relations = {each.relation for each in known}
    products = tuple(_product(each, relations, text, facts) for each in known)
    raw = sorted({table for each in products for table in each.topics})
    topics = tuple(
        TopicFacts(schema.removesuffix("_raw"), table, text, "json", text, ())
        for schema, _, table in (each.partition(".") for each in raw)
    )
    domains = tuple(
        DomainFacts(
            name, text, Owner(text), tuple(each.relation for each in products
            if each.domain == name), (), (), (), "fresh",
        )
        for name in dict.fromkeys(each.domain for each in products)
    )  # fmt: skip
    traces = Traces(known)
    digests = traces.digests()
    return Mesh(NOW, domains, products, topics, traces=traces, trace_digests=digests)


def _product(
    made: Contract, relations: set[str], text: str, facts: Mapping[str, Any]
) -> ProductFacts:
    domain = str(made.get("domain"))
    uses = (ColumnUse(f"{text}.m", ("filter",)),)
    columns = tuple(ColumnFacts(each, "bigint", text, readers=uses) for each in made.columns)
    stated: dict[str, Any] = {"state": "fresh", **facts}
    return ProductFacts(
        made.relation, domain, str(made.get("model")), 1, True, text, text, (), "",
        Owner(text, "a@b.example"), columns=columns, inputs=inputs_of(made, relations),
        reads=tuple(each["relation"] for each in made.get("reads", ())),
        topics=tuple(each["raw_table"] for each in made.get("topics", {}).values()),
        classification=text, **stated,
    )  # fmt: skip
