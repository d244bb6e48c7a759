"""Steps of columns: one model at a time, with the SQL and the kind of each."""

import pytest

from meshhouse.governance.lineage import roots_of, steps_of
from meshhouse.repository.columns import LANDING_COLUMNS

SCHEMAS = {
    "sales_raw.transactions": ["basket", "amount", "sold_at", "status", "address"],
    "crm.customers": ["id", "name"],
}


def step(sql, column="x", **models):
    return steps_of({"m": sql, **models}, SCHEMAS)["m"].columns[column]


@pytest.mark.parametrize(
    ("sql", "how"),
    [
        ("select amount as x from sales_raw.transactions", "same value"),
        ("select cast(amount as int) as x from sales_raw.transactions", "same value"),
        ("with t as (select * from sales_raw.transactions) select t.amount x from t", "same value"),
        ("select amount as x from sales_raw.transactions union select id from crm.customers",
         "same value"),
        ("select address.city as x from sales_raw.transactions", "same value"),
        ("select amount + 1 as x from sales_raw.transactions", "computed"),
        ("with t as (select sum(amount) as s from sales_raw.transactions) select s as x from t",
         "computed"),
        ("select amount as x from sales_raw.transactions union select id + 1 from crm.customers",
         "computed"),
        ("select cast(count(*) as bigint) as x from sales_raw.transactions", "counted"),
        ("select count(distinct basket) as x from sales_raw.transactions", "counted"),
        ("select count(*) filter (where amount > 0) as x from sales_raw.transactions", "counted"),
        ("with t as (select count(*) as n from sales_raw.transactions) select n as x from t",
         "counted"),
        ("select count(*) / 2 as x from sales_raw.transactions", "computed"),
        ("select 'EUR' as x", "constant"),
        ("select t.nothing as x from sales_raw.transactions as t", "unknown"),
    ],
)  # fmt: skip
def test_the_kind_of_a_step(sql, how):
    assert step(sql).how == how


def test_a_step_has_the_expressions_of_the_ctes_that_it_names():
    found = step(
        """
        with lines as (select basket, amount * 2 as twice from sales_raw.transactions),
        totals as (select basket, sum(twice) as total, count(*) as n from lines group by basket),
        passed as (select * from totals)
        select coalesce(p.total / p.n, 0) as x from passed as p
        """
    )
    assert found.sql.split("\n") == [
        "COALESCE(p.total / p.n, 0)",
        "-- in totals",
        "SUM(twice) AS total",
        "COUNT(*) AS n",
        "-- in lines",
        "amount * ? AS twice",
    ]
    assert [".".join(each) for each in found.inputs] == [
        "sales_raw.transactions.",
        "sales_raw.transactions.amount",
    ]


def test_what_only_decides_which_values_count_is_a_filter():
    found = step("select sum(amount) filter (where status = 'ok') as x from sales_raw.transactions")
    assert found.inputs == (("sales_raw.transactions", "amount"),)
    assert found.filters == (("sales_raw.transactions", "status"),)


def test_inputs_are_the_models_that_the_query_reads():
    models = {
        "stg": "select basket as b, amount from sales_raw.transactions",
        "orders": "select b, sum(amount) as total from sales_build.stg group by b",
    }
    found = steps_of(models, SCHEMAS)
    assert found["orders"].columns["total"].inputs == (("stg", "amount"),)
    assert found["orders"].relations == ("stg",)
    assert found["stg"].columns["b"].sql == "basket"


def test_later_builds_of_an_incremental_model_count_and_itself_does_not():
    models = {
        "orders": [
            "select basket, amount as x from sales_raw.transactions",
            "select basket, amount + 1 as x from sales_raw.transactions"
            " union all select basket, x from sales_build.orders",
        ]
    }
    found = steps_of(models, SCHEMAS)["orders"]
    assert found.columns["x"].how == "computed"
    assert found.columns["x"].inputs == (("sales_raw.transactions", "amount"),)
    assert found.columns["x"].sql.split("\n") == ["amount", "amount + 1", "x"]
    assert found.relations == ("sales_raw.transactions",)


def test_models_that_read_each_other_do_not_hang():
    models = {"a": "select x from s_build.b", "b": "select x from s_build.a"}
    assert set(steps_of(models, {})) == {"a", "b"}


def test_a_query_that_cannot_be_read_has_no_columns_and_says_so():
    found = steps_of({"m": "not sql ( sales_raw.transactions"}, SCHEMAS)["m"]
    assert not found.columns
    assert not found.is_complete


def test_a_long_expression_is_shortened():
    long = " + ".join(["amount"] * 2000)
    assert step(f"select {long} as x from sales_raw.transactions").sql.endswith("(shortened)")


def test_steps_of_every_model_of_the_demo_lead_to_its_roots(demo, demo_models):
    """Steps and roots come from one walk; Dagster shows the roots, the catalog the steps."""
    schemas = {
        **{
            table.relation: [*(each.name for each in table.columns), *LANDING_COLUMNS]
            for domain in demo.domains
            for table in domain.raw_tables
        },
        **{p.relation: [c.name for c in p.columns] for d in demo.domains for p in d.products},
    }
    compared = 0
    for domain, models in demo_models.items():
        steps = steps_of(models, schemas)
        for model in models:
            for column, roots in roots_of(models, model, schemas).items():
                compared += 1
                assert leaves(steps, (model, column)) == roots, (domain, model, column)
    assert compared > 150


def leaves(steps, start):
    found, waiting = set(), [start]
    for relation, column in waiting:  # grows
        if relation not in steps:
            found.add(f"{relation}.{column}" if column else relation)
        elif not column:
            waiting += [(each, "") for each in steps[relation].relations]
        else:
            step = steps[relation].columns[column]
            waiting += [each for each in (*step.inputs, *step.filters) if each not in waiting]
    return found


@pytest.mark.parametrize(
    ("sql", "shown"),
    [
        ("case when basket = 'Ann' then 'A' else 'B' end", "'...'"),
        ("case when basket = 'Ann''s' then 4711 end", "'...'"),
        ("amount * 4711", "amount * ?"),
        ("cast(amount as decimal(12, 2))", "CAST(amount AS DECIMAL(12, 2))"),
        ("coalesce(amount, 0)", "COALESCE(amount, 0)"),
        ("cast(date '2011-03-07' as date)", "CAST('...' AS DATE)"),
    ],
)
def test_a_step_shows_no_values_of_its_sql(sql, shown):
    found = step(f"select {sql} as x from sales_raw.transactions").sql
    assert shown in found
    assert not any(each in found for each in ("Ann", "'A'", "4711", "2011"))
