"""A table of Cassandra as a sink, on a real server."""

from __future__ import annotations

import ssl
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from importlib import import_module

import pytest

from meshhouse.errors import MeshError
from meshhouse.repository import Column, Sink
from meshhouse.sinks.cassandra import CassandraSink
from meshhouse.sinks.changes import Publications
from tests.support import cassandra_here
from tests.support.sinking import COLUMNS, MORE, SinkMesh

HOSTILE = "Größe ?:x; drop"


@pytest.fixture(scope="module")
def server():
    with cassandra_here.running() as found:
        yield found


@pytest.fixture
def table(request) -> str:
    return f"Orders_{abs(hash(request.node.name)) % 10**12}"


@pytest.fixture
def mesh(tmp_path, server, table, monkeypatch) -> SinkMesh:
    monkeypatch.setenv("ORDERS_C", server.connection)
    return SinkMesh(tmp_path / "mesh", Sink("cassandra", f"shop.{table}", "ORDERS_C"))


def rows(server, table: str, columns: str = "id, name, paid") -> list[tuple]:
    found = server.query(f'select {columns} from shop."{table}"')
    return sorted(found, key=str)


def test_the_table_equals_each_publication(mesh, server, table):
    first = mesh.publish("(1, 'a \"quoted\", text', 1.5), (2, null, 2), (3, '', 3)")
    [done] = mesh.deliver()
    assert (done.added, done.problem) == (3, "")
    assert rows(server, table) == [
        (1, 'a "quoted", text', Decimal("1.50")), (2, None, Decimal("2.00")),
        (3, "", Decimal("3.00")),
    ]  # fmt: skip
    second = mesh.publish("(1, null, 1.5), (3, '', 3), (4, E'ü\\\\N', 4)")
    [done] = mesh.deliver()
    assert (done.added, done.changed, done.removed, done.problem) == (1, 1, 1, "")
    assert rows(server, table, "id, name, meshhouse_publication") == [
        (1, None, second), (3, "", first), (4, "ü\\N", second)
    ]  # fmt: skip
    assert mesh.deliver() == []
    [state] = mesh.states()
    assert (state.delivered, state.waiting) == (second, 0)


def test_all_rows_replace_what_was_changed_by_hand(mesh, server, table):
    mesh.publish("(1, 'a', 1), (2, 'b', 2)")
    mesh.deliver()
    server.query(f"insert into shop.\"{table}\" (id, name) values (9, 'x')")
    server.query(f'delete from shop."{table}" where id = 1')
    server.query(f"update shop.\"{table}\" set name = 'y' where id = 2")
    [done] = mesh.deliver(full=True)
    assert (done.added, done.problem) == (2, "")
    assert rows(server, table) == [(1, "a", Decimal("1.00")), (2, "b", Decimal("2.00"))]


def test_columns_come_and_go_but_never_change_their_type(mesh, server, table):
    mesh.publish("(1, 'a', 1), (2, 'b', 2)")
    mesh.deliver()
    mesh.with_columns(COLUMNS[0], COLUMNS[1], MORE)
    number = mesh.publish("(1, 'x', 'new')", "id, name, note")
    [done] = mesh.deliver()
    assert (done.since, done.added, done.problem) == (None, 1, "")
    assert rows(server, table, "*") == [(1, number, "x", "new")]
    mesh.with_columns(*COLUMNS)  # `paid` again, which must not have its former values
    mesh.publish("(1, 'x', null)")
    assert mesh.deliver()[0].ok
    assert rows(server, table) == [(1, "x", None)]
    mesh.with_columns(COLUMNS[0], COLUMNS[1], Column("paid", "double"))
    mesh.publish("(1, 'x', 1.5)")
    [done] = mesh.deliver()
    assert f"cannot change the type of `paid`. Drop the table shop.{table}" in done.problem
    server.query(f'drop table shop."{table}"')
    assert mesh.deliver()[0].ok
    assert rows(server, table) == [(1, "x", 1.5)]
    mesh.product = replace(mesh.product, grain=("name",))
    mesh.publish("(1, 'y', 1.5)")
    assert "cannot change the key of a table. Drop the table" in mesh.deliver()[0].problem


def test_a_delivery_that_is_killed_is_not_repeated_or_is_finished(mesh, server, table):
    mesh.publish("(1, 'a', 1)")
    assert mesh.deliver()[0].ok
    second = mesh.publish("(1, 'b', 1)")
    mesh.deliver_and_be_killed()
    written = rows(server, table, "id, name, writetime(name)")
    [done] = mesh.deliver()
    assert (done.number, done.changed, done.problem) == (second, 0, "")
    assert rows(server, table, "id, name, writetime(name)") == written


def test_a_delivery_that_stops_midway_is_finished_by_the_next(mesh, server, table, monkeypatch):
    mesh.publish("(1, 'a', 1), (2, 'a', 1), (3, 'a', 1)")
    assert mesh.deliver()[0].ok
    third = (mesh.publish("(1, 'b', 1), (3, 'b', 1)"), mesh.publish("(1, 'c', 1), (4, 'c', 1)"))[1]
    with stopping(monkeypatch, after=1):
        [done] = mesh.deliver()
        assert done.problem == "stopped"
    assert [done.problem for done in mesh.deliver()] == ["", ""]
    assert rows(server, table, "id, name") == [(1, "c"), (4, "c")]
    with stopping(monkeypatch, after=1):  # of all rows
        assert mesh.deliver(full=True)[0].problem == "stopped"
    [done] = mesh.deliver()
    assert (done.number, done.since, done.added, done.problem) == (third, None, 2, "")


def test_a_part_whose_rows_are_gone_needs_all_rows(mesh, server, table, monkeypatch):
    mesh.publish("(1, 'a', 1), (2, 'a', 1)")
    assert mesh.deliver()[0].ok
    second = mesh.publish("(1, 'b', 1), (2, 'b', 1)")
    with stopping(monkeypatch, after=1):
        assert not mesh.deliver()[0].ok
    mesh.publish("(1, 'a', 1), (2, 'a', 1)")  # no difference from the first
    gone = mesh.engine().ledger.entries("publications", "shop")[1]["snapshot_id"]
    has = Publications.has
    monkeypatch.setattr(Publications, "has", lambda self, id_: id_ != gone and has(self, id_))
    [done] = mesh.deliver()
    assert f"publication {second} was delivered in part" in done.problem
    assert "Run `mesh sinks --deliver --full shop.orders`" in done.problem
    assert mesh.deliver(full=True)[0].ok
    assert rows(server, table, "id, name") == [(1, "a"), (2, "a")]


def test_a_late_writer_never_wins(mesh, server, table, monkeypatch):
    mesh.publish("(1, 'a', 1), (2, 'a', 1)")
    assert mesh.deliver()[0].ok
    mesh.publish("(1, 'late', 1), (2, 'a', 1), (3, 'late', 1)")
    store = CassandraSink._store

    def overtaken(self, *arguments):
        monkeypatch.setattr(CassandraSink, "_store", store)
        mesh.publish("(1, 'new', 1), (2, 'a', 1)")
        assert [done.problem for done in mesh.deliver()] == ["", ""]
        store(self, *arguments)

    monkeypatch.setattr(CassandraSink, "_store", overtaken)
    # As on two machines, which have other locks.
    monkeypatch.setattr(import_module("meshhouse.sinks.deliver"), "lock", no_lock)
    outcomes = mesh.deliver()
    assert "another process delivers" in outcomes[-1].problem
    assert rows(server, table, "id, name") == [(1, "new"), (2, "a")]


def test_rows_of_a_delivery_of_all_rows_that_was_overtaken_do_not_stay(
    mesh, server, table, monkeypatch
):
    mesh.publish("(1, 'a', 1), (2, 'a', 1)")
    assert mesh.deliver()[0].ok
    mesh.publish("(1, 'late', 1), (2, 'a', 1), (3, 'late', 1)")
    store = CassandraSink._store

    def overtaken(self, *arguments):
        monkeypatch.setattr(CassandraSink, "_store", store)
        mesh.publish("(1, 'new', 1), (2, 'a', 1)")
        assert mesh.deliver(full=True)[-1].ok
        store(self, *arguments)  # after the sweep of the newer one

    monkeypatch.setattr(CassandraSink, "_store", overtaken)
    monkeypatch.setattr(import_module("meshhouse.sinks.deliver"), "lock", no_lock)
    assert "another process delivers" in mesh.deliver(full=True)[-1].problem
    [done] = mesh.deliver()
    assert (done.since, done.problem) == (None, "")
    assert rows(server, table, "id, name") == [(1, "new"), (2, "a")]


def test_values_of_every_type_and_hostile_names(mesh, server, table):
    kinds = {
        "integer": ("3", 3), "bigint": ("-9223372036854775808", -(2**63)),
        "double": ("1e300", 1e300), "boolean": ("true", True),
        "date": ("'2024-04-12'", date(2024, 4, 12)),
        "timestamp": ("'2024-04-12 10:30:00.123'",
                      datetime(2024, 4, 12, 10, 30, 0, 123000)),  # noqa: DTZ001
        "timestamptz": ("'2024-04-12 10:30:00+02'",
                        datetime(2024, 4, 12, 8, 30)),  # noqa: DTZ001
        "decimal(38,10)": ("1234567890123456789012345678.0123456789",
                           Decimal("1234567890123456789012345678.0123456789")),
        "struct<a decimal(4,2), b array<integer>>": ("{'a': 1.10::decimal(4,2), 'b': [1, null]}",
                                                     '{"a":"1.10","b":[1,null]}'),
        "map<string, integer>": ("map {'x': 1}", '{"x":1}'),
    }  # fmt: skip
    names = [f"c{at}" for at in range(len(kinds))]
    mesh.with_columns(COLUMNS[0], Column(HOSTILE, "string"), *map(Column, names, kinds))
    mesh.product = replace(mesh.product, grain=("id", HOSTILE))
    for note in ("; --", "ü"):
        mesh.publish(
            f"(1, '{note}', {', '.join(each for each, _ in kinds.values())})",
            f'id, "{HOSTILE}", {", ".join(names)}',
        )
        [done] = mesh.deliver()
        assert done.problem == ""
    [found] = server.query(f'select "{HOSTILE}", {", ".join(names)} from shop."{table}"')
    assert tuple(map(plain, found)) == ("ü", *(each for _, each in kinds.values()))


def test_rows_with_a_far_time_in_the_key_are_removed(mesh, server, table):
    mesh.with_columns(COLUMNS[0], Column("at", "timestamp"))
    mesh.product = replace(mesh.product, grain=("id", "at"))
    kept = "(0, '2500-01-01 00:00:00.123')"
    gone = ", ".join(f"({n}, '2999-12-31 23:59:59.{n:03}')" for n in range(981, 1000))
    mesh.publish(f"{kept}, {gone}", 'id, "at"')
    assert mesh.deliver()[0].ok
    mesh.publish(kept, 'id, "at"')
    assert mesh.deliver(full=True)[-1].ok
    assert rows(server, table, "id") == [(0,)]


def test_what_cassandra_cannot_hold_is_refused(mesh, server, table):
    mesh.with_columns(COLUMNS[0], Column("at", "timestamp"))
    mesh.publish("(1, '2024-04-12 10:30:00.123456')", 'id, "at"')
    [done] = mesh.deliver()
    assert "column `at` has microseconds" in done.problem
    assert "2024" not in done.problem
    mesh.with_columns(COLUMNS[0], Column("meshhouse_publication", "bigint"))
    mesh.publish("(1, 1)", "id, meshhouse_publication")
    assert "`meshhouse_publication` is a name" in mesh.deliver()[0].problem


def test_a_table_that_no_sink_made_is_left_alone(mesh, server, table):
    server.query(f'create table shop."{table}" (id int primary key)')
    server.query(f'insert into shop."{table}" (id) values (7)')
    mesh.publish("(1, 'a', 1)")
    [done] = mesh.deliver()
    assert "exists, and no sink made it" in done.problem
    assert rows(server, table, "id") == [(7,)]


def test_a_table_belongs_to_one_product(mesh, table):
    mesh.publish("(1, 'a', 1)")
    assert mesh.deliver()[0].ok
    with pytest.raises(MeshError, match=r"holds shop.orders, not shop.other"):
        CassandraSink(mesh.product.sinks[0]).position("shop.other", None)


def test_no_message_has_a_credential(mesh, server, monkeypatch):
    mesh.publish("(1, 'a', 1)")
    place = f"127.0.0.1:{server.port}"
    for connection, problem in [
        (f"cassandra://cassandra:hunter2@{place}", "refuses the user or the password"),
        ("cassandra://u:hunter2@127.0.0.1:1", "no host answers"),
        ("cassandra://u:p#hunter2@127.0.0.1", "cannot be used"),
        ("cassandra://u:hunter2@127.0.0.1:99999999", "cannot be used"),
        ("cassandra://u:hunter2@h1:9042,h2:9042", "cannot be used"),
        (f"cassandra://u:hunter2@{place}/?dc=hunter2", "cannot be used"),
        ("hunter2", "cannot be used"),
        ("", "is not set"),
        (f"{server.connection}/?datacenter=hunter2", "no host answers"),
    ]:
        monkeypatch.setenv("ORDERS_C", connection)
        [done] = mesh.deliver()
        assert problem in done.problem, connection
        assert "ORDERS_C" in done.problem
        assert "hunter2" not in done.problem
    assert "hunter2" not in str(mesh.engine().ledger.entries("deliveries"))


def test_an_encrypted_connection_trusts_only_the_named_authority(
    mesh, server, table, monkeypatch, tmp_path
):
    mesh.publish("(1, 'a', 1)")
    key = server.certificate.with_name("key.pem")
    both = f"ssl_cert={server.certificate}&ssl_key={key}"
    for options, problem in [
        ("ssl=true", "is not accepted (self-signed certificate)"),
        (
            f"ssl_ca={tmp_path}/none",
            "the file of `ssl_ca` in ORDERS_C cannot be read: No such file",
        ),
        ("ssl_ca=ca.pem", "`ssl_ca` in ORDERS_C needs the whole path"),
        (f"ssl_cert={key}&ssl_key={tmp_path}/none", "the file of `ssl_key` in ORDERS_C cannot"),
        (f"ssl_ca={key}", "the file of `ssl_ca` in ORDERS_C cannot be used"),
        (f"ssl_cert={key}", "the file of `ssl_cert` in ORDERS_C cannot be used"),
        (f"ssl_key={key}", "`ssl_key` without `ssl_cert`"),
        (f"ssl=false&{both}", "`ssl=false` and `ssl_cert`"),
        ("ssl=maybe", "cannot be used"),
        ("ssl_ca=", "cannot be used"),
        ("ssl=true&ssl=false", "cannot be used"),
    ]:
        monkeypatch.setenv("ORDERS_C", f"{server.connection}/?{options}")
        [done] = mesh.deliver()
        assert problem in done.problem, options
    trusted = f"ssl_ca={server.certificate}"
    encrypted = []

    def noted(*arguments, **options):
        made = create(*arguments, **options)
        encrypted.append(made)
        return made

    create = ssl.create_default_context
    monkeypatch.setattr(ssl, "create_default_context", noted)
    for options in (f"{trusted}&{both}", f"{trusted}&ssl_check_hostname=false"):
        monkeypatch.setenv("ORDERS_C", f"{server.connection}/?{options}")
        assert [done.problem for done in mesh.deliver(full=True)] == [""]
    assert rows(server, table, "id") == [(1,)]
    assert all(each.session_stats()["connect_good"] for each in encrypted)
    assert {each.check_hostname for each in encrypted} == {True, False}


def test_a_host_that_is_away_leaves_the_others(mesh, server, table, monkeypatch):
    monkeypatch.setenv("ORDERS_C", server.connection.replace("127.0.0.1", "127.0.0.9,127.0.0.1"))
    mesh.publish("(1, 'a', 1)")
    assert mesh.deliver()[0].ok
    assert rows(server, table, "id") == [(1,)]


def test_a_keyspace_is_not_made(tmp_path, server, monkeypatch):
    monkeypatch.setenv("ORDERS_C", server.connection)
    mesh = SinkMesh(tmp_path / "mesh", Sink("cassandra", "nowhere.orders", "ORDERS_C"))
    mesh.publish("(1, 'a', 1)")
    assert "there is no keyspace nowhere. Create it" in mesh.deliver()[0].problem


@contextmanager
def stopping(monkeypatch, after: int):
    """Deliveries fail after some rows."""
    store = CassandraSink._store

    def stopped(self, session, delivery, rows, *rest):
        def some():
            for at, each in enumerate(rows):
                if at == after:
                    break
                yield each

        store(self, session, delivery, some(), *rest)
        raise MeshError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(CassandraSink, "_store", stopped)
        yield


@contextmanager
def no_lock(*_):
    yield


def plain(value):
    from cassandra.util import Date

    return value.date() if isinstance(value, Date) else value
