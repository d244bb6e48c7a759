"""Tests of dbt judge what one run builds, whichever products the run is about."""

from __future__ import annotations

import shutil

import pytest

from meshhouse import dbt
from meshhouse.engines import engine
from meshhouse.runs.run import build_models
from tests.conftest import Mesh
from tests.support.engines_help import land_new as land
from tests.support.engines_help import published, run_local

PRODUCTS = "domains/shop/models/products"
STAGING = "domains/shop/models/staging"
CRM = "domains/crm/models/products"

MODEL = """\
version: 2
models:
  - name: {name}
    description: One row per customer.
    config: {{access: public, group: {domain}, contract: {{enforced: true}}, meta: {{grain: [customer_id]}}}}
    columns:
      - name: customer_id
        data_type: bigint
        description: Who bought.
        data_tests: [{tests}]
      - {{name: sales, data_type: bigint, description: How many sales.}}
"""  # noqa: E501 - YAML as people write it
CHECKS = "columns:\n  - {name: customer_id, checks: [{missing: null}, {duplicate: null}]}\n"

# Each reads a model that `orders` is not made of.
RELATIONSHIPS = """\
        data_tests:
          - relationships: {arguments: {to: "ref('buyers')", field: customer_id}}
          - known_to: {arguments: {other: "ref('buyers')"}}
          - relationships:
              name: stored
              arguments: {to: "ref('buyers')", field: customer_id}
              config: {store_failures: true}
          - relationships:
              name: only_warns
              arguments: {to: "ref('stg_known')", field: customer_id}
              config: {severity: warn}
"""
KNOWN_TO = """\
{% test known_to(model, column_name, other) %}
select {{ column_name }} from {{ model }}
where {{ column_name }} not in (select {{ column_name }} from {{ other }})
{% endtest %}
"""
SINGULAR = """\
select sales from {{ ref('buyers') }}
where (select count(*) from {{ ref('orders') }}) <> (select sum(sales) from {{ ref('buyers') }})
"""


def add_product(mesh: Mesh, domain: str, name: str, source: str, tests: str = "") -> None:
    folder = f"domains/{domain}/models/products"
    mesh.write(f"{folder}/{name}.yml", MODEL.format(name=name, domain=domain, tests=tests))
    mesh.write(f"{folder}/{name}.checks.yml", CHECKS)
    mesh.write(
        f"{folder}/{name}.sql",
        "select cast(customer_id as bigint) as customer_id, cast(count(*) as bigint) as sales\n"
        f"from {{{{ ref('{source}') }}}} group by customer_id\n",
    )


@pytest.fixture(scope="module")
def mesh(new_mesh) -> Mesh:
    """Tests of every kind read what `orders` is not made of; nothing was ever built."""
    mesh = new_mesh()
    add_product(mesh, "shop", "buyers", "stg_sales")
    description = "description: Who bought.}"
    mesh.edit(
        f"{PRODUCTS}/orders.yml",
        f"- {{name: customer_id, data_type: bigint, {description}",
        "- name: customer_id\n        data_type: bigint\n        description: Who bought.\n"
        + RELATIONSHIPS.rstrip(),
    )
    mesh.write("domains/shop/tests/generic/known_to.sql", KNOWN_TO)
    mesh.write("domains/shop/tests/every_sale_has_a_buyer.sql", SINGULAR)
    # No product is made of this one.
    mesh.write(f"{STAGING}/stg_known.sql", "select 1 as customer_id\n")
    mesh.sell(1, 2, 3)
    mesh.sell(4, customer=2)
    land(mesh)
    return mesh


def test_the_first_run_of_one_product_builds_what_its_tests_read(mesh):
    done = run_local(mesh, "shop", "orders")
    assert published(done) == ["buyers", "orders"]
    ran = {node.name: node.status for node in done.nodes if node.resource_type == "test"}
    assert ran.pop("only_warns") == "warn"  # customer 2 is not known
    assert set(ran.values()) == {"pass"}
    assert {"stored", "every_sale_has_a_buyer"} < set(ran)
    assert any(name.startswith("known_to_") for name in ran)


def test_a_later_run_of_either_product_builds_both_from_the_same_events(mesh):
    for number, name in ((5, "orders"), (6, "buyers")):
        mesh.sell(number, customer=number)
        land(mesh)
        assert published(run_local(mesh, "shop", name)) == ["buyers", "orders"]
        assert mesh.row("select sum(sales) from shop.buyers") == (number,)
        assert mesh.row("select count(*) from shop.orders") == (number,)


def test_an_unchanged_product_is_built_where_it_never_was_and_stays_as_published(mesh):
    shutil.rmtree(mesh.home / "build")  # as on another machine
    before = mesh.row("select max(sold_at) from shop.orders")
    mesh.edit(f"{PRODUCTS}/buyers.sql", "group by", "where true group by")
    done = run_local(mesh, "shop")
    assert published(done) == ["buyers", "totals"]  # nobody has asked for the totals before
    assert [product.name for product in done.unchanged] == ["orders"]
    assert mesh.row("select max(sold_at) from shop.orders") == before


def test_an_environment_builds_what_production_has_published_to_test_against(mesh, monkeypatch):
    sql = f"{PRODUCTS}/buyers.sql"
    mesh.edit(sql, "where true", "where customer_id > 0")
    mesh.sell(9, customer=9)
    land(mesh)  # production has not read this one
    with monkeypatch.context() as patch:
        patch.setenv("MESH_ENV", "ana")
        done = run_local(mesh, "shop")
        assert published(done) == ["buyers"]
        assert mesh.row("select count(*) from shop.buyers where customer_id = 9") == (0,)
    mesh.edit(sql, "where customer_id > 0", "where true")


def test_a_test_that_fails_stops_both_products(mesh):
    mesh.edit(f"{PRODUCTS}/buyers.sql", "where true", "where customer_id <> 5")
    done = run_local(mesh, "shop", "buyers")
    assert done.outcome == "failed"
    assert "data test relationships_orders_customer_id__customer_id__ref_buyers_" in done.message
    assert mesh.row("select count(*) from shop.buyers where customer_id = 5") == (1,)
    mesh.edit(f"{PRODUCTS}/buyers.sql", "where customer_id <> 5", "where true")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DBT_INDIRECT_SELECTION", "empty"),
        ("DBT_RESOURCE_TYPES", "model"),
        ("DBT_ENGINE_EXCLUDE_RESOURCE_TYPES", "test unit_test"),
        ("indirect_selection", "empty"),
    ],
)
def test_no_setting_of_a_session_or_project_leaves_tests_out(mesh, monkeypatch, name, value):
    sql, project = f"{PRODUCTS}/buyers.sql", "domains/shop/dbt_project.yml"
    before = {path: (mesh.root / path).read_text() for path in (sql, project)}
    sales = "{{ ref('stg_sales') }}"
    mesh.edit(sql, sales, f"(select * from {sales} where customer_id <> 1) as some_sales")
    if name.startswith("DBT"):
        monkeypatch.setenv(name, value)
    else:
        mesh.edit(project, "\nflags:", f"\nflags:\n  {name}: {value}")
    done = run_local(mesh, "shop", "buyers", full_refresh=True)
    for path, text in before.items():
        mesh.write(path, text)
    assert done.outcome == "failed"
    assert "data test relationships_orders_customer_id__customer_id__ref_buyers_" in done.message


def test_a_build_whose_data_tests_have_no_result_fails(mesh, monkeypatch):
    monkeypatch.setattr(dbt, "_PARTS_ONLY", ())
    monkeypatch.setenv("DBT_EXCLUDE_RESOURCE_TYPES", "test")
    done = run_local(mesh, "shop", "buyers", force=True)
    assert (done.outcome, done.published) == ("failed", [])
    assert "dbt ran no data test every_sale_has_a_buyer" in done.message
    repository = mesh.repository
    shop = repository.domain("shop")
    built = build_models(repository, engine(repository), shop, ["buyers"])
    assert built.outcome == "failed"
    assert "dbt ran no data test every_sale_has_a_buyer" in built.message


def test_what_a_test_reads_of_another_domain_is_pinned_and_counts_as_read(mesh):
    mesh.edit(
        f"{CRM}/customers.yml",
        "- {name: orders, data_type: bigint, description: How many orders.}",
        "- name: orders\n        data_type: bigint\n        description: How many orders.\n"
        "        data_tests:\n          - relationships:\n"
        "              arguments: {to: \"ref('shop', 'totals')\", field: orders}\n"
        "              config: {severity: warn}",
    )
    done = run_local(mesh, "crm")
    assert published(done) == ["customers"]
    assert "shop.totals" in done.published[0]["input_snapshots"]


def test_a_test_of_a_model_that_is_not_built_does_not_run_with_what_it_also_reads(mesh):
    to_orders = "{relationships: {arguments: {to: \"ref('shop', 'orders')\", field: customer_id}}}"
    add_product(mesh, "crm", "fans", "stg_shop__orders", to_orders)
    mesh.sell(7, customer=7)
    land(mesh)
    run_local(mesh, "shop")
    done = run_local(mesh, "crm", "customers")
    assert published(done) == ["customers"]
    assert published(run_local(mesh, "crm")) == ["fans"]


def test_a_folder_called_like_a_product_is_not_built_with_it(mesh):
    mesh.write("domains/shop/models/totals/broken.sql", "select no_such_column from nowhere\n")
    mesh.sell(8)
    land(mesh)
    assert published(run_local(mesh, "shop", "totals")) == ["buyers", "orders", "totals"]
