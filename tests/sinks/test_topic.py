"""A topic as a sink: the embedded event log and a real broker."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from meshhouse.repository import Sink
from tests.support.kafka_topics import Cluster
from tests.support.sinking import COLUMNS, MORE, SinkMesh

TOPIC = Sink("kafka", "published.orders", clear=("name",))


@pytest.fixture
def mesh(tmp_path) -> SinkMesh:
    return SinkMesh(tmp_path / "a mesh", TOPIC)


def kinds(events) -> list[tuple]:
    return [(key["id"], headers["meshhouse.change"]) for key, _, headers in events]


def test_the_first_delivery_has_all_rows_and_later_ones_what_changed(mesh):
    first = mesh.publish("(1, 'ä', 1.5), (2, null, 2.25), (3, 'c', 3)")
    [done] = mesh.deliver()
    assert (done.number, done.since, done.added, done.problem) == (first, None, 3, "")
    second = mesh.publish("(1, 'ä', 1.5), (2, 'b', 2.25), (4, 'd', 4)")
    [done] = mesh.deliver()
    assert (done.since, done.added, done.changed, done.removed) == (first, 1, 1, 1)
    events = mesh.events("published.orders")
    assert sorted(kinds(events[:3])) == [(1, "added"), (2, "added"), (3, "added")]
    assert sorted(kinds(events[3:])) == [(2, "changed"), (3, "removed"), (4, "added")]
    by_key = {key["id"]: (value, headers) for key, value, headers in events}
    assert by_key[1][0] == {"id": 1, "name": "ä", "paid": "1.50"}
    assert by_key[3][0] is None
    by_key[2][1].pop("meshhouse.publication_id")
    assert by_key[2][1] == {
        "meshhouse.product": "shop.orders", "meshhouse.version": "1",
        "meshhouse.publication": str(second), "meshhouse.change": "changed",
        "meshhouse.full": "false",
    }  # fmt: skip
    assert mesh.deliver() == []
    [state] = mesh.states()
    assert (state.delivered, state.current, state.waiting, state.problem) == (second, second, 0, "")


def test_each_publication_since_is_delivered_in_order(mesh):
    mesh.publish("(1, 'a', 1)")
    mesh.deliver()
    numbers = [mesh.publish(f"(1, 'a', {paid})") for paid in (2, 3, 4)]
    assert [each.number for each in mesh.deliver()] == numbers
    assert [value["paid"] for _, value, _ in mesh.events("published.orders")] == [
        "1.00", "2.00", "3.00", "4.00"
    ]  # fmt: skip


def test_changed_columns_are_a_full_refresh_that_says_so(mesh):
    mesh.publish("(1, 'a', 1)")
    mesh.deliver()
    mesh.with_columns(*COLUMNS, MORE)
    mesh.publish("(1, 'a', 1, null)", "id, name, paid, note")
    [done] = mesh.deliver()
    assert (done.since, done.added) == (None, 1)
    assert "its columns changed" in done.note


def test_rows_that_are_gone_make_a_full_refresh_that_says_so(mesh, monkeypatch):
    first = mesh.publish("(1, 'a', 1), (2, 'b', 2)")
    mesh.deliver()
    mesh.publish("(2, 'b', 3)")
    lake = mesh.engine().lake
    table = lake.load("shop.orders")
    base = table.metadata_location
    old = [each.snapshot_id for each in table.snapshots()][:-1]
    with table.transaction() as transaction:
        from pyiceberg.table.update.snapshot import ExpireSnapshots

        expire = ExpireSnapshots(transaction)
        for each in old:
            expire = expire.by_id(each)
        expire.commit()
    lake.commit([lake.staged(table, base)])
    [done] = mesh.deliver()
    assert (done.since, done.added, done.problem) == (None, 1, "")
    assert f"publication {first}" in done.note


def test_a_failing_sink_is_said_and_tried_again(mesh, monkeypatch):
    mesh.publish("(1, 'a', 1)")
    from meshhouse.errors import MeshError
    from meshhouse.sinks import topic

    def unreachable(root, home):
        raise MeshError("The cluster is away.")

    with monkeypatch.context() as patch:
        patch.setattr(topic, "open_writer", unreachable)
        for _ in range(3):
            [done] = mesh.deliver()
            assert done.problem == "The cluster is away."
        [state] = mesh.states()
        assert (state.waiting, state.problem) == (1, "The cluster is away.")
    assert len(mesh.engine().ledger.entries("deliveries")) == 1  # said once
    [done] = mesh.deliver()
    assert done.ok


def test_personal_columns_are_refused_unless_they_are_named(mesh):
    mail = replace(COLUMNS[1], classification="personal")
    mesh.with_columns(COLUMNS[0], mail, COLUMNS[2])
    mesh.publish("(1, 'ada@example.org', 1)")
    a, b = Sink("kafka", "a"), Sink("kafka", "b", without=("name",))
    mesh.product = replace(mesh.product, sinks=(a, b, Sink("kafka", "c", clear=("name",))))
    refused, without, clear = mesh.deliver()
    assert "name may hold personal data" in refused.problem
    assert without.ok
    assert clear.ok
    assert [value for _, value, _ in mesh.events("b")] == [{"id": 1, "paid": "1.00"}]
    assert [value["name"] for _, value, _ in mesh.events("c")] == ["ada@example.org"]
    source_topics = [each for each in ("a", "b", "c") if each in _topics(mesh)]
    assert source_topics == ["b", "c"]


def _topics(mesh) -> list[str]:
    from meshhouse.events import event_log

    return event_log(mesh.repository.home).topics()


def test_a_broker_gets_what_a_killed_delivery_sent_again(tmp_path, broker, monkeypatch):
    topic = f"sink.{os.getpid()}"
    mesh = SinkMesh(tmp_path / "mesh", Sink("kafka", topic, clear=("name",)))
    monkeypatch.setenv(
        "KAFKA_BOOTSTRAP_SERVERS", Cluster(broker).settings.properties["bootstrap.servers"]
    )
    mesh.publish("(1, 'a', 1), (2, 'b', 2)")
    assert mesh.deliver()[0].ok
    second = mesh.publish("(1, 'a', 5)")

    mesh.deliver_and_be_killed()
    [done] = mesh.deliver()
    assert (done.number, done.changed, done.removed) == (second, 1, 1)
    events = mesh.events(topic)[2:]
    assert (
        sorted(kinds(events[:2])) == sorted(kinds(events[2:])) == [(1, "changed"), (2, "removed")]
    )
    assert {headers["meshhouse.publication"] for _, _, headers in events} == {str(second)}


def test_other_declared_columns_are_a_full_refresh(mesh):
    mesh.publish("(1, 'a', 1), (2, 'b', 2)")
    mesh.deliver()
    mesh.product = replace(mesh.product, sinks=(replace(TOPIC, without=("name",)),))
    mesh.publish("(1, 'a', 1), (2, 'b', 3)")
    [done] = mesh.deliver()
    assert (done.since, done.added) == (None, 2)
    assert "other columns than it has" in done.note
    mesh.publish("(1, 'a', 1), (2, 'c', 3)")  # in a column that it does not get
    [done] = mesh.deliver()
    assert (done.added, done.changed, done.removed) == (0, 0, 0)
