"""A table of PostgreSQL as a sink, on a real server."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from meshhouse.repository import Column, Sink
from tests.support import postgres_here
from tests.support.sinking import COLUMNS, MORE, SinkMesh

ORDERS = "select id, name, paid from {}.orders order by id"
NUMBER = "select publication from {}.meshhouse_deliveries"


@pytest.fixture(scope="module")
def server():
    with postgres_here.running() as found:
        yield found


@pytest.fixture
def schema(request) -> str:
    return f"s{abs(hash(request.node.name)) % 10**12}"


@pytest.fixture
def mesh(tmp_path, server, schema, monkeypatch) -> SinkMesh:
    place = f"host=127.0.0.1 port={server.port} dbname=postgres"
    monkeypatch.setenv("ORDERS_PG", f"{place} user=dagster password={server.password}")
    return SinkMesh(tmp_path / "mesh", Sink("postgres", f"{schema}.orders", "ORDERS_PG"))


def rows(server, sql: str, schema: str) -> list[tuple]:
    return [tuple(map(str, row)) for row in server.query(sql.format(schema))]


def test_the_table_equals_each_publication(mesh, server, schema):
    mesh.publish("(1, 'a \"quoted\", text', 1.5), (2, null, 2), (3, '', 3)")
    [done] = mesh.deliver()
    assert (done.added, done.problem) == (3, "")
    assert rows(server, ORDERS, schema) == [
        ("1", 'a "quoted", text', "1.50"), ("2", "None", "2.00"), ("3", "", "3.00")
    ]  # fmt: skip
    second = mesh.publish("(1, 'line\n2', 1.5), (3, '', 3), (4, E'ü\\\\N', 4)")
    [done] = mesh.deliver()
    assert (done.added, done.changed, done.removed, done.problem) == (1, 1, 1, "")
    assert rows(server, ORDERS, schema) == [
        ("1", "line\n2", "1.50"), ("3", "", "3.00"), ("4", "ü\\N", "4.00")
    ]  # fmt: skip
    assert rows(server, NUMBER, schema) == [(str(second),)]
    # Columns change: one is new, one gets another type.
    mesh.with_columns(COLUMNS[0], replace(COLUMNS[1]), Column("paid", "double"), MORE)
    mesh.publish("(1, 'x', 1.5, 'new')", "id, name, paid, note")
    [done] = mesh.deliver()
    assert (done.since, done.added, done.problem) == (None, 1, "")
    assert server.query(f"select id, name, paid, note from {schema}.orders") == [
        (1, "x", 1.5, "new")
    ]
    # A database that was restored from an older backup gets all rows.
    server.query(f"update {schema}.meshhouse_deliveries set publication = 0 returning 1")
    [done] = mesh.deliver()
    assert (done.since, done.problem) == (None, "")
    assert "publication 0" in done.note


def test_a_delivery_that_is_killed_after_its_commit_is_not_repeated(mesh, server, schema):
    mesh.publish("(1, 'a', 1)")
    assert mesh.deliver()[0].ok
    second = mesh.publish("(1, 'b', 1)")

    mesh.deliver_and_be_killed()
    before = rows(server, "select xmin, ctid, name from {}.orders", schema)
    assert before[0][2] == "b"
    [state] = mesh.states()
    assert state.waiting == 1  # by the ledger, until the sink is asked
    [done] = mesh.deliver()
    assert (done.number, done.changed, done.problem) == (second, 0, "")
    assert rows(server, "select xmin, ctid, name from {}.orders", schema) == before
    assert mesh.deliver() == []
    assert mesh.states()[0].waiting == 0


def test_a_number_that_comes_again_after_a_restore_is_another_publication(
    mesh, server, schema, tmp_path
):
    lake, backup = mesh.repository.home / "lake", tmp_path / "backup"
    mesh.publish("(1, 'a', 1)")
    assert mesh.deliver()[0].ok
    shutil.copytree(lake, backup)
    lost = mesh.publish("(1, 'b', 1), (2, 'b', 2)")
    assert mesh.deliver()[0].ok
    shutil.rmtree(lake)
    shutil.copytree(backup, lake)
    assert mesh.publish("(1, 'c', 1)") == lost
    [done] = mesh.deliver()
    assert "is another one" in done.note
    assert rows(server, "select id, name from {}.orders", schema) == [("1", "c")]


def test_all_rows_replace_what_was_changed_by_hand(mesh, server, schema):
    mesh.publish("(1, 'a', 1), (2, 'b', 2)")
    assert mesh.deliver()[0].ok
    server.do(f"update {schema}.orders set name = 'y'; insert into {schema}.orders values (9)")
    [done] = mesh.deliver(full=True)
    assert (done.added, done.problem) == (2, "")
    assert rows(server, ORDERS, schema) == [("1", "a", "1.00"), ("2", "b", "2.00")]


def test_a_table_that_no_sink_made_is_left_alone(mesh, server, schema):
    server.query(f"create schema {schema}; create table {schema}.orders (id int); "
                 f"insert into {schema}.orders values (7); select 1")  # fmt: skip
    mesh.publish("(1, 'a', 1)")
    [done] = mesh.deliver()
    assert "exists, and no sink made it" in done.problem
    assert rows(server, "select id from {}.orders", schema) == [("7",)]


def test_no_message_has_a_credential_or_a_row(mesh, server, schema, monkeypatch):
    mesh.publish("(1, 'a', 1), (2, chr(0), 1)")
    [done] = mesh.deliver()
    assert "PostgreSQL refused" in done.problem
    for connection in (
        f"host=127.0.0.1 port={server.port} user=dagster password=hunter2 dbname=postgres",
        "postgresql://dagster:hunter2@@127.0.0.1/x",
        "hunter2",
        "host=127.0.0.1 port=1 password=hunter2",
        "postgresql://u:p#hunter2@127.0.0.1:99999999/x",
        "",
    ):
        monkeypatch.setenv("ORDERS_PG", connection)
        [done] = mesh.deliver()
        assert "ORDERS_PG" in done.problem
        assert "hunter2" not in done.problem
    assert "hunter2" not in str(mesh.engine().ledger.entries("deliveries"))
