"""Legal declarations give no finding, and findings about style do not stop a run.

The table holds legal edits to the tiny mesh (test_broken.py holds broken ones). A finding for
one of them would stop the publication of a whole domain.
"""

# ruff: noqa: E501 - a case a line reads as a table

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from meshhouse.errors import MeshError
from meshhouse.lint import check
from meshhouse.lint.hooks import hook_findings
from meshhouse.lint.refusal import refuse_findings
from meshhouse.lint.rules import check_domain
from meshhouse.lint.settings import Model, Setting
from meshhouse.repository.names import bad_column
from tests.conftest import Mesh

SHOP = "domains/shop"
PROJECT, DOMAIN, TOPICS = (
    f"{SHOP}/dbt_project.yml",
    f"{SHOP}/models/domain.yml",
    f"{SHOP}/models/topics.yml",
)
PRODUCTS, STAGING = f"{SHOP}/models/products", f"{SHOP}/models/staging"
ORDERS, SQL, CHECKS = (
    f"{PRODUCTS}/orders.yml",
    f"{PRODUCTS}/orders.sql",
    f"{PRODUCTS}/orders.checks.yml",
)
STG_YML = f"{STAGING}/stg_sales.yml"
READS = f"{STAGING}/stg_more.sql"
UNIT_TEST = "unit_tests:\n  - name: same\n    model: {}\n    given: []\n    expect: {{rows: []}}\n"

Edit = Callable[[Mesh], None]


def put(files: Mapping[str, str]) -> Edit:
    def edit(mesh: Mesh) -> None:
        for file, text in files.items():
            mesh.write(file, text)

    return edit


def swap(file: str, old: str, new: str, more: Mapping[str, str] | None = None) -> Edit:
    def edit(mesh: Mesh) -> None:
        put(more or {})(mesh)
        mesh.edit(file, old, new)

    return edit


def reads(name: str) -> str:
    return "select 1 as a from {{ ref('" + name + "') }}"


def model(lines: str) -> Edit:
    """Lines in the YAML of the private model."""
    return swap(STG_YML, "  - name: stg_sales\n", f"  - name: stg_sales\n{lines}")


def product(lines: str) -> Edit:
    return swap(ORDERS, "    config:\n", f"{lines}    config:\n")


def renamed(mesh: Mesh) -> None:
    """Two versions of `orders`; the file of the latest one has no number."""
    mesh.edit(PROJECT, "    +materialized: table\n", "")
    mesh.edit(f"{PRODUCTS}/totals.sql", "select\n", "{{ config(materialized='table') }}\nselect\n")
    text = (mesh.root / SQL).read_text()
    mesh.write(f"{PRODUCTS}/orders_v1.sql", text)
    checks = (mesh.root / CHECKS).read_text()
    mesh.write(f"{PRODUCTS}/orders_v1.checks.yml", checks)
    mesh.edit(
        ORDERS,
        "    columns:\n",
        "    latest_version: 2\n    versions:\n      - v: 1\n      - v: 2\n    columns:\n",
    )
    mesh.edit(ORDERS, "      group: shop\n", "      group: shop\n      materialized: table\n")


def unpacked(mesh: Mesh) -> None:
    mesh.edit(PROJECT, "    +materialized: table\n", "    +materialized: view\n")
    mesh.edit(SQL, "select\n", "{{ config(**{'materialized': 'incremental'}) }}\nselect\n")
    how = "{% set how = {'materialized': 'table'} %}{{ config(**how) }}"
    mesh.edit(f"{PRODUCTS}/totals.sql", "select\n", f"{how}\nselect\n")


LEGAL: dict[str, Edit] = {
    # Models from outside models/
    "packages in dependencies.yml": put({
        f"{SHOP}/dependencies.yml": "packages:\n  - {package: dbt-labs/dbt_utils, version: 1.3.0}\n",
        READS: reads("of_a_package"),
    }),
    "packages.yml": put({
        f"{SHOP}/packages.yml": "packages:\n  - {package: dbt-labs/dbt_utils, version: 1.3.0}\n",
        READS: reads("of_a_package"),
    }),
    "a package's model by both names": put({
        f"{SHOP}/dependencies.yml": "packages:\n  - {package: x/calendar, version: 1.3.0}\n",
        f"{SHOP}/models/days.sql": "select 1 as a from {{ ref('calendar', 'days') }}",
    }),
    "seed-paths": swap(PROJECT, "profile:", "seed-paths: [data]\nprofile:", {
        f"{SHOP}/data/regions.csv": "region\nnorth\n", READS: reads("regions"),
    }),
    "snapshot-paths": swap(PROJECT, "profile:", "snapshot-paths: [history]\nprofile:", {
        f"{SHOP}/history/kept.sql": "{% snapshot kept %}select 1 as a{% endsnapshot %}", READS: reads("kept"),
    }),
    "snapshot in YAML": put({
        f"{SHOP}/models/history.yml": "snapshots:\n  - name: kept\n    relation: ref('stg_sales')\n"
        "    config: {unique_key: sale_id, strategy: check, check_cols: all}\n",
        READS: reads("kept"),
    }),
    "snapshot block in models/": put({
        f"{STAGING}/file.sql": "{% snapshot kept %}select 1 as a{% endsnapshot %}", READS: reads("kept"),
    }),
    # Names
    "unit tests of one name": swap(ORDERS, "unit_tests:\n", UNIT_TEST.format("orders"), {
        f"{STAGING}/unit.yml": UNIT_TEST.format("stg_sales"),
    }),
    "address with a long last label": swap(DOMAIN, "shop@tiny.example", "team@shop.technology"),
    "address with a punycode label": swap(DOMAIN, "shop@tiny.example", "team@shop.xn--vermgensberatung-pwb"),
    # Places that can set a product's materialization
    "latest version in a file without number": renamed,
    "settings unpacked": unpacked,
    # Keys that dbt reads
    "meta of a model": model("    meta: {every_run: false, owner_slack: sales, pii: [a]}\n"),
    "own keys in config.meta": model("    config: {meta: {team: [a], topic: x, cost: 5}}\n"),
    "own keys in meta of a private column": swap(STG_YML, "version: 2", "version: 2\nanchors: [&a {x: 1}]", {
        f"{STAGING}/more.yml": "models:\n  - name: stg_more\n    columns:\n"
        "      - {name: a, config: {meta: {source_system: till}}, meta: {unit: kg}}\n",
        READS: reads("stg_sales"),
    }),
    "own keys in meta of a product": swap(ORDERS, "grain: [order_id]", "grain: [order_id]\n        slack: sales\n        owner: {team: a}"),
    "own keys in meta of a source table": swap(TOPICS, "meta: {topic: shop.sales,", "meta: {steward: ana, topic: shop.sales,"),
    "own keys in meta of a contract's column": swap(ORDERS, "name: order_id,", "name: order_id, config: {meta: {source_system: till}},"),
    "semantic layer": put({f"{SHOP}/models/metrics.yml": "semantic_models: [{name: a}]\nmetrics: [{name: b}]\nsaved_queries: [{name: c}]\n"}),
    "semantic layer within a model": model("    semantic_model: {enabled: true}\n    agg_time_dimension: a\n    metrics: []\n"),
    "tests of a model": model("    tests: []\n    quote_columns: true\n    docs: {show: true}\n"),
    "meta of a product": swap(ORDERS, "      meta:\n        grain: [order_id]\n        promises: {refreshed_within_hours: 24}\n",
                              "    meta:\n      grain: [order_id]\n"),
    "Python version": put({
        f"{STAGING}/stg_py.py": "def model(dbt, session): ...\n",
        f"{STAGING}/stg_py.yml": "models:\n  - name: stg_py\n    config: {python_version: '3.11', packages: [numpy]}\n",
    }),
    "freshness of a source": swap(TOPICS, "    schema: shop_raw\n",
                                  "    schema: shop_raw\n    loaded_at_field: _landed_at\n"
                                  "    freshness: {warn_after: {count: 1, period: day}}\n"),
    "freshness of a table": swap(TOPICS, "        description: One row per sale.\n",
                                 "        loaded_at_query: select now()\n        freshness: null\n        tests: []\n"),
    # Columns that only dbt knows
    "model that is a macro": put({SQL: "{{ totals_of('orders') }}"}),
    "columns by a macro": put({SQL: "select order_id, {{ cols() }} from {{ ref('stg_sales') }}"}),
    "columns by a package": put({SQL: "select {{ dbt_utils.star(from=ref('stg_sales')) }} from {{ ref('stg_sales') }}"}),
    "prefix by a variable": put({SQL: "select a_{{ var('n') }} from {{ ref('stg_sales') }}"}),
    "loop over a variable": put({SQL: "select {% for c in var('sums') %}{{ c }},{% endfor %} 1 as a from {{ ref('stg_sales') }}"}),
    "loop over items": put({SQL: "select {% for k, v in var('m').items() %}{{ k }},{% endfor %} 1 as a"}),
    "loop over a range": put({SQL: "select {% for i in range(var('n')) %}{{ i }} as a{{ i }},{% endfor %} 1 as a"}),
    "comparison of a variable": put({SQL: "{% if var('days') > 3 %}select 1 as a{% else %}select 2 as b{% endif %}"}),
    "sum of a variable": put({SQL: "select {{ var('n') + 1 }} as a"}),
    "quotient of a variable": put({SQL: "select {{ 7 / (env_var('N') | int) }} as a"}),
    "entry of a variable": put({SQL: "select {{ var('n')['x'] }} as {{ var('n')['y'] }}"}),
    "default of a variable": put({SQL: "select {{ var('n') | default('z') }} from x"}),
    "variable that is defined": put({SQL: "{% if var('n') is defined %}select 1 as z{% endif %}"}),
    "filter of dbt": put({SQL: "select {{ var('n') | as_number }} as {{ name_of('a') | upper }}"}),
    "branch on the target": put({SQL: "{% if target.name == 'local' %}select 1 as a{% else %}select 1 as b{% endif %}"}),
    "branch on execute": put({SQL: "{% if execute %}select 1 as a{% endif %}"}),
    "end of a condition": put({SQL: "select a from x where b = 1 {{ and_more() }} and c = cast(d as {{ type_string() }})"}),
}  # fmt: skip

HOOKS = (
    "create index if not exists i on {{ this }} (a)",
    "create index {{ this.name }}_i on {{ this }} (a)",
    'create index "i;x" on {{ this }} (a)',
    "create unique index concurrently i on {{this}} (a)",
    "comment on table {{ this }} is 'x; drop table y'",
    "comment on column {{ this }}.a is 'it''s; x'",
    "analyze {{ this }}",
    "ANALYZE TABLE {{ this }} compute statistics",
    "delete from {{- this -}} where a = 1",
    "update {{ this }} set a = 'x;y'",
    "update {{ this }} set a = 1 -- it's; drop table x",
    "{% if is_incremental() %}delete from {{ this }} where a = 1{% endif %}",
    "{% if a %}select 1{% else %}update {{ this }} set b = 1{% endif %}",
    "delete from {{ this }} where a = {% if b %}1{% else %}2{% endif %}",
    "delete from {{ this.schema }}.{{ this.name }} where a = 1",
    "grant select on {{ this }} to reporter",
    "{# don't; #} vacuum {{ this }}",
    "select 'insert into x'",
)
STILL_REFUSED = (
    "delete from {{ this }}_log",
    "delete from {{ this.schema }}.log",
    "create index i on log (a) -- on {{ this }}",
    "update log set a = 'x' where b = '{{ this }}'",
    "{% if a %}delete from {{ this }}{% else %}delete from log{% endif %}",
    "{% if a %}{% endif %}delete from log",
    "comment on table log is '{{ this }}'",
    "update {{ this }} set a = ''; drop table x; --'",
    "delete from {{ this }} where a = $$'$$; drop table x; delete from {{ this }} where a = $$'$$",
    "analyze",
    "comment on schema x is '{{ this }}'",
)


@pytest.mark.parametrize("name", LEGAL)
def test_what_is_legal_gives_no_finding(mesh: Mesh, name: str):
    LEGAL[name](mesh)
    assert [str(each) for each in check(mesh.repository)] == []


def of_hook(text: str) -> list[str]:
    model = Model(Path("a.sql"), {"post_hook": Setting(text, Path("a.sql"), 1)})
    return [each.problem for each in hook_findings(model)]


@pytest.mark.parametrize("text", HOOKS)
def test_a_hook_on_the_model_itself_is_legal(text):
    assert of_hook(text) == []


@pytest.mark.parametrize("text", STILL_REFUSED)
def test_a_hook_on_anything_else_is_refused(text):
    assert len(of_hook(text)) == 1


@pytest.mark.parametrize("name", [
    "売上usd", "id_顧客", "한국어id", "µg", "delta_\u03c3", "μg_per_l", "Δt", "x_名前_y", "größe", "цена", "αβγ",
])  # fmt: skip
def test_a_name_in_other_letters_is_legal(name):
    assert bad_column(name) is None


@pytest.mark.parametrize("name", ["sold_\u0430t", "\u0440rice", "s\u03bfld", "\u0391mount"])
def test_a_name_with_a_look_alike_is_refused(name):
    assert "looks like another letter" in bad_column(name)


STYLE: dict[str, Edit] = {
    "key of a column in meta of a product": swap(ORDERS, "grain: [order_id]", "grain: [order_id]\n        unit: USD"),
    "own key of a model": model("    our_team: x\n"),
    "own key in config": swap(ORDERS, "      group: shop\n", "      group: shop\n      cost_center: 5\n"),
    "read outside staging": swap("domains/crm/models/products/customers.sql", "ref('stg_shop__orders')", "ref('shop', 'orders')"),
    "column that the contract lacks": swap(SQL, "select\n", "select\n    1 as extra,\n"),
}  # fmt: skip
MATTERS: dict[str, tuple[Edit, str]] = {
    "misspelt key of a model": (model("    data_test: []\n"), "Did you mean `data_tests`?"),
    "misspelt key of a private model's meta": (model("    meta: {evry_run: true}\n"), "Did you mean `every_run`?"),
    "misspelt grain": (swap(ORDERS, "grain: [order_id]", "grains: [order_id]"), "Did you mean `grain`?"),
    "misspelt key of a source table": (swap(TOPICS, "topic: shop.sales,", "topic: shop.sales, change_log: true,"), "Did you mean `changelog`?"),
    "misspelt classification": (
        swap(ORDERS, "name: order_id,", "name: order_id, meta: {clasification: personal},"), "Did you mean `classification`?",
    ),
    "promise that nobody watches": (
        swap(ORDERS, "{refreshed_within_hours: 24}", "{at_noon: true}"), "`at_noon` is not a key that the mesh knows in promises",
    ),
    "check that nobody runs": (swap(CHECKS, "  - schema:", "  - looks_fine:"), "`looks_fine` is not a key"),
    "no contract": (swap(ORDERS, "      contract: {enforced: true}\n", ""), "has no contract"),
    "view": (swap(ORDERS, "      group: shop\n", "      group: shop\n      materialized: view\n"), "only a table"),
}  # fmt: skip


@pytest.mark.parametrize("name", STYLE)
def test_style_is_a_finding_that_stops_no_run(mesh: Mesh, name: str):
    STYLE[name](mesh)
    found = [
        each for domain in mesh.repository.domains for each in check_domain(mesh.repository, domain)
    ]
    assert len(found) == 1
    for domain in mesh.repository.domains:
        refuse_findings(mesh.repository, domain, None)


@pytest.mark.parametrize("name", MATTERS)
def test_what_consumers_would_notice_stops_a_run(mesh: Mesh, name: str):
    edit, words = MATTERS[name]
    edit(mesh)
    with pytest.raises(MeshError) as caught:
        refuse_findings(mesh.repository, mesh.repository.reading("shop"), None)
    assert words in str(caught.value)
