"""A run that failed is shown as failed, whatever it failed of.

Belongs here: failures before dbt starts, in dbt, and of the mesh itself. Not here: what a failed
run leaves for consumers (test_refused.py).
"""

from __future__ import annotations

import json

import pytest

from meshhouse.lake import Lake
from meshhouse.lake.ledger import LakeLedger
from meshhouse.runs import run as runs
from tests.conftest import Mesh

STAGING = "domains/crm/models/staging/stg_shop__orders.sql"


@pytest.fixture(scope="module")
def published(new_mesh) -> Mesh:
    mesh = new_mesh()
    mesh.sell(1, 2)
    mesh.run("land")
    mesh.run("run")
    return mesh


def last_run(mesh: Mesh, relation: str) -> str:
    return LakeLedger(Lake(mesh.home)).heads()[relation].last_run


def shown(mesh: Mesh, relation: str) -> dict:
    listed = json.loads(mesh.run("status", "--json").stdout)
    return next(each for each in listed if each["product"] == relation)


@pytest.mark.parametrize(
    "broken",
    [
        "select nothing from {{ ref('shop', 'orders') }}",
        "select {{ exceptions.raise_compiler_error('no') }}",
    ],
    ids=["binder error", "does not parse"],
)
def test_a_consumer_whose_run_failed_is_shown_as_failed(published: Mesh, broken: str) -> None:
    mesh = published
    right = (mesh.root / STAGING).read_text()
    before = shown(mesh, "crm.customers")
    assert before["last_run"] in ("published", "unchanged")
    mesh.write(STAGING, broken)
    mesh.run("run", "crm", code=1)
    after = shown(mesh, "crm.customers")
    assert after["last_run"] == "failed"
    assert after["refreshed_at"] == before["refreshed_at"]
    assert shown(mesh, "shop.orders")["last_run"] != "failed"
    mesh.write(STAGING, right)
    mesh.run("run", "crm")
    assert shown(mesh, "crm.customers")["last_run"] == "unchanged"


def test_a_consumer_whose_provider_failed_in_the_same_run_is_shown_as_failed(
    published: Mesh,
) -> None:
    mesh, orders = published, "domains/shop/models/products/orders.sql"
    right = (mesh.root / orders).read_text()
    mesh.write(orders, "select nothing")
    mesh.run("run", code=1)
    mesh.write(orders, right)
    assert last_run(mesh, "shop.orders") == last_run(mesh, "crm.customers") == "failed"
    [entry] = LakeLedger(Lake(mesh.home)).entries("runs", "crm")[-1:]
    assert "failed first" in entry["message"]
    mesh.run("run")
    assert last_run(mesh, "crm.customers") == "unchanged"


def test_a_failure_of_the_mesh_itself_is_recorded(published: Mesh, monkeypatch) -> None:
    def broken(*arguments: object) -> None:
        raise RuntimeError("no memory")

    mesh = published
    monkeypatch.setattr(runs, "DomainPlan", broken)
    monkeypatch.chdir(mesh.root)
    repository = mesh.repository
    from meshhouse.engines import engine

    chosen = engine(repository)
    with pytest.raises(RuntimeError, match="no memory"):
        runs.run_domain(repository, chosen, repository.domain("crm"))
    entry = chosen.ledger.entries("runs", "crm")[-1]
    assert (entry["outcome"], entry["message"]) == ("failed", "RuntimeError: no memory")
    assert last_run(mesh, "crm.customers") == "failed"
    assert last_run(mesh, "shop.orders") != "failed"
