"""A build that gathers only what changed leaves the same site as one that gathers everything."""

from __future__ import annotations

import os
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import meshhouse
from benchmarks.catalog_gather import publish
from benchmarks.generated import mesh_of
from meshhouse.catalog import build as builder
from meshhouse.catalog import site
from meshhouse.catalog.build import Catalog
from meshhouse.catalog.gather import gather
from meshhouse.engines import engine
from meshhouse.landing import land_table
from meshhouse.repository import Repository
from meshhouse.runs.publication import rollback
from meshhouse.runs.run import run_domain
from meshhouse.usage import Read, store_of

START = datetime(2026, 11, 30, 1, tzinfo=UTC)
OWN = "."
VERSIONS = "    latest_version: 1\n    versions: [{v: 1}, {v: 2}]\n"


class Site:
    """A mesh of three domains with a ledger, and its site."""

    def __init__(self, folder: Path) -> None:
        self.root, self.folder, self.whole = folder / "mesh", folder / "site", folder / "whole"
        mesh_of(self.root, 3, 2)
        for name in ("d000", "d001"):
            file = self.root / "domains" / name / "models" / "p0.yml"
            text = file.read_text().replace(
                "meta: {grain: [id]}", "meta: {grain: [id], promises: {refreshed_within_hours: 4}}"
            )
            file.write_text(text)
        self.settle()
        self.now = START
        self.number = 0
        self.gathered: list[datetime] = []
        for name in ("d001", "d000", "d002"):
            self.publish(name, "p0")
            self.publish(name, "p1")

    @property
    def repository(self) -> Repository:
        return Repository(self.root)

    def settle(self) -> None:
        """Makes all files an hour old: of files that changed just now, nothing is proved."""
        for path in self.root.rglob("*"):
            os.utime(path, (time.time() - 3600, time.time() - 3600))

    def wait(self, hours: float = 0.1) -> None:
        self.now += timedelta(hours=hours)

    def publish(self, domain: str, name: str, **changes: Any) -> None:
        self.wait()
        self.number += 1
        repository = self.repository
        [product] = [each for each in repository.reading(domain).products if each.name == name]
        publish(engine(repository).ledger, [product], self.number, self.now, **changes)

    def record(self, ledger: str, **row: Any) -> None:
        """Records one entry in a table of the ledger."""
        self.wait()
        common = {"run_id": f"run {self.now}", "started_at": self.now, "finished_at": self.now}
        engine(self.repository).ledger.commit([], {ledger: [{**common, **row}]})

    def build(self, consumer: str = "") -> site.Built:
        """Builds in a new process, as far as what is remembered goes."""
        self.wait()
        return self.catalog(consumer).build(self.now)

    def catalog(self, consumer: str = "") -> Catalog:
        repository = self.repository
        return Catalog(repository, engine(repository), consumer, self.folder_of(consumer))

    def folder_of(self, consumer: str) -> Path:
        return self.folder.with_name(f"site-{consumer}") if consumer else self.folder

    def differences(self, consumer: str = "") -> list[str]:
        """Files that are not those of a site for which everything is gathered at the same time."""
        shutil.rmtree(self.whole, ignore_errors=True)
        repository = self.repository
        site.build(gather(repository, engine(repository), consumer, self.now), self.whole)
        return differing(self.folder_of(consumer), self.whole)


def differing(folder: Path, whole: Path) -> list[str]:
    """Files that are in one folder only, or differ."""
    found, expected = contents(folder), contents(whole)
    names = found.keys() | expected.keys()
    return sorted(each for each in names if found.get(each) != expected.get(each))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(OWN)
    }


@pytest.fixture
def mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    made = Site(tmp_path)
    original = builder.gathered

    def noted(*given: Any) -> Any:
        made.gathered.append(made.now)
        return original(*given)

    monkeypatch.setattr(builder, "gathered", noted)
    return made


def test_what_happens_most_often_is_gathered_alone(mesh):
    """A publication, reads by a run, a rejected run, a landing, late products, a rollback."""
    mesh.build()
    assert len(mesh.gathered) == 1

    def check(*written: str) -> None:
        built = mesh.build()
        assert mesh.differences() == []
        assert {*written} <= {*built.written}
        assert "products/d002/p1.html" not in built.written
        assert len(mesh.gathered) == 1, "everything was gathered"

    check("index.html")
    mesh.publish("d000", "p0")
    check("products/d000/p0.html", "ledger.html", "operations.html")
    mesh.publish("d000", "p1", input_snapshots={"d001.p0": 1})
    check("products/d000/p1.json", "products/d001/p0.html")
    mesh.record("runs", domain="d000", outcome="rejected", products={"p0": "rejected"})
    check("products/d000/p0.html", "domains/d000.html")
    mesh.wait(4)  # d001.p0 and d000.p0 become late
    check("products/d001/p0.html", "operations.html")
    mesh.wait(1)  # and use their error budget
    check("products/d001/p0.html", "operations.html")
    mesh.publish("d001", "p0")
    mesh.publish("d001", "p0", kind="rollback")
    check("products/d001/p0.html")


@pytest.mark.parametrize(
    "change",
    ["declaration", "file gone", "file cut", "day", "contract", "ledger", "remembered", "setting"],
)
def test_anything_else_is_gathered_as_a_whole(mesh, change, monkeypatch):
    mesh.build()
    mesh.publish("d000", "p0")
    match change:
        case "declaration":
            file = mesh.root / "domains" / "d002" / "models" / "p0.yml"
            file.write_text(file.read_text().replace("The id.", "The key."))
            mesh.settle()
        case "file gone":
            (mesh.folder / "products" / "d002" / "p1.html").unlink()
        case "file cut":
            (mesh.folder / "products" / "d002" / "p1.json").write_text("{")
        case "day":
            mesh.wait(24)
        case "contract":
            mesh.publish("d000", "p0", description="A new description.")
        case "ledger":  # it is that of a backup, and life went on
            home, backup = mesh.repository.home, mesh.root.parent / "backup"
            shutil.copytree(home / "lake", backup)
            mesh.publish("d000", "p1")
            mesh.build()
            shutil.rmtree(home / "lake")
            shutil.copytree(backup, home / "lake")
            mesh.publish("d001", "p1")
        case "remembered":
            for path in mesh.repository.workspace.glob("*.built.json"):
                path.write_bytes(path.read_bytes()[:-100])
        case "setting":
            monkeypatch.setenv("MESH_DAGSTER_URL", "https://dagster.example")
    mesh.build()
    assert mesh.differences() == []
    assert len(mesh.gathered) == 2
    mesh.publish("d000", "p1")
    mesh.build()
    assert mesh.differences() == []
    assert len(mesh.gathered) == 2


def test_a_view_for_a_consumer_is_brought_up_to_date(mesh):
    mesh.publish("d000", "p1", input_snapshots={"d001.p0": 1})
    mesh.build()
    mesh.build("d000")
    assert len(mesh.gathered) == 2
    mesh.publish("d001", "p0")
    for consumer in ("d000", ""):
        mesh.build(consumer)
        assert mesh.differences(consumer) == []
    assert len(mesh.gathered) == 2


def test_a_retirement_and_a_new_version_leave_the_site_of_a_full_build(mesh):
    models = mesh.root / "domains" / "d002" / "models"
    mesh.build()
    mesh.publish("d001", "p1", kind="retire")
    mesh.build()
    assert mesh.differences() == []
    mesh.publish("d000", "p0")
    mesh.build()
    assert mesh.differences() == []
    assert len(mesh.gathered) == 2
    sql, declared = models / "p0.sql", models / "p0.yml"
    for version in ("p0_v1", "p0_v2"):
        (models / f"{version}.sql").write_text(sql.read_text())
    sql.unlink()
    declared.write_text(f"{declared.read_text()}{VERSIONS}")
    mesh.settle()
    mesh.build()
    assert mesh.differences() == []
    assert len(mesh.gathered) == 3
    mesh.publish("d002", "p0_v2", version=2)
    mesh.build()
    assert mesh.differences() == []
    mesh.publish("d002", "p0_v2", version=2)
    mesh.build()
    assert mesh.differences() == []


def test_a_real_mesh_is_brought_up_to_date(published, tmp_path, monkeypatch):
    """Landings, files of tables, builds of other domains, reads, a rollback and a lost file."""
    whole = []
    original = builder.gathered

    def noted(*given: Any) -> Any:
        whole.append(given)
        return original(*given)

    monkeypatch.setattr(builder, "gathered", noted)
    for path in published.root.rglob("*"):
        os.utime(path, (time.time() - 3600, time.time() - 3600))
    repository = published.repository
    chosen = engine(repository)

    def check(gathered: int) -> None:
        folder, now = tmp_path / "site", datetime.now(UTC)
        Catalog(repository, engine(repository), folder=folder).build(now)
        shutil.rmtree(tmp_path / "whole", ignore_errors=True)
        site.build(gather(repository, engine(repository), now=now), tmp_path / "whole")
        assert differing(folder, tmp_path / "whole") == []
        assert len(whole) == gathered

    check(1)
    published.sell(4, 5)
    for domain in repository.domains:
        for raw in domain.raw_tables:
            land_table(repository, chosen.store, raw)
        run_domain(repository, chosen, domain)
    check(1)
    for consumer in ("", "crm", "a board", "people"):
        monkeypatch.setenv("MESH_CONSUMER", consumer)
        with meshhouse.connect(published.root) as connection:
            connection.execute("select order_id from SHOP.Orders").fetchall()
            connection.execute("select count(*) from shop.orders, shop.totals").fetchall()
    monkeypatch.delenv("MESH_CONSUMER")
    check(1)
    published.rows("select * from shop.orders")
    published.rows("select order_id from shop.orders")
    [orders] = [each for each in repository.reading("shop").products if each.name == "orders"]
    rollback(chosen, chosen.ledger, orders)
    check(1)
    yesterday = datetime.now(UTC) - timedelta(days=1)
    old = Read(yesterday, "shop.orders", ("order_id",), "ada", "", "history of a warehouse")
    store_of(repository).add("a warehouse", [("1", [old])])
    check(2)
    for file in (repository.home / "lake").rglob("*crm/customers*/data/*.parquet"):
        file.unlink()
    check(3)
