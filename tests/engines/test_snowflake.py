"""Target `snowflake`: the same domains, landed, built, audited and published in Snowflake."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from conftest import Mesh
from snowflake_here import Snowflake, needs_snowflake

from meshhouse.engines import Engine, engine
from meshhouse.landing import Landing, land_table
from meshhouse.publication import product_history, rollback
from meshhouse.runs import DomainRun, run_domain
from meshhouse.snowflake import connect

pytestmark = needs_snowflake


@pytest.fixture
def chosen(mesh: Mesh, fakesnow: Snowflake, monkeypatch) -> Iterator[Engine]:
    """The engine of a database of its own."""
    database = f"MESH_{uuid4().hex[:8].upper()}"
    for name, value in fakesnow.environment(database).items():
        monkeypatch.setenv(name, value)
    connect().execute(f"create database if not exists {database}")
    connect().execute(f"use database {database}")
    return engine(mesh.repository)


def land(mesh: Mesh, chosen: Engine) -> list[Landing]:
    repository = mesh.repository
    tables = repository.domain("shop").raw_tables
    return [land_table(repository, chosen.store, raw) for raw in tables]


def run(mesh: Mesh, chosen: Engine, domain: str, **options) -> DomainRun:
    repository = mesh.repository
    return run_domain(repository, chosen, repository.domain(domain), **options)


def rows(sql: str) -> list[tuple]:
    return connect().rows(sql)


def test_events_land_once_with_their_offsets_and_what_is_rejected(mesh, chosen):
    mesh.sell(*range(1, 20))
    mesh.send("shop.sales", [(b"x", b"no json")])
    [first] = land(mesh, chosen)
    assert (first.rows, first.rejected, first.total_rows) == (19, 1, 19)
    [again] = land(mesh, chosen)
    assert (again.rows, again.rejected, again.total_rows) == (0, 0, 19)
    mesh.sell(20)
    [more] = land(mesh, chosen)
    assert (more.rows, more.total_rows) == (1, 20)
    assert rows("select count(*), count(distinct sale_id) from shop_raw.sales") == [(20, 20)]
    assert rows("select reason from shop_raw.sales__rejected") == [("is no JSON",)]


def test_a_domain_is_built_audited_and_published_without_copying_a_row(mesh, chosen, fakesnow):
    mesh.sell(*range(1, 20))
    land(mesh, chosen)
    done = run(mesh, chosen, "shop")
    assert done.message == ""
    assert done.outcome == "published"
    assert {each["product"]: each["rows"] for each in done.published} == {"orders": 19, "totals": 1}
    assert all(check.outcome == "passed" for _, audit in done.audited for check in audit.checks)
    assert rows("select orders, amount from shop.totals") == [(19, pytest.approx(28.5))]


def test_a_candidate_that_fails_a_check_leaves_consumers_what_they_have(mesh, chosen):
    mesh.sell(*range(1, 20))
    land(mesh, chosen)
    assert run(mesh, chosen, "shop").outcome == "published"
    mesh.sell(20, amount=-1)
    land(mesh, chosen)
    done = run(mesh, chosen, "shop")
    assert done.outcome == "rejected"
    assert "No negative amounts (column amount): found 1, must be 0" in done.message
    [failed] = [check for _, audit in done.audited for check in audit.checks if not check.ok]
    assert [row["order_id"] for row in failed.samples] == [20]
    assert rows("select count(*), min(amount) from shop.orders") == [(19, pytest.approx(1.5))]
    left = rows("select count(*) from information_schema.tables "
                "where table_schema = 'SHOP_GENERATIONS'")  # fmt: skip
    assert left == [(2,)]  # those that are shown; the candidates' are gone


def test_what_was_published_before_can_be_shown_again(mesh, chosen):
    mesh.sell(*range(1, 20))
    land(mesh, chosen)
    run(mesh, chosen, "shop")
    assert run(mesh, chosen, "shop").outcome == "unchanged"
    mesh.sell(20)
    land(mesh, chosen)
    assert run(mesh, chosen, "shop").message == ""
    assert rows("select orders from shop.totals") == [(20,)]
    product = mesh.repository.product("shop.totals")
    rollback(chosen, chosen.registry, product)
    assert rows("select orders from shop.totals") == [(19,)]
    kinds = [each["kind"] for each in product_history(chosen.registry, product)]
    assert kinds == ["publish", "publish", "rollback"]


def test_a_publication_that_was_stopped_half_way_is_finished_by_the_next_run(
    mesh, chosen, monkeypatch
):
    mesh.sell(*range(1, 20))
    land(mesh, chosen)
    run(mesh, chosen, "shop")
    mesh.sell(20)
    land(mesh, chosen)
    with monkeypatch.context() as broken:
        shown = type(chosen)._show_one

        def stop_at_totals(self, product, state):
            if product.name == "totals":
                raise KeyboardInterrupt
            shown(self, product, state)

        broken.setattr(type(chosen), "_show_one", stop_at_totals)
        with pytest.raises(KeyboardInterrupt):
            run(mesh, chosen, "shop")
    assert rows("select orders from shop.totals") == [(19,)]
    assert run(mesh, chosen, "shop").outcome == "unchanged"
    assert rows("select orders from shop.totals") == [(20,)]
