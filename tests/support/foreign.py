"""A dbt project in the style of dbt Labs' jaffle shop, with what real projects bring along.

Belongs here: its files. Not here: what becomes of it (tests/journeys/test_import.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

PROJECT = """\
name: bikes   # a comment
version: "1.0"
config-version: 2
profile: warehouse
model-paths: ["models"]
seed-paths: ["data"]
test-paths: ["data-tests"]
target-path: "out"
require-dbt-version: ">=1.5.0"
on-run-end: "grant select on all tables in schema {{ target.schema }} to reporters"
vars:
  bikes: {cents: 100}
seeds:
  bikes:
    +schema: raw
    shop:
      +enabled: "{{ var('load_source_data', false) }}"
models:
  bikes:
    +materialized: view
    marts:
      +schema: analytics
"""
SOURCES = """\
version: 2

# What the shop sends.
sources:
  - name: shop
    schema: raw
    description: The shop's database.
    tables:
      - name: raw_customers
        description: One row per customer.
      - name: raw_rides
        description: One row per ride.
        loaded_at_field: ridden_at
        columns:
          - {name: ride_id, data_type: "NUMBER(18,0)", tests: [unique, not_null]}
          - {name: customer_id, data_type: int}
          - {name: price_cents, data_type: "character varying(10)"}
          - {name: ridden_at, data_type: timestamp with time zone}
      - name: Weather
"""
MARTS = """\
version: 2

models:
  # The best that we have.
  - name: customers
    description: "{{ doc('customers') }}"
    meta: {slack: "#bikes"}
    columns:
      - name: customer_id
        description: The customer.
        tests: [unique, not_null]
      - name: rides
        description: How often.
        data_tests:
          - not_null
          - dbt_utils.at_least: {least: 0}
      - {name: age, description: Not there any more.}

  - name: daily
    description: One row per day and customer.
    config: {materialized: incremental, schema: reports}
    data_tests:
      - dbt_utils.unique_combination_of_columns:
          combination_of_columns: [day, customer_id]

  - name: kinds
    columns:
      - name: kind
        tests: [unique]

  - name: nobody_knows

  - name: days
    time_spine: {standard_granularity_column: day}
    columns: [{name: day, data_type: date, granularity: day}]

semantic_models:
  - name: kinds
    model: ref('kinds')
    entities: [{name: kind, type: primary}]
"""
FILES = {
    "dbt_project.yml": PROJECT,
    "README.md": "# Bikes\n",
    "packages.yml": "packages:\n  - local: ../packages/dbt_utils\n",
    ".git/config": "[core]\n",
    "out/manifest.json": "{}",
    "data/shop/raw_customers.csv": "id,name\n1,Ana\n2,Bo\n3\n",
    "macros/generate_schema_name.sql": "{# Ours. #}\n"
    "{% macro generate_schema_name(custom, node) %}{{ custom or target.schema }}{% endmacro %}\n",
    "macros/money.sql": "{% macro dollars(column) %}({{ column }} / 100.0)::numeric(16, 2)"
    "{% endmacro %}\n",
    "models/docs.md": "{% docs customers %}Who rides. One row per customer.{% enddocs %}\n",
    "models/staging/sources.yml": SOURCES,
    "models/staging/stg_customers.sql": "with source as (select * from {{ source('shop', "
    "'raw_customers') }})\nselect id as customer_id, name from source\n",
    "models/staging/stg_rides.sql": "select ride_id, customer_id, ridden_at,\n"
    "    {{ bikes.dollars('price_cents::int') }} as price\n"
    "from {{ source('shop', 'raw_rides') }}\n",
    "models/staging/stg_weather.sql": "with source as (\n"
    "    select * from {{ source('shop', 'Weather') }}\n)\n"
    "select Day, cast(rain as double) as rain from source\n",
    "models/marts/marts.yml": MARTS,
    "models/marts/customers.sql": """\
{{ config(materialized='view', schema='analytics', alias='dim_customers') }}
with rides as (
    select customer_id, sum(1) as rides, sum(price) as paid
    from {{ ref('bikes', 'stg_rides') }} group by 1
)
select customers.*, coalesce(rides.rides, 0) as rides, rides.paid
from {{ ref('stg_customers') }} as customers
left join rides using (customer_id)
""",
    "models/marts/daily.sql": """\
select cast(ridden_at as date) as day, customer_id, count(*) as "order"
from {{ ref('stg_rides') }}
{% if is_incremental() %}where ridden_at > (select max(day) from {{ this }}){% endif %}
group by 1, 2
""",
    "models/marts/kinds.sql": "select 'city' as kind, 1.5::float as weight -- the only one",
    "models/marts/nobody_knows.sql": "select 1 as a\n",
    "models/marts/days.sql": "select cast('2026-01-01' as date) as day\n",
    "models/marts/in_snowflake.sql": "select dateadd(day, 1, day) as d from {{ ref('daily') }}\n",
    "data-tests/no_negative.sql": "select * from {{ ref('customers') }} where rides < 0\n",
}
PACKAGE = {
    "dbt_project.yml": "name: dbt_utils\nversion: 1.0.0\n",
    "macros/tests.sql": """\
{% test at_least(model, column_name, least) %}
select * from {{ model }} where {{ column_name }} < {{ least }}
{% endtest %}
{% test unique_combination_of_columns(model, combination_of_columns) %}
select {{ combination_of_columns | join(', ') }} from {{ model }}
group by {{ combination_of_columns | join(', ') }} having count(*) > 1
{% endtest %}
""",
}
"""A package in the place of dbt_utils, which comes from a registry."""


def write(folder: Path, files: Mapping[str, str]) -> Path:
    """Writes files below a folder, and returns it."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def bikes(place: Path) -> Path:
    """The project, in a folder with a space in its name, and the package that it uses."""
    write(place / "packages" / "dbt_utils", PACKAGE)
    return write(place / "of the bikes", FILES)
