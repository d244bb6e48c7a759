"""Promises are measured in every run, kept in the ledger, and shown with their error budgets."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from meshhouse.engines import engine
from meshhouse.runs.objectives import statuses_now
from tests.conftest import Mesh

PROMISES = (
    "{refreshed_within_hours: 24, completeness_percent: 90, latency_minutes: 60, "
    "availability_percent: 95, retention_days: 100000, retained_on: sold_at}"
)


@pytest.fixture
def promising(mesh: Mesh) -> Mesh:
    mesh.edit("domains/shop/models/products/orders.yml", "{refreshed_within_hours: 24}", PROMISES)
    mesh.sell(1, 2)
    mesh.run("run", "shop")
    return mesh


def objectives(mesh: Mesh) -> dict[str, dict]:
    shown = json.loads(mesh.run("show", "shop.orders", "--json").stdout)["objectives"]
    return {each["objective"]: each for each in shown}


def entries(mesh: Mesh) -> list[dict]:
    return [
        each
        for each in engine(mesh.repository).ledger.entries("objectives", "shop")
        if each["product"] == "orders"
    ]


def test_a_publication_is_measured_and_shown(promising):
    shown = objectives(promising)
    assert list(shown) == [
        "refreshed_within_hours", "completeness_percent", "latency_minutes", "retention_days",
        "availability_percent",
    ]  # fmt: skip
    assert shown["refreshed_within_hours"]["measured"] == 0
    assert shown["completeness_percent"]["measured"] == 100
    assert shown["retention_days"]["measured"] > 3000  # sold in 2017
    assert 0 <= shown["latency_minutes"]["measured"] < 60
    assert shown["availability_percent"]["measured"] == 100
    assert shown["refreshed_within_hours"]["budget_left_percent"] == 100
    assert "error budget left" in promising.run("show", "shop.orders").stdout
    status = json.loads(promising.run("status", "--json").stdout)
    [listed] = [each["objectives"] for each in status if each["product"] == "shop.orders"]
    assert {each["objective"] for each in listed} == set(shown)


def test_an_unchanged_run_refreshes_and_a_failed_one_does_not(promising):
    promising.run("run", "shop")
    kept = [each for each in entries(promising) if each["objective"] == "refreshed_within_hours"]
    assert [each["met"] for each in kept] == [True, True]
    publications = engine(promising.repository).ledger.entries("publications", "shop")
    assert kept[0]["number"] == publications[0]["number"]  # in one commit
    assert kept[1]["started_at"] == kept[1]["finished_at"]
    promising.edit(
        "domains/shop/models/products/orders.checks.yml",
        "\nchecks:\n",
        "\nchecks:\n  - failed_rows: {name: none, expression: 1 = 1, qualifier: none}\n",
    )
    promising.run("run", "shop", code=1)
    last = [each for each in entries(promising) if each["objective"] == "refreshed_within_hours"]
    assert last[2]["started_at"] == kept[1]["started_at"]


def test_only_recent_entries_are_read(promising):
    ledger = engine(promising.repository).ledger
    now = datetime.now(UTC)
    every = ledger.entries("objectives", "shop")
    assert every
    assert ledger.entries("objectives", "shop", now - timedelta(days=1)) == every
    assert ledger.entries("objectives", "shop", now + timedelta(days=1)) == []


def test_an_environment_keeps_no_promises(promising):
    before = len(entries(promising))
    promising.sell(3)
    promising.run("run", "shop", environment={"MESH_ENV": "ann"})
    assert len(entries(promising)) == before
    shown = promising.run("show", "shop.orders", "--json", environment={"MESH_ENV": "ann"})
    assert json.loads(shown.stdout)["objectives"][0]["measured"] == 0


def test_the_age_of_a_product_that_no_run_measured_for_long_is_measured_now(promising):
    repository = promising.repository
    product = repository.product("shop.orders")
    later = datetime.now(UTC) + timedelta(days=40)
    found = statuses_now(engine(repository).ledger, [product], later, "shop")["shop.orders"]
    fresh, available = found
    assert fresh.last.objective == "refreshed_within_hours"
    assert fresh.last.measured == pytest.approx(40 * 24, abs=1)
    assert (fresh.last.met, fresh.budget.left_percent) == (False, 0.0)
    assert (available.last.objective, available.last.met) == ("availability_percent", False)
