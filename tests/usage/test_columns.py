"""Which products and columns a query reads, for queries of every shape.

The expected columns are those that the query needs. None means that they are unknown, which is
said where SQL leaves it open.
"""

from __future__ import annotations

import duckdb
import pytest

from meshhouse.serve.reads import MOST_PARTS, TooLong, products_read
from meshhouse.serve.statements import checked

TABLES = {
    "sales.orders": ["order_id", "household_id", "amount", "Shop", "lines", "address"],
    "crm.households": ["household_id", "age", "city"],
    "shop.t": ["a", "b"],
}
ALL_ORDERS = tuple(sorted(TABLES["sales.orders"]))
ALL_HOUSEHOLDS = tuple(sorted(TABLES["crm.households"]))
COLUMNS = {product: {each.lower(): each for each in columns} for product, columns in TABLES.items()}


@pytest.fixture(scope="module")
def parser():
    return duckdb.connect()


def read(parser, sql, local=()):
    found = checked(parser, sql, TABLES, local)
    return products_read(found.tree, COLUMNS)


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("select order_id from sales.orders", ("order_id",)),
        ("select ORDER_ID, shop from Sales.Orders", ("Shop", "order_id")),
        ("select * from sales.orders", ALL_ORDERS),
        ("from sales.orders", ALL_ORDERS),
        ("select o.* from sales.orders o", ALL_ORDERS),
        ("select * exclude (amount) from sales.orders",
         tuple(each for each in ALL_ORDERS if each != "amount")),
        ("select * exclude (amount) replace (amount as shop) from sales.orders", ALL_ORDERS),
        ("select count(*) from sales.orders", ()),
        ("select 1 from sales.orders", ()),
        ("select sum(amount) from sales.orders where shop = 'secret'", ("Shop", "amount")),
        ("select amount as a from sales.orders order by a", ("amount",)),
        ("select o from sales.orders o", ALL_ORDERS),
        ("select sales.orders.amount from sales.orders", ("amount",)),
        ("select memory.sales.orders.amount from sales.orders", ("amount",)),
        ("select orders.address.city from sales.orders", ("address",)),
        ("select address.city from sales.orders", ("address",)),
        ("select amount from sales.orders qualify row_number() over (partition by shop) = 1",
         ("Shop", "amount")),
        ("with x as (select amount from sales.orders) select * from x", ("amount",)),
        ("with x as (select * from sales.orders) select amount from x", ALL_ORDERS),
        ("select * from (select amount, shop from sales.orders)", ("Shop", "amount")),
        ("select amount from sales.orders union all select order_id from sales.orders order by 1",
         ("amount", "order_id")),
        ("select list_transform(lines, amount -> amount + 1) from sales.orders", ("lines",)),
        ("select list_transform(lines, x -> x + amount) from sales.orders", ("amount", "lines")),
        ("select address -> 'city' from sales.orders", ("address",)),
        ("summarize sales.orders", ALL_ORDERS),
        ("select case when amount > 1 then shop end from sales.orders", ("Shop", "amount")),
        ("select a.amount, b.order_id from sales.orders a, sales.orders b", ("amount", "order_id")),
        ("select amount from sales.orders group by all having max(order_id) > 1",
         ("amount", "order_id")),
        ("select unnest(lines) from sales.orders", ("lines",)),
        ("select x from sales.orders, unnest(lines) u(x)", ("lines",)),
        ("with recursive r as (select order_id from sales.orders union all "
         "select order_id + 1 from r where order_id < 3) select * from r", ("order_id",)),
        # What they read is open, or would take more than the names of columns to find.
        ("select columns('a.*') from sales.orders", None),
        ("select amount from sales.orders o(a, b, c, amount)", None),
        ("pivot sales.orders on shop in ('a') using sum(amount)", None),
        ("select amount, #1 from sales.orders", None),
    ],
)  # fmt: skip
def test_the_columns_of_one_product(parser, sql, columns):
    assert read(parser, sql) == {"sales.orders": columns}


@pytest.mark.parametrize(
    ("sql", "orders", "households"),
    [
        ("select o.amount, h.age from sales.orders o join crm.households h using (household_id)",
         ("amount", "household_id"), ("age", "household_id")),
        ("select amount, age from sales.orders join crm.households using (household_id)",
         ("amount", "household_id"), ("age", "household_id")),
        ("select amount from sales.orders o join crm.households h "
         "on o.household_id = h.household_id and city = 'x'",
         ("amount", "household_id"), ("city", "household_id")),
        ("select * from sales.orders, crm.households", ALL_ORDERS, ALL_HOUSEHOLDS),
        ("select h.* from sales.orders o, crm.households h", (), ALL_HOUSEHOLDS),
        ("select amount from sales.orders where household_id in "
         "(select household_id from crm.households where age > 3)",
         ("amount", "household_id"), ("age", "household_id")),
        ("select amount from sales.orders o where exists "
         "(select 1 from crm.households h where h.household_id = o.household_id)",
         ("amount", "household_id"), ("household_id",)),
        # The inner table has no `amount`, so the outer one is meant.
        ("select order_id from sales.orders where exists "
         "(select 1 from crm.households where age = amount)", ("amount", "order_id"), ("age",)),
        ("select order_id from sales.orders o where exists (select age from crm.households "
         "where age = o.amount union select 1)", ("amount", "order_id"), ("age",)),
        ("select order_id from sales.orders natural join crm.households", None, None),
        ("select order_id, n from sales.orders o, "
         "lateral (select count(*) as n from crm.households where age = o.amount)",
         ("amount", "order_id"), ("age",)),
        ("with households as (select age from crm.households) "
         "select age, amount from households, sales.orders", ("amount",), ("age",)),
        # Whether the subquery has an `amount` is not known here.
        ("select order_id from sales.orders where exists "
         "(select 1 from (select age from crm.households) where amount = 1)", None, ("age",)),
    ],
)  # fmt: skip
def test_the_columns_of_two_products(parser, sql, orders, households):
    assert read(parser, sql) == {"sales.orders": orders, "crm.households": households}


def test_what_is_no_product_is_left_out(parser):
    assert read(parser, "select amount from frame", ("frame",)) == {}
    assert read(parser, "select * from information_schema.tables") == {}
    assert read(parser, "select * from range(3), (values (1)) v(x)") == {}
    assert read(parser, "describe sales.orders") == {}


@pytest.mark.parametrize("sql", ["explain select * from sales.orders", "show tables"])
def test_what_reads_no_rows_has_no_tree(parser, sql):
    assert checked(parser, sql, TABLES).tree is None


@pytest.mark.parametrize("join", ["semi join", "anti join"])
def test_a_table_that_only_filters_returns_no_columns(parser, join):
    found = read(parser, f"select * from sales.orders {join} crm.households using (household_id)")
    assert found == {"sales.orders": ALL_ORDERS, "crm.households": ("household_id",)}
    found = read(
        parser,
        f"select * from sales.orders o {join} crm.households h "
        "on o.household_id = h.household_id and h.age > 1",
    )
    assert found == {"sales.orders": ALL_ORDERS, "crm.households": ("age", "household_id")}


def test_a_query_that_is_too_long_is_not_looked_through(parser):
    """It would wait: 100,000 values in IN take 60 ms."""
    values = ", ".join(map(str, range(MOST_PARTS)))
    with pytest.raises(TooLong):
        read(parser, f"select order_id from sales.orders where order_id in ({values})")
    few = ", ".join(map(str, range(1_000)))
    found = read(parser, f"select amount from sales.orders where order_id in ({few})")
    assert found == {"sales.orders": ("amount", "order_id")}
