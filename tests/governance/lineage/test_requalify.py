"""Names that a new column of a product would make ambiguous, or take."""

import pytest

from meshhouse.governance.lineage import bare_names_of, reads_of, requalify

ORDERS = ["order_id", "customer_id", "amount"]
SCHEMAS = {"sales.orders": ORDERS, "crm.customers": ["customer_id", "region"]}


def bare(sql, schemas=SCHEMAS):
    return {f"{each.relation}.{each.column}" for each in bare_names_of("crm.m", sql, schemas)}


@pytest.mark.parametrize(
    "sql",
    [
        "select order_id, region from sales.orders as o join crm.customers as c"
        " on c.customer_id = o.customer_id",
        "select order_id, region from sales.orders join crm.customers using (customer_id)",
        "with o as (select * from sales.orders), c as (select * from crm.customers)"
        " select order_id, region from o join c using (customer_id)",
        "select order_id from sales.orders where exists"
        " (select 1 from crm.customers as c where c.customer_id = amount and region = 'x')",
        "select order_id from sales.orders join crm.customers using (customer_id)"
        " join (select 'x' as region) as r using (region)",
    ],
)
def test_a_name_without_a_table_becomes_ambiguous(sql):
    candidate = {**SCHEMAS, "sales.orders": [*ORDERS, "region"]}
    assert requalify(sql, SCHEMAS) is None
    problem = requalify(sql, candidate)
    if "exists" in sql:
        # The inner query has the name: it wins, as before.
        assert problem is None
    else:
        assert "`region`" in problem
        assert "ambiguous" in problem
        assert "sales.orders.region" in bare(sql)


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        # An alias that a clause uses: a column of that name would win.
        ("select amount * 2 as twice from sales.orders where twice > 3", {"twice"}),
        ("select count(*) as n, customer_id from sales.orders group by all having n > 1", {"n"}),
        ("select amount * 2 as twice from sales.orders order by twice", set()),
        # A name of the outer query: a column of the inner one would win.
        (
            "select 1 from other.t as t join (select 5 as most) as m on true"
            " where exists (select 1 from sales.orders where amount > most)",
            {"most"},
        ),
        # Beside a star, a column of the same name.
        ("select *, amount * 2 as twice from sales.orders", {"twice"}),
        ("select o.*, c.region from sales.orders as o join crm.customers as c using (customer_id)",
         {"region"}),
        # Lists name all columns.
        ("select order_id, amount * 2 as twice from sales.orders", set()),
        ("with o as (select order_id, customer_id from sales.orders)"
         " select order_id, region from o join crm.customers using (customer_id)", set()),
        # Natural joins share what has the same name.
        ("select order_id from sales.orders natural join crm.customers", {"region"}),
    ],
)  # fmt: skip
def test_names_that_a_new_column_would_take(sql, names):
    assert {each for each in bare(sql) if each.startswith("sales.orders.")} == {
        f"sales.orders.{each}" for each in names
    }


def test_what_cannot_be_resolved_is_said_with_the_name():
    assert "`nothing` is in none" in requalify("select nothing from sales.orders", SCHEMAS)
    problem = requalify("select customer_id from sales.orders, crm.customers", SCHEMAS)
    assert problem == "column `customer_id` is ambiguous: in `orders`, `customers`"
    assert "cannot be read" in requalify("select from where", SCHEMAS)


def test_the_second_column_of_a_name_gets_a_number_as_in_duckdb():
    sql = "select region, region_1 from (select o.amount as region, c.region from sales.orders as o"
    sql += " join crm.customers as c using (customer_id)) as s"
    into = {f"{each.relation}.{each.column}": each.into for each in reads_of("c.m", sql, SCHEMAS)}
    assert into["sales.orders.amount"] == ("region",)
    assert into["crm.customers.region"] == ("region_1",)
