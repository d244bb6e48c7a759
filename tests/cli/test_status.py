"""`mesh status` prints facts about each product, not about its domain."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from meshhouse.engines import engine
from meshhouse.lake import Lake
from meshhouse.lake import ledger as lake_ledger
from meshhouse.lake.ledger import LakeLedger
from meshhouse.ledger import LEDGERS, Ledger
from meshhouse.runs.status import ProductStatus, leftovers, product_statuses
from tests.conftest import Mesh

START = datetime(2017, 1, 1, tzinfo=UTC)


def at(hour: int) -> datetime:
    return START + timedelta(hours=hour)


@pytest.fixture
def ledger(mesh: Mesh) -> Ledger:
    return LakeLedger(Lake(mesh.home))


def publication(product: str, hour: int, kind: str = "publish") -> dict[str, Any]:
    return {
        "domain": "shop",
        "product": product,
        "kind": kind,
        "rows": hour,
        "score": 100,
        "finished_at": at(hour),
    }


def run(hour: int, outcome: str, **products: str) -> dict[str, Any]:
    """A run of shop; without products, an old run that did not record them."""
    entry = {"domain": "shop", "outcome": outcome, "finished_at": at(hour)}
    return {**entry, "products": products} if products else entry


def keep(ledger: Ledger, publications: list[dict] = (), runs: list[dict] = ()) -> None:
    """Records entries in the order of their times, because the order of commits counts."""
    entries = [("publications", each) for each in publications] + [("runs", each) for each in runs]
    for name, entry in sorted(entries, key=lambda each: each[1]["finished_at"]):
        ledger.commit([], {name: [entry]})


def statuses(mesh: Mesh, ledger: Ledger) -> dict[str, ProductStatus]:
    return {each.product.relation: each for each in product_statuses(mesh.repository, ledger)}


def test_a_run_of_one_product_refreshes_no_other(mesh, ledger):
    keep(
        ledger,
        [publication("orders", 1), publication("totals", 1), publication("orders", 5)],
        [run(1, "published", orders="published", totals="published"),
         run(5, "published", orders="published")],
    )  # fmt: skip
    found = statuses(mesh, ledger)
    assert found["shop.orders"].refreshed_at == at(5)
    assert found["shop.totals"].refreshed_at == at(1)
    assert found["shop.totals"].freshness(at(30)) == "no promise"
    assert found["shop.orders"].freshness(at(30)) == "late"


def test_a_failed_run_says_of_each_product_what_became_of_it(mesh, ledger):
    keep(
        ledger,
        [publication("orders", 1), publication("totals", 1)],
        [run(1, "published", orders="published", totals="published"),
         run(5, "failed", orders="unchanged", totals="failed")],
    )  # fmt: skip
    found = statuses(mesh, ledger)
    assert (found["shop.orders"].last_run, found["shop.totals"].last_run) == ("unchanged", "failed")
    assert found["shop.orders"].refreshed_at == at(5)
    assert found["shop.totals"].refreshed_at == at(1)
    assert found["crm.customers"].last_run is None


def test_runs_of_before_products_were_recorded_count_for_the_whole_domain(
    mesh, ledger, monkeypatch
):
    keep(ledger, [publication("orders", 1), publication("totals", 1)])
    before = tuple(column for column in LEDGERS["runs"] if column[0] != "products")
    with monkeypatch.context() as patch:
        patch.setattr(lake_ledger, "LEDGERS", {**LEDGERS, "runs": before})
        keep(ledger, runs=[{**run(2, "published"), "run_id": "old"}])
    assert "products" not in ledger.entries("runs")[0]
    assert {each.refreshed_at for each in statuses(mesh, ledger).values()} == {None, at(2)}
    keep(ledger, runs=[run(5, "published", orders="published")])
    found = statuses(mesh, ledger)
    assert found["shop.orders"].refreshed_at == at(5)
    assert found["shop.totals"].refreshed_at == at(2)
    assert found["shop.totals"].last_run == "published"


def test_a_rollback_is_shown_and_does_not_refresh(mesh, ledger):
    keep(
        ledger,
        [publication("orders", 1), publication("orders", 5), publication("orders", 6, "rollback")],
        [run(1, "published", orders="published"),
         run(5, "published", orders="published"),
         run(7, "unchanged", orders="held back")],
    )  # fmt: skip
    orders = statuses(mesh, ledger)["shop.orders"]
    assert orders.rolled_back
    assert (orders.published_at, orders.refreshed_at) == (at(1), at(1))
    assert orders.last_run == "held back"
    [line] = [each for each in mesh.run("status").stdout.splitlines() if "shop.orders" in each]
    assert "ago, rolled back" in line
    keep(ledger, [publication("orders", 8)])
    assert not statuses(mesh, ledger)["shop.orders"].rolled_back


def test_json_has_all_of_it(mesh, ledger):
    keep(ledger, [publication("orders", 1)], [run(1, "published", orders="published")])
    [orders] = [
        each
        for each in json.loads(mesh.run("status", "--json").stdout)
        if each["product"] == "shop.orders"
    ]
    assert orders["rolled_back"] is False
    assert orders["last_run"] == "published"


def test_a_narrow_terminal_shows_whole_names_and_says_what_it_leaves_out():
    from meshhouse.cli.output import fitting

    columns = ["product", "version", "rows", "promise"]
    rows = [["merchandising.weekly_category_sales", 1, 1_234_567, "no promise"]]
    kept, shown, left_out = fitting(columns, rows, ["version", "promise"], 60)
    assert (kept, left_out) == (["product", "rows", "promise"], ["version"])
    assert shown == [["merchandising.weekly_category_sales", 1_234_567, "no promise"]]
    assert fitting(columns, rows, ["version"], None) == (columns, rows, [])


@pytest.mark.parametrize("hours", [".inf", "-1", "1.0e+30"])
def test_an_impossible_promise_of_one_domain_leaves_the_status_of_others(new_mesh, hours):
    mesh = new_mesh()
    declared = "domains/crm/models/products/customers.yml"
    text = (mesh.root / declared).read_text()
    assert "grain:" in text
    promise = f"promises: {{refreshed_within_hours: {hours}}}\n        grain:"
    mesh.write(declared, text.replace("grain:", promise, 1))
    done = mesh.run("status", "--json")
    assert "`refreshed_within_hours` is" in done.stderr
    assert "shop.orders" in done.stdout


def test_status_reads_heads_and_no_history(mesh, ledger, monkeypatch):
    keep(
        ledger,
        [publication("orders", 1), publication("gone", 2)],
        [run(1, "published", orders="published"), run(2, "published", gone="published")],
    )
    read, rows = [], lake_ledger._rows

    def noted(location: str, *arguments: Any) -> list[dict[str, Any]]:
        read.append(location)
        return rows(location, *arguments)

    monkeypatch.setattr(lake_ledger, "_rows", noted)
    chosen = engine(mesh.repository)
    found = product_statuses(mesh.repository, chosen.ledger, chosen.lake)
    assert leftovers(mesh.repository, chosen) == []  # it is not in the catalog
    assert {each.product.relation for each in found if each.published_at} == {"shop.orders"}
    assert read
    assert {*read} == {chosen.lake.state("meshhouse.heads")}


def test_status_follows_commits_although_the_clock_goes_back(mesh, ledger):
    for hour, name in ((9, "published"), (5, "published"), (1, "failed")):
        entries = {"runs": [run(hour, name, orders=name)]}
        if name == "published":
            entries["publications"] = [{**publication("orders", hour), "version": 1}]
        ledger.commit([], entries)
    orders = statuses(mesh, ledger)["shop.orders"]
    assert (orders.published_at, orders.rows, orders.refreshed_at) == (at(5), 5, at(5))
    assert orders.last_run == "failed"
    ledger.commit([], {"publications": [publication("orders", 0, "rollback")]})
    orders = statuses(mesh, ledger)["shop.orders"]
    assert (orders.published_at, orders.rows, orders.rolled_back) == (at(9), 9, True)
    assert ledger.heads()["shop.orders"].previous is None
