"""What a contract says that its product is made of."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meshhouse.governance.contract import accepted_by
from meshhouse.governance.describe import Model, Sources, describe
from tests.conftest import Mesh


@pytest.mark.parametrize("schema", ["{0.schema}", '"lake"."{0.schema}"', "LAKE.{0.schema}"])
def test_a_product_reads_only_the_topics_that_its_models_name_in_full(mesh: Mesh, schema):
    domain = mesh.repository.domain("shop")
    [sales] = domain.raw_tables
    other = replace(sales, name=f"{sales.name}_v2", topic=f"{sales.topic}_v2")
    domain = replace(domain, raw_tables=(sales, other))
    sql = f"select sale_id from {schema.format(other)}.{other.name}"
    models = [Model("orders", "shop.orders", sql, "table")]
    product = mesh.repository.product("shop.orders")
    contract = describe(product, Sources(domain, "local", "duckdb", models))
    assert list(contract.get("topics")) == [other.topic]


def test_what_only_later_builds_read_counts_as_read(mesh: Mesh):
    """Otherwise a provider may remove a column that the next build of a consumer needs."""
    crm, orders = mesh.repository.domain("crm"), mesh.repository.product("shop.orders")
    product = mesh.repository.product("crm.customers")
    first = "select customer_id, amount as spent from shop.orders"
    later = f"{first} where sold_at > (select max(seen_at) from crm_build.customers)"
    model = Model("customers", "crm_build.customers", first, "incremental", later_sql=later)
    contract = describe(product, Sources(crm, "local", "duckdb", [model], [orders]))
    reads = {each["column"]: each for each in contract.get("reads")}
    assert {"customer_id", "amount", "sold_at"} <= reads.keys()
    assert reads["sold_at"]["how"] == ["filter"]


def test_a_column_accepts_what_all_its_checks_accept():
    wide = {"values": ["paid", "open", "void"], "severity": "error"}
    narrow = {"values": ["open", "paid"], "source": "dbt"}
    assert accepted_by([wide, narrow]) == ["paid", "open"]
    assert accepted_by([narrow, wide, {"kind": "missing"}]) == ["open", "paid"]
    for weaker in ({"enabled": False}, {"severity": "warn"}, {"filter": "store_id = 1"}):
        assert accepted_by([wide, {**narrow, **weaker}]) == wide["values"]
        assert accepted_by([{**narrow, **weaker}]) == narrow["values"]
    assert accepted_by([{"kind": "missing"}]) is None
