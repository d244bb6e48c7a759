"""What starts by itself: landing where events wait, and what follows from it, once."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.conftest import WARM, Mesh, make_mesh

AUTOMATE = Path(__file__).with_name("automate.py")


def look(mesh: Mesh) -> dict:
    told = mesh.root / "told.json"
    output = mesh.root / "automate.out", mesh.root / "automate.err"
    process = WARM.start([str(AUTOMATE), str(mesh.root), str(told)], mesh.root, mesh.environment,
                         output)  # fmt: skip
    assert WARM.wait(process, 120) == 0, output[1].read_text()
    return json.loads(told.read_text())


@pytest.fixture
def mesh(new_mesh) -> Mesh:
    """A mesh that has published all it has."""
    mesh = new_mesh()
    mesh.sell(*range(10))
    mesh.run("run")
    look(mesh)  # Dagster's first look knows nothing of before
    return mesh


def test_nothing_starts_where_no_events_wait(mesh):
    assert look(mesh) == {"lands": [], "told": [], "follows": []}


def test_waiting_events_start_one_landing_however_often_somebody_looks(mesh):
    mesh.sell(10)
    first, second = look(mesh)["lands"], look(mesh)["lands"]
    assert [each["assets"] for each in first] == [["shop/raw.sales"]]
    assert first == second, "the same key, so Dagster starts it once"
    mesh.sell(11)
    [third] = look(mesh)["lands"]
    assert third["key"] != first[0]["key"]


def test_what_was_landed_without_dagster_is_told_once_and_builds_everything_behind_it_once(mesh):
    mesh.sell(10)
    mesh.run("land")
    looked = look(mesh)
    assert looked["lands"] == []
    assert looked["told"] == ["shop/raw.sales"]
    behind = looked["follows"]
    assert {"shop/build.stg_sales", "shop/orders", "crm/customers", "mesh/overview"} <= set(behind)
    assert look(mesh) == {"lands": [], "told": [], "follows": []}


def test_a_topic_that_cannot_be_asked_stops_no_other(mesh):
    topics = mesh.root / "domains" / "shop" / "models" / "topics.yml"
    topics.write_text(topics.read_text().replace("topic: shop.sales", "topic: shop.gone"))
    assert look(mesh)["lands"] == []


def test_a_topic_that_lost_landed_events_is_reported_and_not_asked_for_again_and_again(monkeypatch):
    from meshhouse.dagster import sensor

    ranges = {"shop_raw.lost": {0: (9, 5)}, "shop_raw.new": {0: (0, 0)}, "shop_raw.ok": {0: (1, 3)}}
    monkeypatch.setattr(sensor, "lands_itself", lambda store, raw: True)
    monkeypatch.setattr(sensor, "events_waiting", lambda _, __, raw, ___: ranges[raw.relation])
    domain = SimpleNamespace(raw_tables=[SimpleNamespace(relation=name) for name in ranges])
    known = {"shop_raw.lost": "1", "shop_raw.ok": "1"}
    waiting, lost = sensor._waiting(None, SimpleNamespace(store=None), domain, known)
    assert waiting.keys() == {"shop_raw.new", "shop_raw.ok"}
    [said] = lost
    assert "`mesh land shop_raw.lost`" in said


def test_maintenance_is_planned_only_where_tables_are_the_lakes(tmp_path, monkeypatch):
    from meshhouse.dagster.jobs import mesh_jobs
    from orchestration.schedules import schedules

    repository, jobs = make_mesh(tmp_path / "tiny").repository, mesh_jobs([])
    planned = [each.name for each in schedules(repository, jobs)]
    assert planned == ["whole_mesh_every_hour", "maintenance_every_night"]
    monkeypatch.setenv("MESH_TARGET", "snowflake")
    assert [each.name for each in schedules(repository, jobs)] == ["whole_mesh_every_hour"]
