"""Roots of product columns through the private models of a domain."""

from meshhouse.governance.lineage import roots_of

SCHEMAS = {
    "sales_raw.transactions": ["basket", "amount", "sold_at", "store", "_offset"],
    "crm.customers": ["id", "name", "address"],
}
STAGING = """
select basket as order_id, amount, sold_at, store, row_number() over
(partition by basket order by _offset desc) as place from sales_raw.transactions
"""


def roots(models, product="sales_build.orders", schemas=SCHEMAS):
    return roots_of(models, product, schemas)


def test_through_tables_views_and_ephemeral_models():
    found = roots(
        {
            "sales_build.stg": STAGING,
            "__dbt__cte__newest": "select * from sales_build.stg where place = 1",
            "sales_build.orders": """
                select o.order_id, sum(o.amount) as amount, count(*) as lines,
                max(c.address.city) as city, 'EUR' as currency, max(o.place) as place
                from __dbt__cte__newest as o join crm.customers as c on c.id = o.store group by 1
            """,
        }
    )
    raw = "sales_raw.transactions"
    assert found == {
        "order_id": {f"{raw}.basket"},
        "amount": {f"{raw}.amount"},
        "lines": {raw, "crm.customers"},
        "city": {"crm.customers.address.city"},
        "currency": set(),
        "place": {f"{raw}.basket", f"{raw}._offset"},
    }


def test_an_injected_ephemeral_model_and_a_model_that_is_given_by_its_name():
    found = roots(
        {
            "stg": "select basket as order_id from sales_raw.transactions",
            "orders": "with __dbt__cte__mid as (select * from sales_build.stg)"
            " select order_id from __dbt__cte__mid",
        },
        "orders",
    )
    assert found == {"order_id": {"sales_raw.transactions.basket"}}


def test_both_renderings_of_an_incremental_model_count():
    found = roots(
        {
            "sales_build.orders": [
                "select basket as order_id, amount from sales_raw.transactions",
                "select basket as order_id, amount + store as amount from sales_raw.transactions"
                " where sold_at > (select max(sold_at) from sales_build.orders)"
                " union all select order_id, amount from sales_build.orders",
            ]
        }
    )
    raw = "sales_raw.transactions"
    assert found == {"order_id": {f"{raw}.basket"}, "amount": {f"{raw}.amount", f"{raw}.store"}}


def test_unknown_lineage_is_none_and_hides_no_known_one():
    found = roots(
        {
            "sales_build.bad": "select basket, from where",
            "sales_build.orders": "select t.basket, b.something, nothing"
            " from sales_raw.transactions as t cross join sales_build.bad as b",
        }
    )
    assert found["basket"] == {"sales_raw.transactions.basket"}
    assert found["something"] is None
    assert found["nothing"] is None
    star = roots({"sales_build.orders": "select * from sales_raw.things"})
    assert star == {"*": None}
    assert roots({"sales_build.orders": "not sql at all ("}) == {"*": None}


def test_a_raw_table_whose_columns_are_not_known_has_roots_where_names_are_clear():
    found = roots({"sales_build.orders": "select t.a as b from other_raw.things as t"}, schemas={})
    assert found == {"b": {"other_raw.things.a"}}
