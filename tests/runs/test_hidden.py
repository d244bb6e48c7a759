"""What a model reads beside its inputs, found in its text."""

from __future__ import annotations

import string

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshhouse.repository.hidden import hidden_inputs
from meshhouse.repository.hidden_words import CHANCE, CLOCK, FILE, NAME, SESSION, UNSEEN

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
        ('select * from "/data/rates.csv"', FILE),
        ('select * from "rates.csv" as r', FILE),
        ('select * from {{ ref("a") }} as a, "rates"."x.csv"', FILE),
        ("select * from `data/rates`", FILE),
        ('select * from "{{ target.schema }}"', NAME),
        ("select * from E'rates.csv'", FILE),
        ("select * from $$rates.csv$$", FILE),
        ("select * from $a$rates.csv$a$", FILE),
        ("select * from a join u&'rates.csv' on true", FILE),
        ('select "now"()', CLOCK),
        ('select "NOW" ()', CLOCK),
        ("select `current_timestamp`()", CLOCK),
        ('select "random"()', CHANCE),
        ("with x as (table other.tbl) select * from x", NAME),
        ("table other.tbl", NAME),
        ("select 1 union all table 'rates.csv'", FILE),
        ("from (summarize 'rates.csv')", FILE),
        ("select * from (describe other.tbl)", NAME),
        ("select * from (pivot 'rates.csv' on x using sum(y))", FILE),
        ("select * from (show tables)", SESSION),
        ("select * from no_such_function('x')", UNSEEN),
        ("select * from {{ ref('a') }} as a, other.no_such_function(a.b)", UNSEEN),
        ('select * from "no_such_function"(1)', UNSEEN),
        ("select * from table(no_such_function(1))", UNSEEN),
        ("{% set n = modules.datetime.datetime.now %}select '{{ n() }}'", CLOCK),
        ("{% set d = modules.datetime %}select '{{ d.datetime.min }}'", UNSEEN),
        ("{% set d = modules['datetime'] %}select 1", UNSEEN),
        ("select '{{ moment | attr('now') }}'", CLOCK),
        ("select '{{ value | attr(name) }}'", UNSEEN),
        ("select '{{ datetime['now']() }}'", CLOCK),
        ("select '{{ dbt[\"current_timestamp\"]() }}'", CLOCK),
        ("select '{{ context['run_started_at'] }}'", UNSEEN),
        ("select '{{ context.get(\"invocation_id\") }}'", UNSEEN),
        ("select '{{ flags.WHICH }}'", SESSION),
        ("select '{{ builtins['run_started_at'] }}'", UNSEEN),
        ("{% if run_started_at == x %}select 1{% endif %}", CLOCK),
        ("select * from {{ ref('a').replace_path(schema='x') }}", NAME),
    ],
)
def test_a_hidden_input_is_found(text, kind):
    assert kinds(text) == {kind}


NAMES = st.text(string.ascii_lowercase + "_", min_size=1, max_size=8)
FOLDERS, STARS = st.sampled_from(["", "/", "./", "s3://b/"]), st.sampled_from(["", "/x", "*"])
PATHS = st.builds("{}{}{}.csv".format, FOLDERS, NAMES, STARS)
QUOTES = st.sampled_from(
    ["'{}'", '"{}"', "`{}`", "E'{}'", "e'{}'", "$${}$$", "$q${}$q$", "r'{}'", "U&'{}'"]
)
GAPS = st.sampled_from([" ", "\n", " /* from */ ", "\t", " -- from\n", " {# from #} "])
PLACES = st.sampled_from([
    "select *{0}from{0}{1}", "{{{{ ref('a') }}}}select * from a{0}join{0}{1} on true",
    "select * from a,{0}{1}", "from{0}{1}", "select (select max(x){0}from{0}{1})",
    "with x as ({0}table{0}{1}) select * from x", "select * from ({0}summarize{0}{1})",
    "{{% if x %}}select * from{0}{1}{{% endif %}}", "delete from a using{0}{1}",
    "select * from (pivot{0}{1} on x)", "from only{0}{1}", "select * from a, lateral{0}{1}",
    "{{{{ config(post_hook=[\"insert into t select * from{0}a,{0}b join{0}c on true, {2}\"]) }}}}",
])  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(PLACES, GAPS, QUOTES, PATHS)
def test_a_file_is_found_however_its_name_is_quoted(place, gap, quotes, path):
    text = place.format(gap if "post_hook" not in place else " ", quotes.format(path), f"'{path}'")
    assert kinds(text) == {FILE}


HIDING = st.sampled_from([
    "modules.datetime.datetime.now", "modules.datetime.date.today", "modules.datetime", "modules",
    "modules.datetime.datetime", "modules['datetime'].datetime", "context", "context.x",
    "context['x']", "builtins", "builtins['ref']", "flags", "flags.WHICH", "flags['WHICH']",
    "flags.INVOCATION_COMMAND", "run_started_at", "invocation_id", "x | attr('y')", "x|attr(y)",
    "x['now']()", 'x["uuid4"]()',
])  # fmt: skip
BLOCKS = st.sampled_from([
    "select {{{{{0}}}}}", "select '{{{{ {0} }}}}'", "{{% set x = {0} %}}select 1",
    "{{% if {0} == 1 %}}select 1{{% endif %}}", "select {{{{ my_macro(a={0}) }}}}",
    "select {{{{ [1, {0}] }}}}", "select {{{{- {0} -}}}}", "{{%- do f({0}) -%}}select 1",
    "select {{{{ {{'a': {0}}} }}}}", 'select "{{{{ {0} }}}}" from t',
])  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(BLOCKS, HIDING)
def test_jinja_that_may_read_anything_is_found_wherever_it_is(block, hiding):
    assert kinds(block.format(hiding))


HARMLESS = {"range", "generate_series", "repeat", "repeat_row", "unnest", "json_each", "json_tree",
            "histogram", "histogram_values", "summary"}  # fmt: skip
"""DuckDB's functions in `from` whose rows follow from their arguments."""


def test_every_table_function_of_duckdb_that_is_not_known_to_be_harmless_is_found():
    found = duckdb.execute(
        "select distinct function_name from duckdb_functions() "
        "where function_type in ('table', 'table_macro')"
    ).fetchall()
    passed = {name for (name,) in found if not kinds(f"select * from {name}()")}
    assert passed <= HARMLESS


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
        'select "x.csv", "now" from {{ ref("t") }} as "a/b"',
        "select * from t, unnest(t.items) as i, range(3), generate_series(1, 4) as s(n)",
        "select * from t lateral view explode(split(t.x, ',')) as word, rank",
        "select * from table(flatten(input => t.x)) as f, table(generator(rowcount => 3))",
        "select * from t group by f(a), g(b) order by f(a), g(b)",
        "select * from t sort by f(a), g(b)",
        "select * from (values (1), (2)) as t(x), (values (3)) as u(y)",
        "merge into a using b on f(a.x) = b.x when matched then update set y = f(b.y), z = g(b.z)",
        "select * from (pivot t on x using sum(y), max(z))",
        "select extract(year from date_trunc('year', at)), trim(both ' ' from lower(name)) from t",
        "select a is distinct from coalesce(b, c), table from t",
        "create table if not exists shop.log (a int); drop table shop.log",
        "select summarize, describe(x), max(pivot) from t",
        "{% set re = modules.re %}select {{ modules.datetime.timedelta(days=1).days }}",
        "select '{{ modules.datetime.datetime.strptime(x, y) }}'",
        "select '{{ modules.datetime.date(2017, 1, 1) }}', '{{ modules.pytz.utc }}'",
        "{% if flags.FULL_REFRESH %}select 1{% endif %}",
        "{% macro ref(model) %}{% do return(builtins.ref(model)) %}{% endmacro %}",
        "select {{ labels['now'] }}, {{ f(flags=1, context='x') }}, {{ node.context }}",
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
