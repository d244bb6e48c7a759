"""One domain uses everything of dbt that consumers do not see, and works as any other.

Each feature is legal dbt that a domain may bring along: own keys in `meta`, the semantic layer,
exposures, freshness of sources, packages, settings of folders, aliases.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meshhouse.lint import check
from tests.conftest import WARM, Mesh
from tests.support.engines_help import land_new as land
from tests.support.engines_help import published, run_local

SHOP = "domains/shop"
DESCRIBE = Path(__file__).parents[1] / "dagster" / "describe.py"
PROJECT = """\
name: shop
version: "1.0.0"
config-version: 2
profile: meshhouse
model-paths: [models]
require-dbt-version: [">=1.8.0", "<3.0.0"]
dbt-cloud: {project-id: 1}
flags:
  send_anonymous_usage_stats: false
  require_ref_searches_node_package_before_root: true
vars:
  smallest_sale: 0
models:
  shop:
    +materialized: table
    +access: protected
    +group: shop
    +tags: [nightly]
    +docs: {node_color: gold}
    staging:
      +materialized: view
      +access: private
      +meta: {team: tills, reviewed: true}
    products:
      +access: public
      +contract: {enforced: true}
      +meta: {on_call: {primary: ana}, grain: [order_id]}
seeds:
  shop:
    +quote_columns: false
    +column_types: {factor: integer}
snapshots:
  shop:
    +tags: [history]
"""
MODELS = """\
models:
  - name: days
    description: Every day. One row per day.
    config: {meta: {source_system: calendar}}
    time_spine: {standard_granularity_column: day}
    columns:
      - {name: day, data_type: date, granularity: day}
  - name: large_sales
    config:
      alias: sales_above_a_limit
      meta: {cost_center: 7, anything: [{nested: true}]}
semantic_models:
  - name: orders
    model: ref('orders')
    defaults: {agg_time_dimension: sold_at}
    entities: [{name: order, type: primary, expr: order_id}]
    dimensions: [{name: sold_at, type: time, type_params: {time_granularity: day}}]
    measures: [{name: revenue, agg: sum, expr: amount}]
metrics:
  - name: revenue
    label: Revenue
    type: simple
    type_params: {measure: revenue}
saved_queries:
  - name: revenue_by_day
    query_params: {metrics: [revenue], group_by: ["TimeDimension('order__sold_at', 'day')"]}
exposures:
  - name: weekly_report
    type: dashboard
    url: https://reports.example/weekly
    owner: {name: ana, email: ana@tiny.example}
    depends_on: [ref('orders'), ref('doubled')]
"""
DOUBLED = """\
models:
  - name: doubled
    description: Large sales, doubled. One row per order.
    config: {meta: {slack: "#sales"}}
    columns:
      - name: order_id
        data_type: bigint
        description: The order.
        config: {meta: {lineage_tool: {id: 5}}}
      - {name: amount, data_type: "decimal(12,2)", description: Twice what was paid.}
"""
FILES = {
    "dbt_project.yml": PROJECT,
    "packages.yml": "packages:\n  - local: ../../packages/arithmetic\n",
    "seeds/factors.csv": "factor\n2\n",
    "models/more.yml": MODELS,
    "models/days.sql": "select cast('2017-01-01' as date) as day\n",
    "models/large_sales.sql": "select sale_id, amount from {{ ref('stg_sales') }}\n"
    "where amount >= {{ var('smallest_sale') }}\n",
    # What dbt_utils' date_spine, pivot and get_column_values do.
    "models/asking.sql": "{% set found = run_query('select 3 as a') if execute %}"
    "select {{ found.columns[0].values()[0] if found }} as a\n",
    "models/products/doubled.yml": DOUBLED,
    "models/products/asked.yml": DOUBLED.replace("doubled", "asked"),
    "models/products/asked.sql": """\
{% set rows = run_query('select 2 as factor') if execute %}
select
    cast(sale_id as bigint) as order_id,
    cast(amount * {{ rows.columns[0].values()[0] if rows else 0 }} as decimal(12, 2)) as amount
from {{ ref('stg_sales') }}
cross join {{ ref('asking') }}
""",
    "models/products/doubled.sql": """\
select
    cast(sale_id as bigint) as order_id,
    cast({{ arithmetic.times('amount', 'factor') }} as decimal(12, 2)) as amount
from {{ ref('shop', 'large_sales') }}
cross join {{ ref('factors') }}
""",
    "models/products/doubled.checks.yml": "columns:\n"
    "  - {name: order_id, checks: [{missing: null}, {duplicate: null}]}\n",
    "../../packages/arithmetic/dbt_project.yml": "name: arithmetic\nversion: 1.0.0\n",
    "../../packages/arithmetic/macros/times.sql": "{% macro times(a, b) %}"
    "{{ a }} * {{ b }}{% endmacro %}\n",
}


@pytest.fixture(scope="module")
def mesh(new_mesh) -> Mesh:
    mesh = new_mesh()
    for path, text in FILES.items():
        mesh.write(f"{SHOP}/{path}", text)
    mesh.edit(
        f"{SHOP}/models/topics.yml",
        "    schema: shop_raw\n",
        "    schema: shop_raw\n    loader: tills\n    meta: {system: tills}\n"
        "    config:\n      loaded_at_field: _landed_at\n"
        "      freshness: {warn_after: {count: 9, period: day}}\n",
    )
    return mesh


def test_check_finds_nothing_but_what_is_built_in_every_run(mesh: Mesh):
    found = [each for each in check(mesh.repository) if "every run builds" not in each.problem]
    assert [str(each) for each in found] == []


@pytest.fixture(scope="module")
def run(mesh: Mesh) -> list[str]:
    mesh.sell(1, 2)
    land(mesh)
    return published(run_local(mesh, "shop"))


def test_a_run_installs_the_packages_and_publishes(mesh: Mesh, run: list[str]):
    assert run == ["asked", "doubled", "orders", "totals"]
    assert [float(amount) for (amount,) in mesh.rows("select amount from shop.doubled")] == [3, 3]


def test_a_model_may_query_the_database_while_dbt_renders_it(mesh: Mesh, run: list[str]):
    assert [float(amount) for (amount,) in mesh.rows("select amount from shop.asked")] == [3, 3]


def test_a_change_in_an_installed_package_builds_again(mesh: Mesh, run: list[str]):
    mesh.edit("packages/arithmetic/macros/times.sql", "{{ a }} * {{ b }}", "{{ a }} * {{ b }} * 1")
    assert published(run_local(mesh, "shop")) == ["doubled"]


def test_settings_of_a_folder_make_products(mesh: Mesh):
    product = mesh.repository.product("shop.doubled")
    assert (product.group, product.contract, product.grain) == ("shop", True, ("order_id",))
    assert "days" in mesh.repository.domain("shop").private_models


def test_status_knows_every_product(mesh: Mesh, run: list[str]):
    shown = json.loads(mesh.run("status", "--json").stdout)
    own = {each["product"]: each for each in shown if each["product"].startswith("shop.")}
    assert set(own) == {"shop.asked", "shop.doubled", "shop.orders", "shop.totals"}
    assert not [each for each in own.values() if each.get("broken")]


def test_dagster_loads_the_domain(mesh: Mesh, run: list[str]):
    described, output = mesh.root / "described.json", (mesh.root / "out", mesh.root / "err")
    arguments = [str(DESCRIBE), str(mesh.root), str(described)]
    process = WARM.start(arguments, mesh.root, mesh.environment, output)
    assert WARM.wait(process, 120) == 0, output[1].read_text()
    assets = json.loads(described.read_text())["assets"]
    assert assets["shop/build.doubled"]["uses"] == [
        "shop/build.factors",
        "shop/build.sales_above_a_limit",
    ]
    assert "shop/broken" not in assets
