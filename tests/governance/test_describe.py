"""What a contract says that its product is made of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from meshhouse.governance.contract import accepted_by
from meshhouse.governance.describe import Model, Sources, describe
from meshhouse.governance.readers import Read, Readers
from meshhouse.governance.reading import Query
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


STAGED = "select order_id, customer_id, amount from shop.orders"
CUSTOMERS = "select customer_id, count(*) as orders from crm_build.stg group by customer_id"


def readers(mesh: Mesh, *models: Model, **changes: Any) -> Readers:
    """Who reads `shop.orders`, as the contract of `crm.customers` says."""
    shop, crm = (mesh.repository.domain(each) for each in ("shop", "crm"))
    orders = next(each for each in shop.products if each.model == "orders")
    stg, customers = Model("stg", "crm_build.stg", STAGED, "view"), Model(
        "customers", "crm_build.customers", CUSTOMERS, "table", published=("crm.customers",)
    )  # fmt: skip
    named = {each.name: each for each in (stg, customers, *models)}
    sources = Sources(crm, "local", "duckdb", list(named.values()), upstream=[orders], **changes)
    contract = describe(mesh.repository.product("crm.customers"), sources)
    return Readers.of(("shop.orders",), [contract])


def compares(value: str) -> Any:
    return lambda read: value in read.literals


def of_customers(sql: str) -> Model:
    return Model("customers", "crm_build.customers", sql, "table", published=("crm.customers",))


@pytest.mark.parametrize(
    "body",
    [
        {"query": "select 1 from crm.customers where exists (select sold_at from shop.orders)"},
        {"query": "select 1 where false", "rows_tested_query": "select sold_at from shop.orders"},
        {"expression": "customer_id < (select max(sold_at) from shop.orders)"},
        {
            "expression": "true",
            "filter": "true in (select sold_at is null from shop.orders)",
        },
    ],
)
@pytest.mark.parametrize("kind", ["failed_rows", "metric"])
@pytest.mark.parametrize("of_column", [True, False])
def test_the_sql_of_a_soda_check_reads_columns(mesh, body, kind, of_column):
    check = {kind: {"qualifier": "known", **body}}
    soda = (
        {"columns": [{"name": "orders", "checks": [check]}]} if of_column else {"checks": [check]}
    )
    assert readers(mesh).hits("sold_at") == ()
    [hit] = readers(mesh, soda=soda).hits("sold_at")
    column = "orders__" if of_column else ""
    assert str(hit) == f"crm.customers (check {column}{kind}__known)"


def test_a_soda_check_that_is_not_sql_reads_every_column(mesh):
    soda = {"checks": [{"failed_rows": {"query": "select from shop.orders where ("}}]}
    [hit] = readers(mesh, soda=soda).hits("sold_at")
    assert str(hit) == "crm.customers (check failed_rows)"
    assert hit.column == "?"


def test_reference_data_of_a_soda_check_are_read(mesh):
    reference = {"dataset": "mesh/shop/orders", "column": "sold_at"}
    check = {"invalid": {"valid_reference_data": reference}}
    soda = {"columns": [{"name": "orders", "checks": [check]}]}
    [hit] = readers(mesh, soda=soda).hits("sold_at")
    assert str(hit) == "crm.customers (check orders__invalid)"


def test_valid_values_of_a_soda_check_are_compared_with_the_providers_column(mesh):
    sql = "select order_id as customer_id, amount as orders from crm_build.stg"
    soda = {"columns": [{"name": "orders", "checks": [{"invalid": {"valid_values": ["x"]}}]}]}
    [hit] = readers(mesh, of_customers(sql), soda=soda).hits("amount", compares("x"))
    assert str(hit) == "crm.customers (check orders__invalid)"


@pytest.mark.parametrize(
    "sql",
    [
        "select sold_at from shop.orders",
        "select s.order_id from crm_build.stg as s left join shop.orders as o using (order_id)"
        " where o.sold_at is null",
    ],
)
def test_a_dbt_test_reads_columns(mesh, sql):
    tests = [Query("crm.stg", sql, "sold_after_all")]
    [hit] = readers(mesh, test_queries=tests).hits("sold_at")
    assert str(hit) == "crm.stg (check sold_after_all)"


def test_a_dbt_test_compares_what_a_model_passes_on(mesh):
    tests = [Query("crm.stg", "select amount from crm_build.stg where amount not in (1)", "a")]
    [hit] = readers(mesh, test_queries=tests).hits("amount", compares("1"))
    assert str(hit) == "crm.stg (check a)"


def test_a_condition_of_a_later_build_reads_but_bounds_nothing(mesh):
    staged = Model("stg", "crm_build.stg", STAGED, "incremental")
    later = replace(staged, later_sql=f"{STAGED} where sold_at > now() - interval 3 day")
    assert readers(mesh, staged).of_column("sold_at") == ()
    [read] = readers(mesh, later).of_column("sold_at")
    assert read.operators == {">", "or"}
    always = replace(later, sql=str(later.later_sql))
    [read] = readers(mesh, always).of_column("sold_at")
    assert read.operators == {">"}


def test_a_model_that_only_a_test_reads_is_a_reader(mesh):
    other = Model("other", "crm_build.other", "select sold_at from shop.orders", "view")
    assert [str(each) for each in readers(mesh, executed=[other]).hits("sold_at")] == [
        "crm.other.sold_at"
    ]


@pytest.mark.parametrize(
    ("sql", "how", "operators"),
    [
        ("select customer_id from crm_build.stg where amount = 7", "filter", {"="}),
        ("select case when amount = 7 then 1 end as a from crm_build.stg", "select", {"case"}),
        ("select customer_id from crm_build.stg where amount in (7, 8)", "filter", {"in"}),
        (
            "select order_id from crm_build.stg join crm_build.other using (amount)",
            "join",
            None,
        ),
        ("select amount, count(*) as n from crm_build.stg group by amount", "group", None),
        ("select order_id from crm_build.stg order by amount", "order", None),
        (
            "with a as (select * from __dbt__cte__mid) select customer_id from a where paid <> 7",
            "filter",
            {"<>"},
        ),
    ],
)
def test_uses_follow_columns_through_the_models_of_the_domain(mesh, sql, how, operators):
    models = [
        Model("mid", "__dbt__cte__mid", "select *, amount as paid from crm_build.stg", "ephemeral"),
        Model("other", "crm_build.other", "select 7 as amount", "view"),
    ]

    def is_meant(read: Read) -> bool:
        return how in read.how and (operators is None or compares("7")(read)) and not read.is_direct

    found = readers(mesh, *models, of_customers(sql))
    assert {each.reader for each in found.hits("amount", is_meant)} == {"crm.customers"}
    assert found.hits("order_id", compares("7")) == ()
    if operators:
        [read] = [each for each in found.of_column("amount") if is_meant(each)]
        assert read.operators == operators
    # A removed column breaks the model that names it first.
    assert {each.reader for each in found.hits("amount")} == {"crm.stg"}


def test_a_later_model_that_cannot_be_read_may_compare_every_column(mesh):
    found = readers(mesh, of_customers("select from crm_build.stg where ("))
    assert [str(each) for each in found.hits("amount", compares("7"))] == ["crm.customers.?"]
    assert [str(each) for each in found.hits("amount")] == ["crm.stg.amount"]


def test_a_star_by_place_counts_behind_another_star(mesh):
    staged = Model("stg", "crm_build.stg", "select * from shop.orders", "view")
    sql = "select * from crm_build.stg union all select * from crm_build.other"
    other = Model("other", "crm_build.other", "select 1 as a, 2 as b, 3 as c, 4 as d", "view")
    found = readers(mesh, staged, other, of_customers(sql))
    by_place = {each.reader for each in found.reads if {"star", "position"} <= each.how}
    assert by_place == {"crm.customers"}


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
