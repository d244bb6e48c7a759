"""What Dagster shows of the assets themselves: layers, columns, lineage, freshness, jobs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.conftest import Mesh
from tests.dagster.test_definitions import describe

ORDERS = "domains/shop/models/products/orders"
STAGING = "domains/shop/models/staging/stg_sales"


@pytest.fixture(scope="module")
def mesh(new_mesh) -> Mesh:
    """A mesh with more declared, whose domain shop has published."""
    mesh = new_mesh()
    mesh.edit(
        f"{ORDERS}.yml",
        "description: Who bought.}",
        "description: Who bought., constraints: [{type: not_null}], "
        "config: {meta: {classification: personal}}}",
    )
    mesh.edit(
        f"{ORDERS}.yml", "      meta:\n", "      tags: [daily, a b]\n      meta:\n        wiki: x\n"
    )
    mesh.edit(
        f"{STAGING}.yml",
        "        data_tests: [not_null]",
        "        data_type: bigint\n"
        "        data_tests: [not_null, unique]\n"
        "      - name: amount\n"
        "        data_tests: [{not_null: {config: {severity: warn}}}]\n"
        "      - name: customer_id\n"
        "        config: {meta: {classification: personal}}",
    )
    mesh.edit(
        "domains/shop/models/topics.yml",
        "    schema: shop_raw\n",
        "    schema: shop_raw\n    config: {freshness: {warn_after: {count: 12, period: hour}, "
        "error_after: {count: 2, period: day}}}\n",
    )
    # The step of a domain names its outputs with an underscore where a key has a dot.
    mesh.write("domains/shop/models/products/build_orders.sql", "select 1 as one, 2 as two")
    text = (mesh.root / "domains/shop/models/products/totals.yml").read_text()
    text = text.replace("totals", "build_orders").partition("    columns:")[0]
    text = text.replace("grain: [orders]", "grain: [one, two]")
    columns = "    columns:\n" + "".join(
        f"      - {{name: {each}, data_type: int, description: A number.}}\n"
        for each in ("one", "two")
    )
    mesh.write("domains/shop/models/products/build_orders.yml", text + columns)
    checks = "checks:\n  - duplicate: {columns: [one, two]}\n"
    mesh.write("domains/shop/models/products/build_orders.checks.yml", checks)
    mesh.sell(*range(10))
    mesh.run("run", "shop.orders")
    return mesh


@pytest.fixture(scope="module")
def described(mesh: Mesh) -> dict:
    return describe(mesh)


@pytest.fixture(scope="module")
def assets(described: dict) -> dict[str, dict]:
    return described["assets"]


def test_the_last_part_of_a_key_tells_the_layers_apart(assets):
    """A graph shows that part only, at every zoom."""
    last = [key.rpartition("/")[2] for key in assets if key.startswith("shop/")]
    assert sorted(last) == [
        "build..orders", "build.build_orders", "build.stg_sales", "build.totals",
        "build_orders", "orders", "raw.sales", "totals",
    ]  # fmt: skip
    layers = {key: asset["tags"]["meshhouse/layer"] for key, asset in assets.items()}
    assert layers["shop/raw.sales"] == "raw"
    assert layers["shop/build..orders"] == "build"
    assert layers["shop/orders"] == "product"


def test_kinds_say_what_builds_and_what_stores(assets):
    assert assets["shop/raw.sales"]["kinds"] == ["iceberg"]
    assert assets["shop/build.stg_sales"]["kinds"] == ["dbt", "duckdb"]
    assert assets["shop/orders"]["kinds"] == ["iceberg"]


def test_storage_is_a_name_that_a_person_can_query(mesh, assets):
    assert assets["shop/orders"]["table"] == "shop.orders"
    assert assets["shop/build.stg_sales"]["table"] is None, "only dbt reads the file of builds"
    assert mesh.query(f"select * from {assets['shop/orders']['table']}")
    # Under this name every client of the lake's catalog finds it.
    assert assets["shop/raw.sales"]["table"] == "shop_raw.sales"


def test_columns_show_constraints_and_classification(assets):
    orders = assets["shop/orders"]
    assert orders["constraints"]["order_id"] == ["unique"]
    assert orders["constraints"]["customer_id"] == ["not null"]
    assert orders["column tags"] == {"customer_id": {"classification": "personal"}}
    assert orders["one row per"] == ["one row per order_id"]
    raw = assets["shop/raw.sales"]["constraints"]
    assert (raw["sale_id"], raw["amount"]) == (["not null"], [])


def test_builds_show_what_their_tests_and_contracts_promise(assets):
    staged = assets["shop/build.stg_sales"]
    assert staged["constraints"]["sale_id"] == ["not null", "unique"]
    assert staged["columns"]["sale_id"] == "bigint"
    assert staged["constraints"]["amount"] == [], "a test that only warns promises nothing"
    assert staged["column tags"] == {"customer_id": {"classification": "personal"}}
    built = assets["shop/build..orders"]
    assert built["constraints"]["customer_id"] == ["not null"]
    assert built["constraints"]["order_id"] == ["unique"]


def test_a_grain_of_several_columns_makes_none_of_them_unique(assets):
    made = assets["shop/build_orders"]
    assert made["one row per"] == ["one row per one, two"]
    assert made["constraints"] == {"one": [], "two": []}


def test_dbt_tags_and_the_authors_own_meta_are_shown(assets):
    for key in ("shop/orders", "shop/build..orders"):
        assert "daily" in assets[key]["tags"]
        assert assets[key]["meta"] == {"wiki": "x"}
    assert assets["shop/totals"]["meta"] is None


def test_column_lineage_leads_to_raw_tables_and_products(mesh, described):
    lineage = described["materialized"]["shop/orders"]["dagster/column_lineage"]
    assert lineage["amount"] == ["shop/raw.sales: amount"]
    assert lineage["order_id"] == ["shop/raw.sales: sale_id"]


def test_a_promise_is_a_freshness_policy(assets):
    assert assets["shop/orders"]["fresh"] == 24
    assert assets["shop/totals"]["fresh"] is None


def test_a_policy_has_whole_seconds_so_that_the_page_shows_it(mesh):
    """With 61.2 s, the page hid the policy."""
    from meshhouse.dagster.freshness import product_freshness, source_policy

    shop = mesh.repository.domain("shop")
    promising = replace(shop.products[0], promises={"refreshed_within_hours": 0.017})
    policy = product_freshness(mesh.repository, promising)
    assert policy.fail_window.to_timedelta() == timedelta(seconds=61)
    [raw] = shop.raw_tables
    policy = source_policy(mesh.repository, replace(raw, error_after=timedelta(seconds=90.4)))
    assert policy.fail_window.to_timedelta() == timedelta(seconds=90)


def test_a_promise_that_no_run_can_measure_says_why(mesh):
    """Its check is never evaluated, and grey on the page."""
    from meshhouse.dagster.promises import promise_specs

    shop = mesh.repository.domain("shop")
    promises = {"retention_days": 30, "refreshed_within_hours": 24}
    product = replace(shop.products[0], promises=promises)
    fresh, kept = promise_specs(replace(shop, products=(product,)))
    assert fresh.description.endswith("Every run measures it.")
    assert kept.description.endswith("until `promises.retained_on` is declared as well.")


def test_freshness_of_a_dbt_source_is_a_policy_and_a_check(described):
    assert described["assets"]["shop/raw.sales"]["fresh"] == 48
    assert described["checks"]["shop/raw.sales: source_freshness"] is False, "it stops nothing"
    assert described["evaluated"]["shop/raw.sales: source_freshness"] is True


@pytest.mark.parametrize(
    ("hours", "passed", "severity"), [(1, True, "WARN"), (13, False, "WARN"), (49, False, "ERROR")]
)
def test_old_events_warn_and_then_fail(mesh, hours, passed, severity):
    from meshhouse.dagster.freshness import source_check
    from meshhouse.dagster.keys import raw_key

    [raw] = mesh.repository.domain("shop").raw_tables
    now = datetime(2026, 1, 10, tzinfo=UTC)
    result = source_check(raw_key(raw), raw, now - timedelta(hours=hours), now)
    assert (result.passed, result.severity.name) == (passed, severity)
    assert source_check(raw_key(raw), raw, None, now).severity.name == "ERROR"


def test_each_domain_and_the_whole_mesh_have_a_job(described):
    jobs = described["jobs"]
    assert jobs["run_crm"] == ["crm/build.customers", "crm/build.stg_shop__orders", "crm/customers"]
    assert {"run_shop", "run_mesh", "whole_mesh"} < set(jobs)
    assert set(jobs["whole_mesh"]) == set(described["assets"])


def test_schedules_are_off_until_somebody_switches_them_on(described):
    assert described["schedules"] == {
        "maintenance_every_night": ["maintenance", "STOPPED"],
        "whole_mesh_every_hour": ["whole_mesh", "STOPPED"],
    }


def test_checks_of_a_raw_table_alone_land_nothing(mesh):
    from tests.dagster.test_buttons import press

    mesh.sell(99)
    wanted = ["shop/raw.sales: rejected_events", "shop/raw.sales: source_freshness"]
    [done] = press(mesh, {"checks": wanted})
    assert (done["status"], sorted(done["checks"]), done["made"]) == ("SUCCESS", wanted, {})
    assert done["checks"][wanted[0]]["events"] == 10
