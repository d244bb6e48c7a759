"""One product runs with those of its domain that it is made of, and with nothing else."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Mesh

SAME_ORDERS = """\
  - metric:
      name: Orders that the totals lack
      qualifier: same_orders
      query: select (select orders from shop.totals) - (select count(*) from shop.orders)
      threshold: {must_be: 0}
"""


def run(mesh: Mesh, *arguments: str, code: int = 0) -> dict:
    return json.loads(mesh.run("run", "--json", *arguments, code=code).stdout)


def published(summary: dict) -> list[str]:
    return sorted(each["product"] for each in summary["published"])


def status(mesh: Mesh) -> dict[str, dict]:
    return {each["product"]: each for each in json.loads(mesh.run("status", "--json").stdout)}


def dagster_runs(mesh: Mesh) -> int:
    return len(list((mesh.home / "dagster" / "history" / "runs").glob("*-*.db")))


@pytest.fixture(scope="module")
def mesh(new_mesh) -> Mesh:
    """A mesh that has published shop, after which one more order came."""
    mesh = new_mesh()
    mesh.sell(*range(10))
    mesh.run("run", "shop")
    mesh.sell(10)
    return mesh


@pytest.fixture(scope="module")
def alone(mesh: Mesh) -> dict:
    """The product that is made of no other ran."""
    return {"before": status(mesh), **run(mesh, "shop.orders"), "after": status(mesh)}


def test_a_product_that_uses_no_other_runs_alone_and_the_status_says_so(alone):
    assert published(alone) == ["shop.orders"]
    before, after = alone["before"], alone["after"]
    assert after["shop.totals"] == before["shop.totals"]
    assert after["shop.orders"]["refreshed_at"] > before["shop.orders"]["refreshed_at"]


@pytest.fixture(scope="module")
def checked(mesh: Mesh, alone: dict) -> Mesh:
    """Checks of both products read the other one."""
    for name in ("orders", "totals"):
        path = mesh.root / f"domains/shop/models/products/{name}.checks.yml"
        path.write_text(path.read_text() + SAME_ORDERS)
    mesh.sell(11)
    return mesh


def test_what_its_checks_read_runs_with_it(checked):
    assert published(run(checked, "shop.orders")) == ["shop.orders", "shop.totals"]
    assert checked.row("select orders from shop.totals") == (12,)


def test_what_it_is_made_of_runs_with_it(checked):
    checked.sell(12)
    assert published(run(checked, "shop.totals")) == ["shop.orders", "shop.totals"]


def test_nothing_new_is_known_without_starting_the_orchestrator(checked):
    before = dagster_runs(checked)
    assert before > 0
    first = status(checked)["shop.totals"]["refreshed_at"]
    summary = run(checked, "shop.orders")
    assert (summary["published"], summary["failed"], summary["not_run"]) == ([], [], [])
    assert sorted(summary["unchanged"]) == ["shop.orders", "shop.totals"]
    assert dagster_runs(checked) == before
    assert status(checked)["shop.totals"]["refreshed_at"] > first


def test_force_is_for_the_named_product_alone(checked):
    summary = run(checked, "shop.orders", "--force")
    assert published(summary) == ["shop.orders"]
    assert summary["unchanged"] == ["shop.totals"]


def test_a_failing_run_is_no_failure_of_what_is_unchanged(checked):
    checked.edit("domains/shop/models/products/totals.sql", "count(*)", "count(no_column)")
    done = checked.run("run", "shop", code=1)
    assert "0 products published, 1 unchanged, 1 domain failed" in done.stderr
    now = status(checked)
    assert now["shop.orders"]["last_run"] == "unchanged"
    assert now["shop.totals"]["last_run"] == "failed"


def test_a_rejected_run_names_those_that_were_rejected(checked):
    checked.edit("domains/shop/models/products/totals.sql", "count(no_column)", "count(*) + 1")
    path = "domains/shop/models/products/orders.checks.yml"
    checked.edit(path, SAME_ORDERS, "")
    checked.run("run", "shop", code=1)
    now = status(checked)
    assert now["shop.totals"]["last_run"] == "rejected"
    assert now["shop.orders"]["last_run"] == "not published"
