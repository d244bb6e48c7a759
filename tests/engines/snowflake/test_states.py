"""Target `snowflake`: states that are decided, visible and landed, step by step."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from meshhouse.engines import Engine, engine
from meshhouse.engines.snowflake.engine import SnowflakeEngine
from meshhouse.engines.snowflake.session import Crowded, Session, connect
from meshhouse.errors import MeshError, NotShown, UsageError
from meshhouse.landing import Landing, land_table
from meshhouse.ledger import Conflict, Staged
from meshhouse.runs.run import run_domain
from tests.conftest import Mesh
from tests.support.snowflake_here import needs_snowflake

pytestmark = needs_snowflake


def decide(chosen: Engine, relation: str, base: int | None, state: int) -> None:
    """Publishes a generation whose row is its own number."""
    kept(chosen, relation, state)
    staged = Staged(relation, None if base is None else str(base), str(state), state)
    chosen.ledger.commit([staged], {})


def kept(chosen: Engine, relation: str, state: int) -> None:
    domain, _, product = relation.partition(".")
    schema = chosen.database.stored(f"{domain}_generations")
    connect().execute(f"create schema if not exists {schema}")
    connect().execute(
        f"create table if not exists {schema}.{product}__{state} as "
        f"select {state} as order_id, 1 as customer_id, 1.5 as amount, '2017-01-01' as sold_at"
    )


def land(mesh: Mesh, chosen: Engine, *numbers: int) -> Landing:
    mesh.sell(*numbers)
    [raw] = mesh.repository.domain("shop").raw_tables
    return land_table(mesh.repository, chosen.store, raw)


def shown(relation: str) -> int:
    """The generation that readers see."""
    [(number,)] = rows(f"select order_id from {relation}")
    return int(number)


def rows(sql: str) -> list[tuple]:
    return connect().rows(sql)


@contextmanager
def refused(begin: str, message: str = "Insufficient privileges") -> Iterator[None]:
    """Makes Snowflake refuse statements that begin with a text."""
    execute = Session.execute

    def execute_or_not(self, statement, *values):
        if statement.startswith(begin):
            raise MeshError(f"Snowflake refused a statement: {message}.")
        return execute(self, statement, *values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "execute", execute_or_not)
        yield


def pinned(mesh: Mesh, chosen: Engine) -> dict[str, str]:
    """What a run of `crm` reads: it finishes interrupted publications first."""
    crm = mesh.repository.domain("crm")
    chosen.finish_publications(crm)
    return chosen.pin(crm)


def test_a_name_that_ended_is_hidden_by_the_next_run_if_the_first_was_stopped(
    mesh: Mesh, chosen, monkeypatch
):
    decide(chosen, "shop.orders", None, 1001)
    found = "select count(*) from information_schema.tables where table_schema = 'SHOP'"
    assert rows(found) == [(1,)]
    with monkeypatch.context() as stopped:
        stopped.setattr(SnowflakeEngine, "_show", lambda self, relations: None)
        end = Staged("shop.orders", "1001", "1001", 1001, renamed_to="")
        engine(mesh.repository).ledger.commit([end], {})
    assert "shop.orders" not in chosen.states()
    chosen.finish_publications(mesh.repository.domain("shop"))
    assert rows(found) == [(0,)]
    assert chosen.states() == {}


@pytest.mark.parametrize("environment", ["", "ana"])
def test_a_run_is_recorded_with_what_it_reads_not_with_what_is_decided(
    mesh: Mesh, chosen, monkeypatch, environment
):
    decide(chosen, "shop.orders", None, 1001)
    with monkeypatch.context() as stopped:  # a process that was killed after its decision
        stopped.setattr(SnowflakeEngine, "_show", lambda self, relations: None)
        decide(engine(mesh.repository), "shop.orders", 1001, 1002)
    monkeypatch.setenv("MESH_ENV", environment)
    reader = engine(mesh.repository)
    with refused("create or replace table"):
        pins = pinned(mesh, reader)
    assert pins == {"shop.orders": str(shown("shop.orders"))} == {"shop.orders": "1001"}
    with reader.reader(mesh.repository.domain("crm"), pins, {}) as audit:
        assert audit.rows("select order_id from shop.orders") == [{"order_id": 1001}]
    monkeypatch.setenv("MESH_ENV", "")
    assert pinned(mesh, engine(mesh.repository)) == {"shop.orders": "1002"}
    assert shown("shop.orders") == 1002


def test_what_is_decided_and_cannot_be_shown_is_said_once_all_were_tried(mesh, chosen):
    for name in ("orders", "totals"):
        decide(chosen, f"shop.{name}", None, 1001)
        kept(chosen, f"shop.{name}", 1002)
    staged = [Staged(f"shop.{name}", "1001", "1002", 1002) for name in ("orders", "totals")]
    with refused("create or replace table"), pytest.raises(NotShown) as failed:
        chosen.ledger.commit(staged, {})
    said = str(failed.value)
    assert said.startswith("shop.orders, shop.totals: published, but not visible yet: Snowflake")
    assert said.count("Insufficient privileges") == 1
    assert said.endswith("Correct this, then run `mesh run shop` to make it visible.")
    assert len(said.splitlines()) == 1
    assert chosen.states() == {"shop.orders": "1002", "shop.totals": "1002"}
    assert (shown("shop.orders"), shown("shop.totals")) == (1001, 1001)
    assert pinned(mesh, chosen) == {"shop.orders": "1002", "shop.totals": "1002"}
    assert (shown("shop.orders"), shown("shop.totals")) == (1002, 1002)


def test_a_run_whose_products_cannot_be_shown_fails_and_is_recorded_once(mesh, chosen):
    land(mesh, chosen, 1)
    repository = mesh.repository
    shop = repository.domain("shop")
    with refused("create tag"):
        assert "Insufficient privileges" in run_domain(repository, chosen, shop).message
    assert chosen.states().keys() == {"shop_raw.sales"}  # it failed before the decision
    with refused("comment on table"):
        done = run_domain(repository, chosen, shop)
    assert (done.outcome, done.ok) == ("failed", False)
    assert "shop.orders, shop.totals: published, but not visible yet" in done.message
    ledger = chosen.ledger
    assert [each["outcome"] for each in ledger.entries("runs")] == ["failed", "published", "failed"]
    assert len(ledger.entries("audits")) == len(ledger.entries("publications")) == 2
    assert rows("select count(*) from meshhouse.states where shown = state") == [(0,)]
    assert run_domain(repository, chosen, shop).outcome == "unchanged"
    assert rows("select count(*) from meshhouse.states where shown = state") == [(2,)]
    assert rows("select orders from shop.totals") == [(1,)]


def test_going_back_to_what_was_shown_before_an_interruption_shows_it(mesh, chosen):
    decide(chosen, "shop.orders", None, 1001)
    kept(chosen, "shop.orders", 1002)
    staged = [Staged("shop.orders", "1001", "1002", 1002)]
    with refused("comment on table"), pytest.raises(NotShown):  # visible, but not recorded
        chosen.ledger.commit(staged, {})
    assert shown("shop.orders") == 1002
    with refused("create or replace table"), pytest.raises(NotShown):
        decide(chosen, "shop.orders", 1002, 1001)
    assert shown("shop.orders") == 1002
    assert pinned(mesh, chosen) == {"shop.orders": "1001"}
    assert shown("shop.orders") == 1001


def test_landing_is_paid_by_the_warehouse_of_its_domain(mesh, chosen, fakesnow, monkeypatch):
    monkeypatch.setenv("SNOWFLAKE_WAREHOUSE", "SHARED_WH")
    monkeypatch.setenv("SNOWFLAKE_WAREHOUSE_SHOP", "SHOP_WH")
    execute, paid = Session.execute, []

    def noted(self, statement, *values):
        if '"SHOP_RAW"' in statement or statement.startswith("put"):
            paid.append((statement.split()[0], self.warehouse))
        return execute(self, statement, *values)

    monkeypatch.setattr(Session, "execute", noted)
    before = len(fakesnow.statements())
    assert land(mesh, chosen, 1, 2).rows == 2
    assert {"put", "copy", "create", "insert"} <= {word for word, _ in paid}
    assert {warehouse for _, warehouse in paid} == {"SHOP_WH"}
    sent = "".join(fakesnow.statements()[before:])
    tag = r'\{"database": "\w+", "domain": "shop", "raw_table": "shop_raw.sales"\}'
    assert re.search(tag, sent)


def test_a_file_that_was_uploaded_is_removed_whatever_fails_behind_it(mesh, chosen, fakesnow):
    before = len(fakesnow.statements())
    with refused("create or replace temporary table"), pytest.raises(MeshError, match="Insuff"):
        land(mesh, chosen, 1)
    sent = [each.split()[0] for each in fakesnow.statements()[before:]]
    assert "remove" in sent[sent.index("put") :]


def test_a_move_among_too_many_waits_for_its_turn(chosen, monkeypatch):
    monkeypatch.setattr("meshhouse.engines.snowflake.database._LONGEST_WAIT", 0)
    execute, crowds = Session.execute, [1, 2, 3]

    def execute_in_a_crowd(self, statement, *values):
        if "set state = state + 1" in statement and crowds:
            crowds.pop()
            raise Crowded("Snowflake refused a statement: 20 wait for the lock.")
        return execute(self, statement, *values)

    monkeypatch.setattr(Session, "execute", execute_in_a_crowd)
    decide(chosen, "shop.orders", None, 1001)
    assert (crowds, shown("shop.orders")) == ([], 1001)
    crowds += [1] * 99
    with pytest.raises(Crowded):
        decide(chosen, "shop.orders", 1001, 1002)
    assert shown("shop.orders") == 1001


def test_a_ledger_holds_nothing_of_a_move_whose_transaction_snowflake_ended(chosen, monkeypatch):
    decide(chosen, "shop.orders", None, 1001)
    now = datetime.now(UTC)
    run = {"run_id": "1", "domain": "shop", "outcome": "published", "message": "",
           "products": {}, "started_at": now, "finished_at": now}  # fmt: skip
    staged = Staged("shop.orders", "1001", "1002", 1002)
    execute = Session.execute

    def execute_after_a_pause(self, statement, *values):
        if statement.startswith("insert into") and '"RUNS"' in statement:
            execute(self, "rollback")
        return execute(self, statement, *values)

    with monkeypatch.context() as paused:
        paused.setattr(Session, "execute", execute_after_a_pause)
        with pytest.raises(Conflict):
            chosen.ledger.commit([staged], {"runs": [run]})
    assert chosen.ledger.entries("runs") == []
    assert chosen.states() == {"shop.orders": "1001"}


def test_only_what_cannot_be_cloned_is_said_to_be_built_as_no_permanent_table(mesh, chosen):
    product = mesh.repository.product("shop.orders")
    connect().execute("create schema if not exists shop_build")
    connect().execute("create table shop_build.orders as select 1 as order_id")
    clone = f'create table "{connect().database}"."SHOP_GENERATIONS"'
    for message in (
        "Transient object cannot be cloned to a permanent object",
        "Object found is of type 'VIEW', not specified type 'TABLE'",
    ):
        with refused(clone, message), pytest.raises(MeshError, match="built as a permanent table"):
            chosen.stage(product)
    with refused(clone, "Insufficient privileges on SHOP.VIEWS"), pytest.raises(MeshError) as other:
        chosen.stage(product)
    assert str(other.value) == (
        "Snowflake refused a statement: Insufficient privileges on SHOP.VIEWS."
    )


def test_a_decimal_with_more_digits_of_the_same_scale_is_landed(mesh, chosen):
    land(mesh, chosen, 1)
    mesh.edit("domains/shop/models/topics.yml", "decimal(12,2)", "decimal(14,2)")
    mesh.sell(2, amount=999999999999.25)
    assert land(mesh, engine(mesh.repository)).rows == 1
    assert rows("select max(amount) from shop_raw.sales") == [(Decimal("999999999999.25"),)]
    [raw] = mesh.repository.domain("shop").raw_tables
    assert chosen.database.columns(raw.relation)["amount"] == ("NUMBER", 14, 2)
    mesh.edit("domains/shop/models/topics.yml", "decimal(14,2)", "decimal(18,4)")
    with pytest.raises(UsageError, match=r"holds number\(14,2\).* of the same scale"):
        land(mesh, engine(mesh.repository), 3)
