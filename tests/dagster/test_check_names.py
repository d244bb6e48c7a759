"""Checks whose names Dagster would take for one, or refuse, run and are distinguished."""

from __future__ import annotations

import json

from meshhouse.dagster.checks import soda_check_specs
from tests.conftest import Mesh

PRODUCTS = "domains/shop/models/products"


def test_names_that_dagster_would_join_or_refuse_do_not_stop_a_run(mesh: Mesh):
    # `orders` with the check `total_orders__missing`, `orders_total` with `orders__missing`.
    for suffix in ("sql", "yml", "checks.yml"):
        totals = mesh.root / f"{PRODUCTS}/totals.{suffix}"
        text = totals.read_text().replace("name: totals", "name: orders_total")
        totals.unlink()
        mesh.write(f"{PRODUCTS}/orders_total.{suffix}", text)
    mesh.edit(
        f"{PRODUCTS}/orders_total.checks.yml", "- duplicate:", "- duplicate:\n      - missing:"
    )
    mesh.edit(f"{PRODUCTS}/orders.sql", "as customer_id", "as total_orders")
    mesh.edit(f"{PRODUCTS}/orders.yml", "name: customer_id, data", "name: total_orders, data")
    mesh.edit(f"{PRODUCTS}/orders.yml", "customer_id: 2, amount", "total_orders: 2, amount")
    mesh.edit(f"{PRODUCTS}/orders.yml", "sale_id: 1, total_orders", "sale_id: 1, customer_id")
    mesh.edit(
        f"{PRODUCTS}/orders.checks.yml",
        "checks:\n  - schema:",
        "  - name: total_orders\n    checks:\n      - missing:\nchecks:\n  - schema:",
    )
    mesh.edit(
        "domains/shop/models/staging/stg_sales.yml",
        "[not_null]",
        "[not_null: {name: größer-als.0}, unique: {name: unit_test_x}]",
    )
    mesh.write(
        "domains/shop/models/staging/unit.yml",
        "version: 2\nunit_tests:\n  - name: x\n    model: stg_sales\n"
        "    given:\n      - input: source('shop_raw', 'sales')\n        rows: [{sale_id: 1}]\n"
        "    expect: {rows: [{sale_id: 1}]}\n",
    )
    mesh.sell(1, 2)
    assert mesh.run("check", code=None).stdout == ""
    done = json.loads(mesh.run("run", "shop", "--json").stdout)
    assert sorted(each["product"] for each in done["published"]) == [
        "shop.orders",
        "shop.orders_total",
    ]


def test_derived_checks_are_asset_checks_without_a_checks_file(mesh: Mesh):
    (mesh.root / f"{PRODUCTS}/orders.checks.yml").unlink()
    keys = [each.key for each in soda_check_specs(mesh.repository.domain("shop"))]
    of_orders = {each.name for each in keys if each.asset_key.path == ["shop", "orders"]}
    assert of_orders == {"order_id__duplicate", "row_count", "schema",
                         "metric__rows_against_previous"}  # fmt: skip
