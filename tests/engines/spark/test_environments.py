"""On Spark, as elsewhere, an environment has its own tables and reads production's others."""

from __future__ import annotations

import pytest

from meshhouse.engines import engine
from meshhouse.lake import Lake
from meshhouse.lake.ledger import LakeLedger
from meshhouse.landing import LakeStore, land_table
from meshhouse.maintenance.environments import drop, environments
from meshhouse.runs.outcome import DomainRun
from meshhouse.runs.publication import rollback
from meshhouse.runs.run import run_domain
from tests.conftest import Mesh
from tests.support.spark_here import needs_spark

pytestmark = [needs_spark, pytest.mark.server]


def run(mesh: Mesh, domain: str, environment: str = "") -> DomainRun:
    """Runs a domain in this process, which has the tests' Spark session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MESH_TARGET", "spark")
        patch.setenv("MESH_ENV", environment)
        repository = mesh.repository
        done = run_domain(repository, engine(repository), repository.domain(domain))
    assert done.ok, done.message
    return done


def land(mesh: Mesh) -> None:
    for raw in mesh.repository.domain("shop").raw_tables:
        land_table(mesh.repository, LakeStore(Lake(mesh.home)), raw)


def shown(mesh: Mesh, sql: str, environment: str) -> list[tuple]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MESH_ENV", environment)
        return mesh.rows(sql)


def test_an_environment_on_spark_reads_production_and_leaves_it_alone(mesh, spark, monkeypatch):
    mesh.sell(1, 2, 3)
    land(mesh)
    run(mesh, "shop")
    run(mesh, "crm")
    mesh.sell(4)
    land(mesh)  # later than production's publication, so the environment does not read it
    before = Lake(mesh.home).states()
    mesh.edit("domains/shop/models/products/totals.sql", "count(*)", "count(*) + 100")
    changed = run(mesh, "shop", "ana")
    assert [each["product"] for each in changed.published] == ["totals"]
    assert shown(mesh, "select orders from shop.totals", "ana") == [(103,)]
    path = "domains/crm/models/products/customers.sql"
    mesh.edit(path, "count(*)", "count(*) * 10")
    assert run(mesh, "crm", "ana").outcome == "published"
    assert run(mesh, "mesh", "ana").outcome == "published"
    assert Lake(mesh.home).states() == before
    assert shown(mesh, "select orders from crm.customers", "ana") == [(30,)]
    assert shown(mesh, "select orders from crm.customers", "") == [(3,)]

    mesh.edit(path, "count(*) * 10", "count(*) * 20")
    run(mesh, "crm", "ana")
    assert shown(mesh, "select orders from crm.customers", "ana") == [(60,)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MESH_ENV", "ana")
        repository = mesh.repository
        chosen = engine(repository)
        rollback(chosen, LakeLedger(chosen.lake), repository.product("crm.customers"))
    assert shown(mesh, "select orders from crm.customers", "ana") == [(30,)]

    monkeypatch.setenv("MESH_TARGET", "spark")
    chosen = engine(mesh.repository)
    [found] = environments(mesh.repository, chosen)
    assert (found.name, found.products) == (
        "ana",
        ("crm.customers", "mesh.overview", "shop.totals"),
    )
    drop(mesh.repository, chosen, "ana")
    assert environments(mesh.repository, chosen) == []
    assert not [path for path in mesh.home.rglob("*") if path.name.startswith("ana")]
    assert Lake(mesh.home).states() == before
    assert shown(mesh, "select orders from crm.customers", "") == [(3,)]
