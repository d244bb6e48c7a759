"""A mesh whose catalog is a service: landing, publication in one transaction, rollback."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from meshhouse.engines import engine
from meshhouse.lake.rest_catalog import CatalogService
from meshhouse.runs.retirement import retire, unretire
from tests.conftest import Mesh, make_mesh
from tests.support.nessie import Nessie

URI = "PYICEBERG_CATALOG__MESH__URI"
PRODUCTS = {"shop.orders", "shop.totals"}


@dataclass(frozen=True)
class Served(Mesh):
    """A mesh with a catalog service; no variable sets the location of tables."""

    uri: str

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, URI: self.uri}


@pytest.fixture(scope="module")
def ran(nessie: Nessie, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A mesh that landed ten sales and published shop, then the same with nine more."""
    mesh = Served(make_mesh(tmp_path_factory.mktemp("mesh") / "tiny").root, nessie.uri)
    mesh.sell(*range(10))
    mesh.run("run", "shop")
    mesh.sell(*range(10, 19))
    mesh.run("run", "shop")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(URI, nessie.uri)  # for tests that read in this process
        yield mesh


def test_products_of_a_run_are_shown_by_one_transaction_with_the_ledger(ran, nessie):
    [last, first] = [moved for moved in nessie.commits() if moved & PRODUCTS]
    names = ("audits", "heads", "objectives", "publications", "runs", "statistics")
    ledger = {f"meshhouse.{name}" for name in names}
    assert last == PRODUCTS | ledger
    assert first == last | {"meshhouse.contracts"}  # the second run has the same contract


def test_consumers_read_what_the_service_shows_and_no_catalog_is_here(ran):
    assert ran.row("select count(*), sum(amount) from shop.orders") == (19, 28.5)
    assert not list(ran.home.glob("lake/*"))


def test_a_rollback_shows_the_previous_publication_although_the_service_forgot_it(ran):
    ran.run("rollback", "shop.orders")
    assert ran.row("select count(*) from shop.orders") == (10,)
    assert ran.row("select orders from shop.totals") == (19,)
    assert "held back" in ran.run("run", "shop").stderr
    ran.run("run", "shop.orders", "--force")
    assert ran.row("select count(*) from shop.orders") == (19,)


def test_a_retirement_that_a_service_did_not_finish_is_completed_by_the_next_run(ran, monkeypatch):
    for path in (ran.root / "domains/shop/models/products").glob("totals*"):
        path.unlink()
    monkeypatch.setenv("MESH_HOME", str(ran.home))
    repository, today = ran.repository, datetime.now(UTC).date()
    lake = engine(repository).lake

    def killed(self: object, changes: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CatalogService, "_rename", killed)
        with pytest.raises(KeyboardInterrupt):
            retire(repository, engine(repository), "shop.totals", today)
    assert "shop.totals" in lake.states()
    ran.run("run", "shop")
    assert "shop.totals" not in lake.states()
    with monkeypatch.context() as patch:
        patch.setattr(CatalogService, "_rename", killed)
        with pytest.raises(KeyboardInterrupt):
            unretire(repository, engine(repository), "shop.totals", today)
    assert unretire(repository, engine(repository), "shop.totals", today) == ["shop.totals"]
    assert ran.row("select orders from shop.totals") == (19,)


def test_a_service_that_goes_away_is_one_line(ran):
    done = ran.run("sql", "select 1", code=1, environment={URI: "http://127.0.0.1:9/"})
    [line] = done.stderr.splitlines()
    assert line.startswith("mesh: The catalog service at http://127.0.0.1:9 does not answer.")
