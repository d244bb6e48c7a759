"""Dagster shows the mesh as it is declared, and what its runs did."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import WARM, Mesh

DESCRIBE = Path(__file__).with_name("describe.py")


def describe(mesh: Mesh) -> dict:
    told = mesh.root / "described.json"
    output = mesh.root / "describe.out", mesh.root / "describe.err"
    arguments = [str(DESCRIBE), str(mesh.root), str(told)]
    process = WARM.start(arguments, mesh.root, mesh.environment, output)
    assert WARM.wait(process, 120) == 0, output[1].read_text()
    return json.loads(told.read_text())


@pytest.fixture(scope="module")
def mesh(new_mesh) -> Mesh:
    """A mesh whose domain shop has published; the others never ran."""
    mesh = new_mesh()
    # A legal address, but not one that Dagster takes for an owner.
    mesh.edit("models/domain.yml", "mesh@tiny.example", "mesh@tiny.technology")
    mesh.sell(*range(10))
    mesh.run("run", "shop")
    return mesh


@pytest.fixture(scope="module")
def described(mesh: Mesh) -> dict:
    return describe(mesh)


@pytest.fixture(scope="module")
def assets(described: dict) -> dict[str, dict]:
    return described["assets"]


def test_assets_are_raw_tables_builds_and_products_linked_across_domains(assets):
    assert {key: asset["uses"] for key, asset in assets.items()} == {
        "shop/raw.sales": [],
        "shop/build.stg_sales": ["shop/raw.sales"],
        "shop/build.orders": ["shop/build.stg_sales"],
        "shop/build.totals": ["shop/build.orders"],
        "shop/orders": ["shop/build.orders"],
        "shop/totals": ["shop/build.totals"],
        "crm/build.stg_shop__orders": ["shop/orders"],
        "crm/build.customers": ["crm/build.stg_shop__orders"],
        # Its checks read the orders too.
        "crm/customers": ["crm/build.customers", "shop/orders"],
        "mesh/build.stg_crm__customers": ["crm/customers"],
        "mesh/build.overview": ["mesh/build.stg_crm__customers"],
        "mesh/overview": ["mesh/build.overview"],
    }
    assert all(asset["executable"] for asset in assets.values())


def test_groups_are_domains(assets):
    for key, asset in assets.items():
        assert asset["group"] == key.partition("/")[0]


def test_owners_are_those_of_the_domain(assets):
    assert {owner for asset in assets.values() for owner in asset["owners"]} == {
        "shop@tiny.example",
        "crm@tiny.example",
        "team:mesh",
    }
    assert assets["shop/raw.sales"]["owners"] == ["shop@tiny.example"]
    assert assets["crm/customers"]["owners"] == ["crm@tiny.example"]


def test_products_and_raw_tables_show_description_and_columns(assets):
    orders, sales = assets["shop/orders"], assets["shop/raw.sales"]
    assert orders["description"] == "What was bought. One row per order."
    assert orders["columns"] == {
        "order_id": "bigint",
        "customer_id": "bigint",
        "amount": "decimal(12,2)",
        "sold_at": "timestamptz",
    }
    assert sales["description"] == "One row per sale."
    assert list(sales["columns"]) == ["sale_id", "customer_id", "amount", "sold_at"]


def test_data_tests_unit_tests_and_soda_checks_all_block_publication(described):
    checks = described["checks"]
    assert set(checks) >= {
        "shop/build.stg_sales: not_null_stg_sales_sale_id",
        "shop/build.orders: unit_test_an_order_is_a_sale",
        "shop/orders: order_id__missing",
        "shop/orders: order_id__duplicate",
        "shop/orders: amount__invalid",
        "shop/orders: schema",
        "shop/orders: row_count",
        "shop/orders: metric__rows_against_previous",
        "crm/customers: failed_rows__known",
        "mesh/overview: customers__duplicate",
    }
    # Raw tables keep what they could not take; the audit decides what that means for products.
    # A promise that was broken does not stop what is right.
    assert sorted(check for check, blocks in checks.items() if not blocks) == [
        "shop/orders: promise_refreshed_within_hours",
        "shop/raw.sales: rejected_events",
    ]


def test_a_run_records_rows_snapshots_and_inputs_of_what_it_made(mesh, described):
    made = described["materialized"]
    assert set(made) == {
        "shop/raw.sales",
        "shop/build.stg_sales",
        "shop/build.orders",
        "shop/build.totals",
        "shop/orders",
        "shop/totals",
    }
    [entry] = mesh.history("shop.orders")
    raw, orders = made["shop/raw.sales"], made["shop/orders"]
    assert (raw["rows_landed"], raw["events_rejected"], raw["dagster/row_count"]) == (10, 0, 10)
    assert orders["snapshot_id"] == str(entry["snapshot_id"])
    assert orders["input_snapshots"] == {"shop_raw.sales": raw["snapshot_id"]}
    assert (orders["dagster/row_count"], orders["score"]) == (10, 100)
    assert made["shop/build.orders"]["dagster/row_count"] == 10
    assert orders["target"] == "local"


def test_a_run_is_found_by_its_domain_and_target(described):
    [tags] = described["runs"]
    assert tags["meshhouse/target"] == "local"
    assert tags["meshhouse/domain.shop"] == "true"


def test_the_log_of_a_run_says_why_each_product_is_built(described):
    assert "build shop.orders: never published" in described["said"]
    assert "build shop.totals: never published" in described["said"]


def test_a_run_records_the_outcome_of_every_check(described):
    expected = {check for check in described["checks"] if check.startswith("shop")}
    assert described["evaluated"] == dict.fromkeys(expected, True)


def test_a_failed_check_is_recorded_as_failed_and_the_product_not_as_made(mesh, described):
    mesh.sell(11, amount=-1.0)
    mesh.run("run", "shop", code=1)
    now = describe(mesh)
    expected = dict.fromkeys(described["evaluated"], True)
    # Nobody judges what a candidate would change if its audit failed: the check warns of that.
    unjudged = dict.fromkeys(("shop/orders: compatibility", "shop/totals: compatibility"), False)
    assert now["evaluated"] == {**expected, "shop/orders: amount__invalid": False, **unjudged}
    assert now["materialized"]["shop/raw.sales"]["dagster/row_count"] == 11
    before = described["materialized"]["shop/orders"]
    assert now["materialized"]["shop/orders"] == before


def test_a_run_of_one_product_also_records_those_that_came_with_it(mesh, described):
    mesh.edit(
        "domains/shop/models/staging/stg_sales.sql",
        "from {{ source('shop_raw', 'sales') }}",
        "from {{ source('shop_raw', 'sales') }}\nwhere amount >= 0",
    )
    mesh.run("run", "shop.totals")
    now = describe(mesh)["materialized"]
    for name in ("orders", "totals"):
        [shown, _] = mesh.history(f"shop.{name}")
        assert now[f"shop/{name}"]["snapshot_id"] == str(shown["snapshot_id"])


def test_nothing_is_sent_to_anybody(described):
    assert described["telemetry"] is False
