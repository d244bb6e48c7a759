"""Dagster's page in a real browser: what people see, and what its buttons do.

The tests of this file are one story on one web server.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from meshhouse.catalog import paths
from tests.conftest import Mesh
from tests.support.browser import picture, running_browser, until

SOON = 60_000
"""Milliseconds that a page has for an answer on a busy machine."""
CATALOG = "https://catalog.example/mesh"
ORDERS = "domains/shop/models/products/orders.yml"
CUSTOMERS = "domains/crm/models/products/customers.yml"
STAGING = "domains/shop/models/staging/stg_sales.sql"
FROM = "from {{ source('shop_raw', 'sales') }}"
RUNS = "query { runsOrError(limit: 20) { ... on Runs { results { runId status } } } }"


class Web:
    """The page of a mesh, in one tab."""

    def __init__(self, mesh: Mesh, page: Any, address: str) -> None:
        self.mesh, self.page, self.address = mesh, page, address

    def open(self, path: str) -> Any:
        self.page.goto(self.address + path)
        return self.page

    def ask(self, query: str) -> dict[str, Any]:
        answer = self.page.request.post(f"{self.address}/graphql", data={"query": query})
        return answer.json()["data"]

    def runs(self) -> dict[str, str]:
        """Id -> status of each run, newest first."""
        return {each["runId"]: each["status"] for each in self.ask(RUNS)["runsOrError"]["results"]}

    def ended(self, before: dict[str, str]) -> str:
        """Waits for the run that was not there before; returns its status."""

        def done() -> str | None:
            new = [status for run, status in self.runs().items() if run not in before]
            return next((each for each in new if each in ("SUCCESS", "FAILURE", "CANCELED")), None)

        return until(done, 180)

    def see(self, text: str | re.Pattern[str], exact: bool = False) -> Any:
        """Waits until the page shows a text."""
        found = self.page.get_by_text(text, exact=exact).filter(visible=True).first
        try:
            found.wait_for(timeout=SOON)
        except Exception:
            picture(self.page, "without_it")
            raise
        return found

    def press(self, name: str) -> None:
        """Presses the button of this text."""
        text = re.compile(rf"^\s*{re.escape(name)}\s*$")
        self.page.get_by_role("button").filter(has_text=text).first.click(timeout=SOON)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with running_browser() as running:
        yield running


@pytest.fixture(scope="module")
def web(browser, new_mesh) -> Iterator[Web]:
    """The page of a mesh that `mesh run` published; `customers` will soon be late."""
    mesh = new_mesh()
    mesh.edit(
        ORDERS,
        "description: Who bought.}",
        "description: Who bought., config: {meta: {classification: personal}}}",
    )
    mesh.edit(
        CUSTOMERS,
        "        grain:",
        "        promises: {refreshed_within_hours: 0.017}\n        grain:",
    )
    mesh.sell(*range(10))
    mesh.run("run", environment={"MESH_CATALOG_URL": CATALOG})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = (mesh.root / "dev.log").open("w")
    server = subprocess.Popen(
        mesh.command("dev", "--port", str(port)),
        cwd=mesh.root,
        env={
            **mesh.environment,
            "FRESHNESS_DAEMON_INTERVAL_SECONDS": "5",
            "MESH_CATALOG_URL": CATALOG,
        },
        stdout=told,
        stderr=told,
        start_new_session=True,
    )
    page = browser.new_page(viewport={"width": 1600, "height": 1000})
    web = Web(mesh, page, f"http://127.0.0.1:{port}")

    def loaded() -> bool:
        assert server.poll() is None, (mesh.root / "dev.log").read_text()
        try:
            nodes = web.ask("query { assetNodes { id } }")["assetNodes"]
        except Exception:  # the server does not listen yet
            return False
        return len(nodes) == 12

    try:
        until(loaded, 180)
        yield web
    finally:
        os.killpg(server.pid, signal.SIGINT)
        try:
            server.wait(30)
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGKILL)


def test_the_graph_tells_the_layers_apart(web):
    web.open("/locations/orchestration.definitions/asset-groups/shop/lineage")
    for name in ("raw.sales", "build.stg_sales", "build.orders", "orders"):
        web.see(name, exact=True)
    for kind in ("dbt", "DuckDB", "Iceberg"):
        web.see(kind, exact=True)
    picture(web.page, "graph_of_a_domain")
    web.open("/asset-groups")
    for domain in ("shop", "crm", "mesh"):
        web.see(domain, exact=True)
    picture(web.page, "graph_of_the_mesh")


def test_a_product_shows_its_columns_constraints_and_jobs(web):
    web.open("/assets/shop/orders")
    for text in ("Row count", "unique", "classification: personal", "shop.orders", "run_shop"):
        web.see(text)
    web.see("one row per order_id")
    web.see("Freshness policy")
    picture(web.page, "product")


def test_an_asset_leads_to_its_page_in_the_catalog_and_the_catalog_leads_back(web, monkeypatch):
    web.open("/assets/shop/orders")
    page = f"{CATALOG}/products/shop/orders.html"
    assert web.see(page, exact=True).get_attribute("href") == page
    picture(web.page, "links_to_the_catalog")
    monkeypatch.setenv("MESH_DAGSTER_URL", web.address)
    web.page.goto(paths.topic_asset("shop", "sales"))
    web.see(f"{CATALOG}/topics/shop/sales.html", exact=True)
    web.page.goto(paths.product_asset("shop.orders"))
    web.see("Row count")


def test_a_product_shows_where_its_columns_come_from_and_its_error_budget(web):
    web.open("/assets/shop/orders")
    web.see("error budget left of refreshed_within_hours")
    web.see("first publication")
    web.see("shop_raw.sales.sale_id", exact=True)
    trace = web.page.get_by_role("link", name="order_id", exact=True)
    assert trace.get_attribute("href") == f"{CATALOG}/products/shop/orders.columns.html#order_id"
    picture(web.page, "columns_come_from")


def test_compatibility_and_promises_are_checks(web):
    web.open("/assets/shop/orders?view=checks&checkDetail=compatibility")
    web.see("Nothing to compare with")
    picture(web.page, "check_compatibility")
    web.open("/assets/shop/orders?view=checks&checkDetail=promise_refreshed_within_hours")
    web.see("error budget left")
    picture(web.page, "check_promise")


def test_the_timeline_has_the_run_of_mesh_run(web):
    web.open("/overview/activity/timeline")
    web.see("orchestration.definitions")
    picture(web.page, "timeline")
    web.open("/runs")
    web.see("Success")
    picture(web.page, "runs")


def test_jobs_and_schedules_are_there_and_off(web):
    web.open("/jobs")
    for name in ("run_shop", "run_crm", "run_mesh", "whole_mesh"):
        web.see(name)
    picture(web.page, "jobs")
    web.open("/automation")
    web.see("whole_mesh_every_hour")
    picture(web.page, "automation")


def test_materialising_an_unchanged_product_keeps_what_is_known_of_it(web):
    before = web.runs()
    web.open("/assets/shop/orders")
    web.press("Materialize")
    assert web.ended(before) == "SUCCESS"
    web.open("/assets/shop/orders")
    web.see("Row count")
    web.see("unchanged")
    picture(web.page, "unchanged")
    assert web.mesh.row("select count(*) from shop.orders") == (10,)


def test_executing_one_check_evaluates_that_check(web):
    before = web.runs()
    web.open("/assets/shop/orders?view=checks&checkDetail=order_id__duplicate")
    web.press("Execute")
    assert web.ended(before) == "SUCCESS"
    web.open("/assets/shop/orders?view=checks&checkDetail=order_id__duplicate")
    web.see("Passed")
    picture(web.page, "check_executed")


def test_a_rejected_product_says_what_consumers_see(web):
    web.mesh.sell(11, amount=-1.0)
    before = web.runs()
    web.open("/locations/orchestration.definitions/jobs/run_shop")
    web.press("Materialize all")
    assert web.ended(before) == "FAILURE"
    web.open("/assets/shop/orders?view=checks&checkDetail=amount__invalid")
    web.see("Failed")
    web.see("consumers see")
    web.see("failing rows")
    picture(web.page, "check_failed")
    web.open("/assets/shop/build.orders")
    picture(web.page, "build_of_rejected")
    assert web.mesh.row("select count(*) from shop.orders") == (10,)


def test_a_failed_run_is_executed_again_from_its_failure(web):
    web.mesh.edit(STAGING, FROM, f"{FROM}\nwhere amount >= 0")
    before = web.runs()
    failed = next(run for run, status in before.items() if status == "FAILURE")
    web.open(f"/runs/{failed}")
    web.see("Not published; consumers keep what they had")
    picture(web.page, "run_failed")
    # The menu beside the button, whose name depends on the run.
    web.page.locator("button", has=web.page.get_by_label("arrow_drop_down")).last.click()
    web.see("From failure").click()
    assert web.ended(before) == "SUCCESS"
    picture(web.page, "run_again")


def test_an_asset_turns_red_by_itself_when_nothing_refreshes_it(web):
    web.open("/assets/crm/customers")
    web.see("Freshness policy")
    until(lambda: _is_late(web), 90)
    web.page.reload()
    web.see("Failed")
    picture(web.page, "late")


def test_a_broken_domain_hides_no_other(web):
    web.mesh.write("domains/crm/models/products/bad.yml", "version: 2\nbad: [unclosed\n")
    web.open("/deployment/locations")
    web.press("Reload")
    until(lambda: len(web.ask("query { assetNodes { id } }")["assetNodes"]) < 12, 90)
    web.open("/assets/crm/broken")
    web.see("bad.yml:2")
    picture(web.page, "broken_domain")
    web.open("/assets/shop/orders")
    web.see("Row count")


def _is_late(web: Web) -> bool:
    query = (
        'query { assetNodeOrError(assetKey: {path: ["crm", "customers"]}) '
        "{ ... on AssetNode { freshnessStatusInfo { freshnessStatus } } } }"
    )
    info = web.ask(query)["assetNodeOrError"]["freshnessStatusInfo"]
    return bool(info) and info["freshnessStatus"] == "DEGRADED"
