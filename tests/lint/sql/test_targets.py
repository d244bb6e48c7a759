"""`mesh check --target` finds SQL that would not run on a target, without running it."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from meshhouse.errors import UsageError
from meshhouse.lint import check
from meshhouse.lint.sql.dialects import dialect
from meshhouse.lint.sql.targets import check_targets

STAGING = "domains/shop/models/staging"
TARGETS = ("local", "spark", "snowflake")

ANYWHERE = """
select
    {{ days_between('sold_at', 'sold_at') }} as a,
    {{ add_days('cast(sold_at as date)', 1) }} as b,
    {{ seconds_between('sold_at', 'sold_at') }} as c,
    {{ ratio('amount', 'sale_id') }} as d,
    {{ date_in_zone('sold_at', 'America/New_York') }} as e,
    {{ dbt.dateadd('month', 1, 'sold_at') }} as f,
    {{ dbt.datediff('sold_at', 'sold_at', 'month') }} as g,
    {{ dbt.date_trunc('month', 'sold_at') }} as h,
    {{ dbt.last_day('sold_at', 'month') }} as i,
    {{ dbt.split_part('currency', "'-'", 1) }} as j,
    {{ dbt.position("'a'", 'currency') }} as k,
    {{ dbt.length('currency') }} as l,
    {{ dbt.hash('currency') }} as m,
    {{ dbt.safe_cast('currency', 'date') }} as n,
    {{ dbt.concat(['currency', 'currency']) }} as o,
    {{ dbt.current_timestamp() }} as p,
    extract(year from sold_at) as q,
    cast(amount as decimal(12, 2)) as r,
    sale_id::bigint as s,
    case when (amount > 1) then (2) else (3) end as t,
    coalesce(nullif(amount, 0), round(greatest(coalesce(amount, 0), 1), 2)) as u,
    {{ larger_of('amount', 'sale_id') }} as u1,
    {{ smaller_of('amount', 'sale_id') }} as u2,
    {{ day_of_week('sold_at') }} as u3,
    cast({{ ratio('sum(amount) over ()', 'count(*) over ()') }} as decimal(12, 4)) as u4,
    avg(cast(amount as double)) over () as u5,
    substring(trim(currency), 1, 2) || upper(left(currency, 1)) as v,
    row_number() over (partition by sale_id order by sold_at) as w,
    lag(amount) over (order by sold_at) as x,
    {{ year_text('sold_at') }} as y
from {{ ref('stg_sales') }}
where amount in (1, 2) and (sale_id) not in (select sale_id from {{ ref('stg_sales') }})
"""
AGGREGATES = """
with totals (sale_id, amount) as (
    select sale_id, sum(amount) from {{ ref('stg_sales') }} group by sale_id
)
select
    {{ dbt.bool_or('amount > 1') }} as a,
    {{ dbt.any_value('amount') }} as b,
    {{ dbt.listagg('sale_id', "','") }} as c,
    max(amount) as d,
    count(distinct amount) as e,
    max_by(amount, sale_id) as f,
    stddev(amount) as g
from totals as every_total (sale_id, amount)
inner join (values (1)) as numbers (sale_id) using (sale_id)
"""

# The example of docs/how-to.md.
YEAR_TEXT = """
{% macro year_text(moment) %}{{ adapter.dispatch('year_text')(moment) }}{% endmacro %}
{% macro default__year_text(moment) %}strftime({{ moment }}, '%Y'){% endmacro %}
{% macro spark__year_text(moment) %}date_format({{ moment }}, 'yyyy'){% endmacro %}
{% macro snowflake__year_text(moment) %}to_char({{ moment }}, 'YYYY'){% endmacro %}
"""

LACKING = {
    # expression -> targets -> the expected problem
    "list_transform(sale_id, x -> x + 1)": {"spark snowflake": "no function `list_transform`"},
    "strptime(currency, '%Y')": {"spark snowflake": "no function `strptime`"},
    "STRFTIME(sold_at, '%Y')": {"spark snowflake": "no function `strftime`"},
    "iff(amount > 1, 1, 2)": {"local spark": "no function `iff`"},
    "to_variant(amount)": {"local spark": "no function `to_variant`"},
    "from_unixtime(amount)": {"local snowflake": "no function `from_unixtime`"},
    "date_add(sold_at, interval 1 day)": {
        "spark": "no `date_add` of an interval",
        "snowflake": "no function `date_add`",
    },
    "datediff('day', sold_at, sold_at)": {"spark": "no quoted part of a date"},
    "datediff(day, sold_at, sold_at)": {"local": "no part of a date without quotes"},
    "count(*) filter (where amount > 1)": {"snowflake": "no `filter (where ...)`"},
    "cast(amount as hugeint)": {"spark snowflake": "no type `hugeint`"},
    "amount::uinteger": {"spark snowflake": "no type `uinteger`"},
    "cast(amount as number(38, 0))": {"local spark": "no type `number`"},
    "cast(amount as geography)": {"local": "no type `geography`"},
    "cast(amount as double precision)": {"spark": "no type `double precision`"},
    "cast(currency as varchar)": {"spark": "type `varchar` needs a length"},
    "cast(currency as map(string, ubigint))": {"spark snowflake": "no type `ubigint`"},
}


OTHERS = {
    "stg_anywhere.sql": ANYWHERE,
    "stg_aggregates.sql": AGGREGATES,
    "stg_growing.sql": """{{ config(materialized='incremental') }}
select * from {{ ref('stg_sales') }}
{% if is_incremental() %}
where iff(amount > 1, 1, 2) > (select max(sold_at) from {{ this }})
{% else %}
where to_variant(amount) > 1
{% endif %}
""",
    "stg_macro.sql": "select\n    sale_id,\n    {{ one_if('amount > 1') }} as a\n"
    "from {{ ref('stg_sales') }}\n",
    "stg_nowhere_built.sql": "{{ config(materialized='ephemeral') }}\n"
    "select sale_id, iff(amount > 1, 1, 2) as a from {{ ref('stg_sales') }}\n",
    "stg_reads_it.sql": "select * from {{ ref('stg_nowhere_built') }}\n",
    "stg_rates.sql": """with rated as (
    select sale_id, 2 * amount as doubled, cast(amount as double) as approximate
    from {{ ref('stg_sales') }}
)
select
    avg(doubled) as a,
    sum(doubled) / count(*) as b,
    concat(max(sale_id), '-') as c,
    avg(approximate) as d,
    sum(approximate) / nullif(count(*), 0) as e,
    sum(doubled) * 2 as f
from rated
""",
    "stg_open.sql": "select\n    (sale_id\nfrom {{ ref('stg_sales') }}\n",
    "stg_quote.sql": "select\n    'sale_id\nfrom {{ ref('stg_sales') }}\n",
    "stg_asks.sql": "{% set found = run_query('select 1') %}\nselect 1 as a",
    "stg_fails.sql": "select {{ exceptions.raise_compiler_error('no such day') if execute }} as a",
}


@pytest.fixture(scope="module")
def found(new_mesh):
    """The findings in a mesh with all these models, without Java and without any warehouse."""
    mesh = new_mesh()
    for number, expression in enumerate(LACKING):
        mesh.write(
            f"{STAGING}/stg_{number}.sql",
            "{{\n    config(\n        materialized='table',\n    )\n}}\n\n"
            f"select\n    sale_id,\n    {expression} as a\nfrom {{{{ ref('stg_sales') }}}}\n",
        )
    for name, text in OTHERS.items():
        mesh.write(f"{STAGING}/{name}", text)
    mesh.write("macros/year_text.sql", YEAR_TEXT)
    mesh.write("macros/one.sql", "{% macro one_if(c) %}iff({{ c }}, 1, 0){% endmacro %}")
    mesh.write("domains/shop/tests/no_iff.sql", "select iff(1 = 1, 1, 2) as a")
    mesh.write("domains/crm/models/staging/stg_lost.sql", "select * from {{ ref('nowhere') }}")
    nowhere = {"PATH": "/nonexistent", "JAVA_HOME": "/nonexistent", "MESH_TARGET": "spark"}
    done = mesh.run("check", "--target", "all", "--json", code=1, environment=nowhere)
    # The check must not touch the folder of builds.
    assert not (mesh.root / "domains/shop/target").exists()
    return json.loads(done.stdout)


def of(found: list[dict], file: str, target: str) -> list[dict]:
    """The findings about a target in a staging model of the shop."""
    return [
        each
        for each in found
        if each["file"] == f"{STAGING}/{file}" and re.search(rf"target {target}\b", each["problem"])
    ]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("expression", LACKING)
def test_what_a_target_lacks_is_found_with_file_line_and_target(found, expression, target):
    findings = of(found, f"stg_{list(LACKING).index(expression)}.sql", target)
    expected = [
        problem for targets, problem in LACKING[expression].items() if target in targets.split()
    ]
    assert [each["line"] for each in findings] == [9] * len(expected)
    assert all(problem in findings[0]["problem"] for problem in expected)


def test_a_finding_says_what_to_use_instead(found):
    remedies = {each["problem"]: each["remedy"] for each in found}
    assert "case when" in remedies["there is no function `iff` on target spark (Spark)."]
    assert "decimal(38, 0)" in remedies["there is no type `hugeint` on target spark (Spark)."]


@pytest.mark.parametrize("file", ["stg_anywhere.sql", "stg_aggregates.sql", "stg_sales.sql"])
def test_macros_and_common_sql_are_no_findings(found, file):
    findings = [each["problem"] for each in found if each["file"].endswith(file)]
    # Another rule reports reads of the clock, for every target.
    assert [each for each in findings if "reads the clock" not in each] == []


def test_what_targets_compute_differently_is_found_with_what_each_makes_of_it(found):
    """The types come from the declared topic, through other models and subqueries."""
    findings = [each for each in found if each["file"].endswith("stg_rates.sql")]
    assert [
        (each["line"], each["problem"].partition(" is not the same")[0]) for each in findings
    ] == [
        (6, "an average of decimals"),
        (7, "a quotient of decimals"),
        (8, "`concat` of values that may be null"),
    ]
    assert "local: a double" in findings[0]["problem"]
    assert "spark: a decimal" in findings[0]["problem"]
    assert "ratio(" in findings[0]["remedy"]


def test_both_ways_of_an_incremental_model_are_looked_at(found):
    findings = of(found, "stg_growing.sql", "local")
    assert [(each["line"], each["problem"].split("`")[1]) for each in findings] == [
        (4, "iff"),
        (6, "to_variant"),
    ]


def test_what_a_macro_brings_is_found_at_its_call_with_its_name(found):
    [finding] = of(found, "stg_macro.sql", "local")
    assert finding["line"] == 3
    assert "It comes from the macro `one_if`." in finding["remedy"]


def test_an_ephemeral_model_is_found_once_and_not_in_those_that_read_it(found):
    [finding] = of(found, "stg_nowhere_built.sql", "local")
    assert finding["line"] == 2
    assert of(found, "stg_reads_it.sql", "local") == []


@pytest.mark.parametrize("target", TARGETS)
def test_sql_that_does_not_parse_is_found_with_its_line(found, target):
    [opened] = of(found, "stg_open.sql", target)
    [quoted] = of(found, "stg_quote.sql", target)
    for each in (opened, quoted):
        assert f"this is not SQL of target {target} " in each["problem"]
    assert opened["line"] == 3  # only DuckDB's own parser reports the line of an open quote


def test_a_singular_test_is_checked_like_a_model(found):
    findings = [each for each in found if each["file"] == "domains/shop/tests/no_iff.sql"]
    assert {each["problem"] for each in findings} == {
        "there is no function `iff` on target local (DuckDB).",
        "there is no function `iff` on target spark (Spark).",
    }


@pytest.mark.parametrize("target", TARGETS)
def test_a_model_that_does_not_render_is_found_and_hides_no_other(found, target):
    [asks], [fails] = of(found, "stg_asks.sql", target), of(found, "stg_fails.sql", target)
    assert asks["problem"].startswith("this queries the database while dbt renders it")
    assert fails["problem"].endswith("no such day")


def test_a_mistake_on_every_target_is_one_finding(found):
    findings = [each for each in found if "nowhere" in each["problem"]]
    assert [each["file"] for each in findings] == ["domains/crm/models/staging/stg_lost.sql"]


def test_an_unknown_target_and_one_that_is_not_installed_are_usage_errors(mesh):
    done = mesh.run("check", "--target", "oracle", code=2)
    assert "There is no target `oracle`. Targets: local, spark, snowflake." in done.stderr
    with pytest.raises(UsageError, match="Target spark cannot be checked without dbt-oracle"):
        check_targets(mesh.repository, [replace(dialect("spark"), adapter="oracle")])


def test_columns_are_read_in_the_sql_of_the_target_in_use(mesh, monkeypatch):
    mesh.edit(
        "domains/shop/models/products/orders.sql",
        "as order_id",
        "as `order_id`",
    )
    monkeypatch.setenv("MESH_TARGET", "spark")
    assert check(mesh.repository) == []
    monkeypatch.setenv("MESH_TARGET", "local")
    assert "its SQL cannot be read" in check(mesh.repository)[0].problem
    monkeypatch.setenv("MESH_TARGET", "oracle")
    with pytest.raises(UsageError, match="no target `oracle`"):
        check(mesh.repository)
