"""From a deprecation date to the end of a version, and products that nobody declares any more."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

from meshhouse.engines import engine
from meshhouse.maintenance.maintain import maintain
from meshhouse.serve.connection import published
from tests.conftest import Mesh
from tests.support.versioned import PRODUCTS, two_versions

PINNED = "domains/crm/models/staging/stg_shop__orders.sql"


def days_from_now(days: int) -> str:
    return str((datetime.now(UTC) + timedelta(days=days)).date())


def deprecate(mesh: Mesh, until: str) -> None:
    """Gives version 1 of `shop.orders` an end."""
    mesh.edit(f"{PRODUCTS}/orders.yml", "- v: 1\n", f"- v: 1\n        deprecation_date: {until}\n")


def pin_the_reader(mesh: Mesh, version: int) -> None:
    text = (mesh.root / PINNED).read_text()
    mesh.write(PINNED, text.replace("'orders')", f"'orders', v={version})"))
    checks = "columns:\n  - name: customer_id\n    checks:\n      - missing:\n      - duplicate:\n"
    mesh.write("domains/crm/models/products/customers.checks.yml", checks)


def move_the_reader(mesh: Mesh) -> None:
    mesh.write(PINNED, "select order_id, store_id as customer_id, amount\n"
                       "from {{ ref('shop', 'orders', v=2) }}\n")  # fmt: skip


def visible(mesh: Mesh) -> set[str]:
    return {name for name in published(mesh.repository) if name.startswith("shop.")}


def listed(mesh: Mesh, *options: str) -> dict[str, str]:
    found = json.loads(mesh.run("status", "--json", *options).stdout)
    return {each["product"]: each["state"] for each in found}


def test_readers_of_the_latest_version_learn_which_newer_one_to_read(mesh):
    two_versions(mesh, latest=1)
    soon = days_from_now(40)
    deprecate(mesh, soon)
    said = mesh.run("check").stdout
    assert f"ends on {soon}, in 40 days. Read version 2: ref('shop', 'orders', v=2)." in said


def test_a_version_ends_when_its_date_is_past_and_nobody_reads_it(mesh):
    two_versions(mesh)
    pin_the_reader(mesh, 1)
    mesh.sell(1)
    mesh.run("run", "shop", "crm")
    refused = mesh.run("retire", "shop.orders.v1", code=2).stderr
    assert "shop.orders_v1 is still declared (domains/shop/models/products/orders.yml:" in refused

    # Consumers are warned, and nothing fails.
    soon = days_from_now(40)
    deprecate(mesh, soon)
    said = mesh.run("check").stdout
    assert (
        f"{PINNED}:5: warning: stg_shop__orders reads shop.orders_v1, which is deprecated" in said
    )
    assert f"ends on {soon}, in 40 days. Read version 2: ref('shop', 'orders', v=2)." in said
    assert "stg_shop__orders reads shop.orders_v1" in mesh.run("run", "crm").stderr
    assert "stg_shop__orders" not in mesh.run("run", "shop").stderr
    assert f"was promised until {soon}" in mesh.run("retire", "shop.orders_v1", code=2).stderr

    # Past the date it is an error for the provider while a domain reads it.
    past = days_from_now(-1)
    mesh.edit(f"{PRODUCTS}/orders.yml", soon, past)
    assert f"is retired on {past} instead of {soon}." in mesh.run("run", "shop", code=1).stderr
    assert "Y2:deprecation_date" in mesh.run("diff", "shop", code=1).stdout
    assert (
        "is not published. Run `mesh run shop`"
        in mesh.run("retire", "shop.orders.v1", code=2).stderr
    )
    mesh.run(
        "waive", "shop.orders.v1", "Y2:deprecation_date", "--because", "Days pass faster in tests.",
        "--owner", "Shop team <shop@tiny.example>", "--until", soon, "--consent", "crm",
    )  # fmt: skip
    problem = f"shop.orders_v1 was promised until {past}, and is still read: crm (stg_shop__orders)"
    found = mesh.run("check", code=1).stdout
    assert re.search(rf"{PRODUCTS}/orders.yml:\d+: {re.escape(problem)}.", found), found
    assert problem in mesh.run("run", "shop").stderr
    refused = mesh.run("retire", "shop.orders.v1", code=1).stderr
    assert "shop.orders_v1 is still read, so it was not retired: crm (stg_shop__orders)" in refused
    assert "shop.orders_v1" in visible(mesh)

    # When the last reader has moved, the next run retires it.
    move_the_reader(mesh)
    assert "mesh confirm crm.customers S10:spent" in mesh.run("check", code=1).stdout
    mesh.run("run", "crm", "--confirm", "The store is the customer now.")
    assert "retired" in mesh.run("run", "shop").stderr
    assert visible(mesh) == {"shop.orders", "shop.orders_v2"}
    assert mesh.history("shop.orders.v1")[0]["kind"] == "retire"
    assert listed(mesh)["shop.orders_v1"] == "retired"
    assert re.search(r"shop\.orders_v1 +1 +- ", mesh.run("status").stdout)
    mesh.sell(2)
    said = mesh.run("run", "shop").stderr
    assert "shop.orders_v1: consumers no longer find it; remove it from the decl" in said
    assert visible(mesh) == {"shop.orders", "shop.orders_v2"}
    assert mesh.row("select count(*) from shop.orders") == (2,)
    refused = mesh.run("retire", "--undo", "shop.orders_v1", code=2).stderr
    assert "Set a later date in domains/shop/models/products/orders.yml:" in refused
    mesh.edit(f"{PRODUCTS}/orders.yml", past, days_from_now(40))
    mesh.run("retire", "--undo", "shop.orders_v1")
    assert mesh.row("select count(*) from shop.orders_v1") == (1,)
    mesh.run("run", "shop")
    assert mesh.row("select count(*) from shop.orders_v1") == (2,)
    mesh.run("doctor")


def test_a_product_that_was_removed_is_retired_and_comes_back(mesh):
    mesh.sell(1)
    mesh.run("run", "shop")
    mesh.run("land", "shop")
    for path in (mesh.root / PRODUCTS).glob("totals*"):
        path.unlink()
    assert listed(mesh)["shop.totals"] == "not declared"
    done = mesh.run("retire", "shop.totals")
    assert "Retired shop.totals: consumers no longer find it." in done.stdout + done.stderr
    assert "shop.totals" not in visible(mesh)
    assert mesh.run("sql", "select * from shop.totals", code=None).returncode != 0
    assert listed(mesh)["shop.totals"] == "retired"
    assert [each["kind"] for each in mesh.history("shop.totals")] == ["retire", "publish"]
    again = mesh.run("retire", "shop.totals", code=2).stderr
    assert "shop.totals is retired already. `mesh retire --undo shop.totals`" in again

    mesh.run("maintain")
    mesh.run("retire", "--undo", "shop.totals")
    assert mesh.row("select orders from shop.totals") == (1,)
    assert listed(mesh)["shop.totals"] == "not declared"
    assert "is not retired" in mesh.run("retire", "--undo", "shop.totals", code=2).stderr
    mesh.run("doctor")


def test_maintenance_removes_what_was_retired_before_the_notice_period(mesh):
    mesh.sell(1)
    mesh.run("run", "shop")
    for path in (mesh.root / PRODUCTS).glob("totals*"):
        path.unlink()
    mesh.run("retire", "shop.totals")
    lake = engine(mesh.repository).lake
    folder = mesh.home / "lake/shop/totals"
    maintain(lake, (), timedelta(0), timedelta(0))
    assert any(folder.rglob("*.parquet"))
    maintain(lake, (), timedelta(0), timedelta(0), retired_before=datetime.now(UTC))
    assert not any(folder.rglob("*.parquet"))
    assert not [name for name in lake.states() if "totals" in name]
    kept = mesh.run("retire", "--undo", "shop.totals", code=1).stderr
    assert "The files of shop.totals are no longer kept" in kept
    assert listed(mesh)["shop.totals"] == "retired"
    mesh.run("doctor")


def test_a_retired_table_ends_though_its_product_is_published_again(mesh):
    mesh.sell(1)
    mesh.run("run", "shop")
    files = {path: path.read_text() for path in (mesh.root / PRODUCTS).glob("totals*")}
    for path in files:
        path.unlink()
    mesh.run("retire", "shop.totals")
    retired = json.loads(mesh.run("status", "--json").stdout)
    assert [each["version"] for each in retired if each["product"] == "shop.totals"] == [1]
    for path, text in files.items():
        path.write_text(text)
    mesh.run("run", "shop")
    assert listed(mesh)["shop.totals"] == "declared"
    lake = engine(mesh.repository).lake
    assert [name for name in lake.states() if name.startswith("shop_retired.totals")]
    maintain(lake, (), timedelta(0), timedelta(0), retired_before=datetime.now(UTC))
    assert not [name for name in lake.states() if name.startswith("shop_retired.totals")]
    assert mesh.row("select orders from shop.totals") == (1,)
    mesh.run("doctor")


def test_undo_by_the_plain_name_brings_back_only_the_version_that_is_retired(mesh):
    two_versions(mesh)
    mesh.write(PINNED, "select 1 as order_id, 2 as customer_id, 3 as amount\n")  # reads no product
    mesh.sell(1)
    mesh.run("run", "shop")
    for path in (mesh.root / PRODUCTS).glob("orders*"):
        path.unlink()
    mesh.run("retire", "shop.orders_v2")
    mesh.run("retire", "--undo", "shop.orders")
    assert {"shop.orders", "shop.orders_v1", "shop.orders_v2"} <= visible(mesh)
    mesh.run("retire", "shop.orders_v1")
    mesh.run("retire", "shop.orders_v2")
    both = mesh.run("retire", "--undo", "shop.orders", code=2).stderr
    assert "Several versions are retired. Name one: shop.orders_v1, shop.orders_v2." in both


def test_a_broken_domain_that_may_read_a_product_keeps_it(mesh):
    mesh.sell(1)
    mesh.run("run", "shop")
    for path in (mesh.root / PRODUCTS).glob("totals*"):
        path.unlink()
    mesh.write("domains/crm/models/products/customers.yml", "models: [\n")
    assert "crm cannot be read" in mesh.run("retire", "shop.totals", code=1).stderr
    assert "shop.totals" in visible(mesh)


def test_a_reader_of_the_name_without_a_number_keeps_the_latest_version(mesh):
    two_versions(mesh)
    mesh.sell(1)
    mesh.run("run", "shop")
    for path in (mesh.root / PRODUCTS).glob("orders*"):
        path.unlink()
    refused = mesh.run("retire", "shop.orders_v2", code=1).stderr
    assert "shop.orders_v2 is still read, so it was not retired: crm (stg_shop__orders)" in refused
    assert "shop.orders" in visible(mesh)


def test_misuse_is_said(mesh):
    trial = mesh.run("retire", "shop.orders", code=2, environment={"MESH_ENV": "trial"}).stderr
    assert "in the environment trial, consumers would find production's table again" in trial
    assert "names no product" in mesh.run("retire", "shop", code=2).stderr
    assert "nothing to retire" in mesh.run("retire", "shop.nothing", code=2).stderr
    assert "nothing to retire" in mesh.run("retire", "shop.orders", code=2).stderr
