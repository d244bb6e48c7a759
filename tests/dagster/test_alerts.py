"""Dagster's sensor sends what `mesh notices send` sends, and runs that the ledger does not know."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from unittest.mock import Mock

import dagster as dg
import pytest

from meshhouse.dagster.alerts import notices_sensor
from orchestration.alerts import alerts
from orchestration.definitions import definitions as definitions_of
from tests.support.receivers import Receiver, hook_server


@pytest.fixture
def hook(monkeypatch) -> Iterator[Receiver]:
    with hook_server() as receiver:
        monkeypatch.setenv("MESH_ALERT_WEBHOOK", f"http://127.0.0.1:{receiver.port}/hook")
        monkeypatch.setenv("MESH_DAGSTER_URL", "https://dagster.example/")
        yield receiver


broken = True


@dg.asset
def storehouse() -> None:
    if broken:
        raise dg.Failure("The storehouse is locked.")


def look(repository, instance: dg.DagsterInstance) -> str:
    sensor = notices_sensor(repository, "notices", 60)
    result = sensor.evaluate_tick(dg.build_sensor_context(instance=instance))
    return result.skip_message


def test_a_failed_run_opens_with_its_reason_and_closes_with_the_next_success(
    mesh, hook, monkeypatch
):
    job = dg.Definitions(assets=[storehouse]).get_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        first = job.execute_in_process(instance=instance, raise_on_error=False)
        look(mesh.repository, instance)
        job.execute_in_process(instance=instance, raise_on_error=False)
        look(mesh.repository, instance)
        [request] = hook.posted
        assert request.json["kind"] == "job_failed"
        assert request.json["facts"]["reasons"] == ["storehouse: The storehouse is locked."]
        assert request.json["link"] == f"https://dagster.example/runs/{first.run_id}"
        monkeypatch.setitem(globals(), "broken", False)
        job.execute_in_process(instance=instance)
        assert "1 over" in look(mesh.repository, instance)
    assert [each.json["state"] for each in hook.posted] == ["open", "closed"]


def test_a_failed_run_is_not_over_because_it_is_old(mesh, hook, monkeypatch):
    monkeypatch.setitem(globals(), "broken", True)
    job = dg.Definitions(assets=[storehouse]).get_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        job.execute_in_process(instance=instance, raise_on_error=False)
        look(mesh.repository, instance)
        for days in (8, 30):
            later = datetime.now(UTC) + timedelta(days=days)
            with monkeypatch.context() as clock:
                clock.setattr(
                    "meshhouse.dagster.alerts.datetime", Mock(now=lambda zone, at=later: at)
                )
                look(mesh.repository, instance)
        assert [each.json["state"] for each in hook.posted] == ["open"]
        monkeypatch.setitem(globals(), "broken", False)
        job.execute_in_process(instance=instance)
        look(mesh.repository, instance)
    assert [each.json["state"] for each in hook.posted] == ["open", "closed"]


def test_a_failed_run_is_over_when_its_assets_succeed_beside_others(mesh, hook, monkeypatch):
    monkeypatch.setitem(globals(), "broken", True)

    @dg.asset
    def yard() -> None: ...

    job = dg.Definitions(assets=[storehouse, yard]).get_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:

        def run(*assets: str) -> None:
            keys = [dg.AssetKey(each) for each in assets]
            job.execute_in_process(
                instance=instance, raise_on_error=False, asset_selection=keys or None
            )
            look(mesh.repository, instance)

        run("storehouse")
        run("yard")
        assert [each.json["state"] for each in hook.posted] == ["open"]
        monkeypatch.setitem(globals(), "broken", False)
        run("storehouse", "yard")
    assert [each.json["state"] for each in hook.posted] == ["open", "closed"]


def test_a_run_that_the_ledger_knows_is_sent_once_and_by_its_domain(sold, hook, monkeypatch):
    monkeypatch.setenv("MESH_ROOT", str(sold.root))
    sold.edit("domains/shop/models/products/orders.sql", "select", "select 1 / 'x' as wrong,")
    loaded = definitions_of(sold.repository, ["shop"])
    with dg.DagsterInstance.ephemeral() as instance:
        job = loaded.get_implicit_global_asset_job_def()
        done = job.execute_in_process(
            instance=instance,
            raise_on_error=False,
            asset_selection=[dg.AssetKey(["shop", "orders"])],
        )
        assert not done.success
        look(sold.repository, instance)
    assert [(each.json["kind"], each.json["domain"]) for each in hook.posted] == [
        ("failed", "shop")
    ]


def test_a_late_product_is_sent_once(sold, hook, monkeypatch):
    later = datetime.now(UTC) + timedelta(hours=26)
    monkeypatch.setattr("meshhouse.dagster.alerts.datetime", Mock(now=lambda zone: later))
    with dg.DagsterInstance.ephemeral() as instance:
        for _ in range(2):
            look(sold.repository, instance)
    assert [each.json["key"].split(":")[:2] for each in hook.posted] == [["late", "shop.orders"]]


def test_the_sensor_is_off_until_it_is_switched_on(mesh):
    [sensor] = alerts(mesh.repository)
    assert sensor.default_status is dg.DefaultSensorStatus.STOPPED
