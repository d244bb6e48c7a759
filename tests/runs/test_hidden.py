"""What a model reads beside its inputs, found in its text."""

from __future__ import annotations

import duckdb
import pytest

from meshhouse.repository.hidden import CHANCE, CLOCK, FILE, NAME, SESSION, hidden_inputs

NOT_INPUTS = {"error", "sleep_ms", "stats", "write_log"}
"""Functions that DuckDB never folds, though they read nothing."""


def kinds(text: str, *macros: str) -> set[str]:
    return {each.kind for each in hidden_inputs(text, frozenset(macros))}


def test_every_function_of_duckdb_that_it_calls_volatile_is_known():
    found = duckdb.execute(
        "select distinct function_name from duckdb_functions() "
        "where stability in ('VOLATILE', 'CONSISTENT_WITHIN_QUERY')"
    ).fetchall()
    unknown = {name for (name,) in found if not kinds(f"select {name}()")}
    assert unknown == NOT_INPUTS


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("select current_timestamp", CLOCK),
        ("select CURRENT_DATE - sold_on from t", CLOCK),
        ("select 1 where sold_at < now() - interval 1 day", CLOCK),
        ("select today ( )", CLOCK),
        ("select localtimestamp, x", CLOCK),
        ("select pg_catalog.now()", CLOCK),
        ("select getdate(), sysdate()", CLOCK),
        ("select ago(interval 7 day)", CLOCK),
        ("select * from read_avro('x.avro')", FILE),
        ("select {{ selected_resources | length }}", SESSION),
        ("select age(sold_at) from t", CLOCK),
        ("select unix_timestamp()", CLOCK),
        ("select date 'today'", CLOCK),
        ("select cast('now' as timestamp)", CLOCK),
        ("select 'yesterday'::date", CLOCK),
        ("select {{ dbt.current_timestamp() }}", CLOCK),
        ("select {{ current_timestamp_backcompat() }}", CLOCK),
        ("select '{{ run_started_at }}'", CLOCK),
        ("select '{{ run_started_at.strftime(\"%Y\") }}'", CLOCK),
        ("{% set day = modules.datetime.date.today() %}select '{{ day }}'", CLOCK),
        ("select '{{ modules.datetime.datetime.utcnow() }}'", CLOCK),
        ("select {{ add_days('current_date', 1) }}", CLOCK),
        ('{{ config(post_hook="update t set at = now()") }} select 1', CLOCK),
        ("select 'it\\'s', now()", CLOCK),
        ("select '\\', now()", CLOCK),
        ("select random()", CHANCE),
        ("select gen_random_uuid() as id", CHANCE),
        ("select rand(), seq4(), newid()", CHANCE),
        ("select * from t using sample 10%", CHANCE),
        ("select * from t tablesample (10)", CHANCE),
        ("select ids.nextval", CHANCE),
        ("select {{ range(10) | random }}", CHANCE),
        ("select current_user", SESSION),
        ("select session_user, x", SESSION),
        ("select current_setting('TimeZone')", SESSION),
        ("select '{{ invocation_id }}'", SESSION),
        ("select '{{ env_var('MESH_RUN_ID', '') }}'", SESSION),
        ("select * from read_csv('rates.csv')", FILE),
        ("select * from 'rates.parquet'", FILE),
        ("select * from parquet.`/data/rates`", FILE),
        ("{% set rates = run_query(\"select * from read_csv('rates.csv')\") %}", FILE),
        ("select * from shop_raw.sales", NAME),
        ('select * from t join "other"."orders" as o using (id)', NAME),
        ("select * from {{ target.schema }}.orders", NAME),
        ("select * from {{ this.schema }}.x", NAME),
        ("select * from {{ this.schema }}.{{ this.name }}_x", NAME),
        ("select * from {{ target.database }}.{{ target.schema }}.t", NAME),
        ("select * from {{ schema }}.sales", NAME),
        ("select * from shop_raw.{{ table }}", NAME),
        ("select * from {{ var('sales') }}", NAME),
        ("select * from {{ env_var('SALES') }} as s", NAME),
        ("select * from {{ ref('a') }} a, sales_raw.events e", NAME),
        ("select * from {{ ref('a') }} a, {{ ref('b') }} as b, sales_raw.events", NAME),
        ("select * from a join b on a.x = b.x, sales_raw.events", NAME),
        ("select * from a join b using (x), sales_raw.events where a.y in (1, 2)", NAME),
        ("select * from a, (select 1, 2 from b group by 1, 2) as c, sales_raw.events", NAME),
        ("select * from a, lateral sales_raw.events", NAME),
        ("select * from a, 'rates.csv'", FILE),
        ("select * from {% if x %}shop_raw.sales{% endif %}", NAME),
        ("delete from a using shop_raw.sales as s where a.id = s.id", NAME),
        ("merge into a using shop_raw.sales as s on a.id = s.id", NAME),
        ("select * from table('shop_raw.sales')", NAME),
        ("select * from identifier('shop_raw.sales')", NAME),
        ("select * from {{ adapter.get_relation(database=d, schema='x', identifier='y') }}", NAME),
        (
            "{% set t = adapter.get_relation(d, 'x', 'y') %}select * from {{ t }}",
            NAME,
        ),
        ("select * from {{ api.Relation.create(schema='s', identifier='t') }}", NAME),
        (
            "{% set t = api.Relation.create(identifier='t') %}select * from {{ t }}",
            NAME,
        ),
        ("select * from {{ load_relation(t) }}", NAME),
        ("select * from {{ this.incorporate(path={'identifier': 'x'}) }}", NAME),
        ("select * from {{ ref('a').replace_path(schema='x') }}", NAME),
    ],
)
def test_a_hidden_input_is_found(text, kind):
    assert kinds(text) == {kind}


@pytest.mark.parametrize(
    "text",
    [
        "select today, now, random, user, version from {{ ref('t') }}",
        "select t.current_date, t.current_user from {{ ref('t') }} as t",
        "select max(sold_on) as current_date from t",
        'select "current_timestamp" from t',
        "select 'current_timestamp' as label, 'now()' as text",
        "select 1 -- now()\n/* current_date */",
        "{# current_timestamp() #} select 1",
        "select 1 -- {{ run_started_at }}",
        "select extract(year from t.sold_at), trim(both from t.name)",
        "select a is distinct from b.c from t",
        "select age(a, b), unix_timestamp(sold_at)",
        "select * from {{ source('shop_raw', 'sales') }}",
        "select * from t, t.items",
        "select * from {{ ref('a') }} as x, x.items where a = b.c, d.e",
        "select * from {{ ref('a') }} x, unnest(x.items), lateral flatten(x.items) as f",
        "select a.b, c.d from t where a.b in (c.d, e.f) group by a.b, c.d order by a.b, c.d",
        "select a.b, (select max(x.y) from x), c.d from {{ ref('t') }} as t",
        "select [a.b for a in list], {'k': a.b, 'l': c.d} from t join u on t.a = [u.b, u.c]",
        "select * from {% if x %}{{ ref('a') }}{% else %}{{ ref('b') }}{% endif %} as t, u",
        "{% set rows = ref('a') %}select * from {{ rows }}, {{ source('a', 'b') }}",
        "{% if load_relation(this) is none %}select 1{% endif %}",
        "{% if adapter.get_relation(this.database, this.schema, this.table) %}select 1{% endif %}",
        "{% set t = adapter.get_relation(database=this.database, schema=this.schema, "
        "identifier=this.identifier) %}select max(x) from {{ t }}",
        "update t set a = s.b, c = s.d",
        "select * from t join u using (a, b), v",
        "select 'today' as day, $$now()$$ as text",
        "{{ config(materialized='incremental', tags=['today']) }} select 1",
        "{% set graph_name = 'x' %} select model.graph from t",
        "where landed_at > (select max(landed_at) from {{ this }})",
    ],
)
def test_columns_strings_and_comments_are_no_hidden_inputs(text):
    assert hidden_inputs(text) == ()


def test_a_macro_of_the_repository_is_judged_by_its_text_and_not_by_its_name():
    assert kinds("select {{ today() }}", "today") == set()
    assert kinds("select {{ today() }}") == {CLOCK}


def test_the_line_is_that_of_the_word():
    text = "select\n    1,\n    {{ days_between(\n        'a',\n        'current_date') }}"
    [found] = hidden_inputs(text)
    assert (found.line, found.what) == (5, "current_date")
