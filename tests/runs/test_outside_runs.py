"""What is built beside a run, by other code, is never published by one."""

from __future__ import annotations

import pytest

from meshhouse import dbt
from meshhouse.engines import engine
from meshhouse.runs.parse import fresh_manifest
from meshhouse.runs.run import build_models, run_domain
from tests.conftest import Mesh

ORDERS = "domains/shop/models/products/orders.sql"
INCREMENTAL = """{{ config(materialized='incremental', on_schema_change='fail') }}
select
    cast(sale_id as bigint) as order_id,
    cast(customer_id as bigint) as customer_id,
    cast(amount as decimal(12, 2)) as amount,
    cast(sold_at as {{ type_timestamptz() }}) as sold_at
from {{ ref('stg_sales') }}
{% if is_incremental() %}
where sale_id > (select max(order_id) from {{ this }})
{% endif %}
"""


def version(mesh: Mesh) -> str:
    repository = mesh.repository
    shop = repository.domain("shop")
    return fresh_manifest(repository, shop).code_version(shop.product("orders"))


def run(mesh: Mesh) -> None:
    repository = mesh.repository
    done = run_domain(repository, engine(repository), repository.domain("shop"))
    assert done.outcome == "published", done.message


def by_plain_dbt(mesh: Mesh) -> None:
    mesh.dbt("shop", "run", "--select", "+orders")


def by_dagster(mesh: Mesh) -> None:
    repository = mesh.repository
    shop = repository.domain("shop")
    built = build_models(repository, engine(repository), shop, ["stg_sales", "orders"])
    assert built.ok, built.message


@pytest.mark.parametrize("build", [by_plain_dbt, by_dagster])
def test_rows_that_edited_code_has_built_are_not_published_after_it_was_taken_back(mesh, build):
    mesh.write(ORDERS, INCREMENTAL)
    overrides = "overrides: {macros: {is_incremental: false}}"
    mesh.edit(ORDERS.replace(".sql", ".yml"), "model: orders", f"model: orders\n    {overrides}")
    mesh.sell(1)
    mesh.run("land")
    run(mesh)
    mesh.sell(2)
    mesh.run("land")
    edited = "case when sale_id = 2 then 99 else amount end"  # 1 is unit-tested
    mesh.edit(ORDERS, "cast(amount as", f"cast({edited} as")
    build(mesh)
    mesh.write(ORDERS, INCREMENTAL)
    run(mesh)
    amounts = mesh.rows("select cast(amount as double) from shop.orders")
    assert amounts == [(1.5,), (1.5,)]


def test_a_manifest_of_code_that_was_taken_back_is_not_taken_for_the_present_one(mesh):
    before = version(mesh)
    mesh.edit(ORDERS, "cast(amount as", "cast(2 * amount as")
    dbt.parse(mesh.repository, "shop")  # where plain dbt writes its own, too
    mesh.edit(ORDERS, "cast(2 * amount as", "cast(amount as")
    assert version(mesh) == before
