"""The owner of a mesh may let Dagster retry failed steps; a rejected build is never retried."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from meshhouse import dbt
from meshhouse.dagster.mesh import mesh_assets
from meshhouse.dagster.settings import Settings
from meshhouse.errors import MeshError
from meshhouse.events.errors import SourceAway
from meshhouse.landing import service
from tests.conftest import Mesh

TWICE = dg.RetryPolicy(max_retries=2)
SETTINGS = Settings(landing_retries=TWICE, build_retries=TWICE)
SALES, ORDERS = "shop/raw.sales", "shop/orders"


@pytest.fixture(autouse=True)
def _this_mesh(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in mesh.environment.items():
        if name.startswith("MESH_"):
            monkeypatch.setenv(name, value)


def executed(mesh: Mesh, *keys: str) -> tuple[bool, int]:
    """Runs assets with Dagster; returns whether they succeeded, and the number of retries."""
    assets = mesh_assets(mesh.repository, SETTINGS)
    chosen = dg.AssetSelection.assets(*(dg.AssetKey(key.split("/")) for key in keys)).upstream()
    job = dg.define_asset_job("all", chosen)
    defined = dg.Definitions(assets=assets, jobs=[job], executor=dg.in_process_executor)
    with dg.DagsterInstance.ephemeral() as instance:
        done = defined.resolve_job_def("all").execute_in_process(
            instance=instance, raise_on_error=False
        )
    retried = done.filter_events(lambda each: each.is_step_up_for_retry)
    return done.success, len(retried)


def outcomes(mesh: Mesh) -> list[str]:
    """The outcome of each run of the domain `shop`, in their order."""
    found = mesh.rows("select outcome from meshhouse.runs where domain = 'shop' order by number")
    return [outcome for (outcome,) in found]


def fail_once(monkeypatch: pytest.MonkeyPatch, place: Any, name: str, error: MeshError) -> None:
    """Makes only the next call of a function fail."""
    real = getattr(place, name)

    def fail(*arguments: Any, **options: Any) -> None:
        monkeypatch.setattr(place, name, real)
        raise error

    monkeypatch.setattr(place, name, fail)


def test_a_landing_that_finds_no_broker_is_retried(mesh, monkeypatch):
    mesh.sell(1, 2, 3)
    fail_once(monkeypatch, service, "open_source", SourceAway("the broker is unreachable"))
    assert executed(mesh, SALES) == (True, 1)
    assert mesh.row("select sum(rows) from meshhouse.landings") == (3,)


def test_a_landing_that_a_person_has_to_correct_is_not_retried(mesh):
    assert executed(mesh, SALES) == (False, 0)  # there is no such topic


def test_a_build_that_fails_once_is_retried_and_published(mesh, monkeypatch):
    mesh.sell(1, 2, 3)
    fail_once(monkeypatch, dbt, "build", MeshError("the disk was full for a second"))
    assert executed(mesh, ORDERS) == (True, 1)
    assert mesh.row("select count(*) from shop.orders") == (3,)
    assert outcomes(mesh) == ["failed", "published"]


def test_a_rejected_build_is_not_retried(mesh):
    mesh.sell(1, 2, amount=-1.5)
    assert executed(mesh, ORDERS) == (False, 0)
    assert outcomes(mesh) == ["rejected"]
