"""The shape of SQL is equal for equal queries, whatever their layout, and differs for others.

Belongs here: pairs of queries. Not here: what a difference means (changes/).
"""

from __future__ import annotations

import pytest

from meshhouse.governance.contract import Contract
from meshhouse.governance.shape import Shape, shape_of

PRODUCT = """
with paid as (
    select order_id, customer_id, amount, sold_at from sales_build.stg_sales where status = 'paid'
),
newest as (
    select *, row_number() over (partition by order_id order by sold_at desc) as place from paid
)
select newest.order_id, coalesce(newest.amount, 0) as amount, buyers.city
from newest
left join crm.buyers as buyers on newest.customer_id = buyers.customer_id
where newest.place = 1 and newest.amount between 1 and 100
"""
STAGING = "select id as order_id, customer_id, amount, sold_at, status from sales_raw.sales"


def shape(product: str, staging: str = STAGING, dialect: str = "duckdb") -> Shape | None:
    models = {"orders": {"sql": product}, "stg_sales": {"sql": staging}}
    return shape_of(
        Contract({"product": "s.orders", "model": "orders", "models": models, "dialect": dialect})
    )


EQUAL = {
    "layout and letter case": (PRODUCT, PRODUCT.upper().replace("\n", " ")
                               .replace("'PAID'", "'paid'")),
    "names of queries": (PRODUCT, PRODUCT.replace("newest", "n").replace("paid as", "p as")
                         .replace("from paid", "from p")),
    "no common table expression": (
        "with a as (select id from raw.t where x > 1) select id from a",
        "select t.id from raw.t as t where 1 < t.x",
    ),
    "a filter in another place": (
        "select id from raw.t where x > 1 and y = 2",
        "with a as (select * from raw.t where y = 2) select id from a where x > 1",
    ),
    "between": ("select a from raw.t where a between 1 and 2",
                "select a from raw.t where a >= 1 and 2 >= a"),
    "in with one value": ("select a from raw.t where a in ('x')",
                          "select a from raw.t where 'x' = a"),
    "order of values and of operands": (
        "select a + b as c from raw.t where a in (1, 2) or b = 3",
        "select b + a as c from raw.t where b = 3 or a in (2, 1)",
    ),
    "ifnull": ("select ifnull(a, 0) as a from raw.t", "select coalesce(a, 0) as a from raw.t"),
    "type names": ("select a::int8 + b::numeric(12,2) as a from raw.t",
                   "select cast(a as bigint) + cast(b as decimal(12, 2)) as a from raw.t"),
    "count": ("select count(1) as n from raw.t", "select count(*) as n from raw.t"),
    "simple case": ("select case a when 1 then 'x' end as c from raw.t",
                    "select case when a = 1 then 'x' else null end as c from raw.t"),
    "filter of a join": ("select t.a from raw.t inner join raw.u on t.a = u.a and u.b > 1",
                         "select t.a from raw.t join raw.u on u.a = t.a where u.b > 1"),
    "using": ("select t.b from raw.t as t join raw.u as u using (a)",
              "select t.b from raw.t as t join raw.u as u on t.a = u.a"),
    "incremental": ("select a from raw.t",
                    "select a from raw.t where at > (select max(at) from sales_build.orders)"),
    "sides of an inner join": ("select t.a from raw.t as t join raw.u as u on t.a = u.a",
                               "select t.a from raw.u as u join raw.t as t on t.a = u.a"),
    "a join on true": ("select t.a from raw.t as t join raw.u as u on true",
                       "select t.a from raw.t as t cross join raw.u as u"),
    "a window with a name": (
        "select lag(a) over (partition by b order by c) as d from raw.t",
        "select lag(a) over w as d from raw.t window w as (partition by b order by c)",
    ),
    "group by position": ("select a, sum(b) as b from raw.t group by 1",
                          "select a, sum(b) as b from raw.t group by a"),
}  # fmt: skip
DIFFERENT = {
    "parentheses": ("select (a + b) * c as d from raw.t", "select a + b * c as d from raw.t"),
    "a filter before and after the choice of a row": (
        "select id from (select *, row_number() over (partition by id order by at) as n from raw.t"
        " where x) as t where n = 1",
        "select id from (select *, row_number() over (partition by id order by at) as n from raw.t"
        ") as t where n = 1 and x",
    ),
    "a filter inside a left join": (
        "select t.a, u.b from raw.t left join (select * from raw.u where c) as u on t.a = u.a",
        "select t.a, u.b from raw.t left join raw.u as u on t.a = u.a where c",
    ),
    "a correlated query": (
        "select a from raw.t where exists (select 1 from raw.u where u.a = t.a)",
        "select a from raw.t where exists (select 1 from raw.u where u.a = t.b)",
    ),
    "one part of a union": (
        "select a from raw.t where x union all select a from raw.u where x",
        "select a from raw.t where x union all select a from raw.u",
    ),
    "union and union all": ("select a from raw.t union select a from raw.u",
                            "select a from raw.t union all select a from raw.u"),
    "fields of a struct": ("select t.s.a as a from raw.t as t",
                           "select t.s.b as a from raw.t as t"),
    "keys of an inner aggregation": (
        "select max(n) as n from (select a, count(*) as n from raw.t group by a) as t",
        "select max(n) as n from (select a, count(*) as n from raw.t group by a, b) as t",
    ),
    "a default": ("select coalesce(a, 0) as a from raw.t", "select a from raw.t"),
    "two roles of one table": (
        "select t.a from raw.t join raw.n as x on t.x = x.id join raw.n as y on t.y = y.id"
        " where x.name = 'a' or y.name = 'b'",
        "select t.a from raw.t join raw.n as x on t.x = x.id join raw.n as y on t.y = y.id"
        " where x.name = 'a' or x.name = 'b'",
    ),
    "a window with a name": (
        "select lag(a) over w as d from raw.t window w as (partition by b order by c)",
        "select lag(a) over w as d from raw.t window w as (partition by b order by a)",
    ),
    "the order before a limit": ("select a from raw.t order by a limit 1",
                                 "select a from raw.t order by a desc limit 1"),
    "another table": ("select count(*) as n from raw.t", "select count(*) as n from raw.u"),
    "a pivot": ("select * from raw.t pivot (sum(a) for b in ('x'))",
                "select * from raw.t pivot (max(a) for b in ('x'))"),
    "what is unnested": ("select u.x from raw.t, unnest(t.a) as u(x)",
                         "select u.x from raw.t, unnest(t.b) as u(x)"),
}  # fmt: skip


@pytest.mark.parametrize("name", EQUAL)
def test_equal_queries_have_equal_shapes(name):
    one, other = (shape(each) for each in EQUAL[name])
    assert one is not None
    assert one == other


@pytest.mark.parametrize("name", DIFFERENT)
def test_different_queries_have_different_shapes(name):
    one, other = (shape(each) for each in DIFFERENT[name])
    assert one is not None
    assert other is not None
    assert one != other


def test_a_filter_that_moves_into_the_staging_model_leaves_the_shape():
    moved = PRODUCT.replace("where status = 'paid'", "")
    assert shape(PRODUCT) == shape(moved, f"{STAGING} where 'paid' = status")
    assert shape(PRODUCT) != shape(moved)


def test_a_filter_inside_a_recursive_query_is_seen():
    product = (
        "with recursive r as (select order_id as n from stg_sales union all select n + 1 from r)"
        " select n from r"
    )
    assert shape(product) != shape(product, f"{STAGING} where status = 'paid'")


def test_parts_of_a_shape():
    found = shape(PRODUCT)
    assert found is not None
    assert found.predicates == (
        "sales_raw.sales.amount <= 100",
        "sales_raw.sales.amount >= 1",
        "sales_raw.sales.status = 'paid'",
    )
    assert [str(each) for each in found.joins] == [
        "left join crm.buyers on crm.buyers.customer_id = sales_raw.sales.customer_id"
    ]
    assert [str(each) for each in found.orders] == [
        "per sales_raw.sales.id by sales_raw.sales.sold_at DESC"
    ]
    amount = found.columns["amount"]
    assert amount.text == "coalesce(sales_raw.sales.amount, 0)"
    assert amount.columns == {"sales_raw.sales.amount"}
    assert amount.defaults == ("0",)


def test_limits_and_samples():
    assert shape("select a from raw.t limit 10").limits == ("limit 10",)
    assert shape("select a from (select a from raw.t limit 10) as t").limits == ("limit 10",)
    assert shape("select a from raw.t using sample 10%").limits == ("sample of 10%",)
    assert shape("select a from raw.t where random() < 0.1").limits == ("random() < 0.1",)


@pytest.mark.parametrize("sql", ["selec a from raw.t", "select a from (", "drop table x", ""])
def test_sql_that_cannot_be_read_has_no_shape(sql):
    assert shape(sql) is None
