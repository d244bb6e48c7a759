"""Reads are recorded beside the query, and never in its way."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

import meshhouse
from meshhouse.errors import MeshError
from meshhouse.ledger import user
from meshhouse.usage import Read, ReadStore, store_of
from meshhouse.usage.reads import UNKNOWN, as_line
from meshhouse.usage.record import MOST_BYTES, Recorder

NOW = datetime.now(UTC)


def kept(mesh):
    return store_of(mesh.repository).read().reads


def texts(mesh):
    return b"".join(each.read_bytes() for each in (mesh.home / "reads").glob("*"))


def test_a_query_of_the_command_line_is_recorded(sold):
    sold.run("sql", "select order_id from shop.orders where amount > 0.75", "--format", "csv")
    [read] = kept(sold)
    assert (read.product, read.columns) == ("shop.orders", ("amount", "order_id"))
    assert (read.via, read.user, read.consumer, read.count) == ("mesh sql", user(), "", 1)
    assert abs(read.at - NOW) < timedelta(minutes=10)


def test_a_consumer_can_be_declared(sold, monkeypatch):
    named = {"MESH_CONSUMER": " finance\n"}
    sold.run("sql", "select count(*) from shop.orders", environment=named)
    with meshhouse.connect(sold.root, consumer="report") as connection:
        connection.sql("select count(*) from shop.orders").fetchall()
    monkeypatch.setenv("MESH_CONSUMER", "notebook")
    with meshhouse.connect(sold.root) as connection:
        connection.cursor().execute("from shop.orders").fetchall()
    assert {(each.via, each.consumer, each.count) for each in kept(sold)} == {
        ("mesh sql", "finance", 1), ("python", "report", 1), ("python", "notebook", 1)
    }  # fmt: skip


def test_values_of_a_query_are_never_kept(sold):
    secret = "jane.doe@example.com"
    with meshhouse.connect(sold.root) as connection:
        connection.execute(
            f"select '{secret}' as \"x {secret}\" from shop.orders "
            f"where order_id::text = '{secret}' order by \"x {secret}\""
        )
        connection.execute("select ? from shop.orders", [secret])
    assert len(kept(sold)) == 2
    assert b"jane" not in texts(sold)


def test_what_fails_or_reads_no_product_is_not_recorded(sold):
    with meshhouse.connect(sold.root) as connection:
        for sql in ("describe shop.orders", "show tables", "select 1", "from meshhouse.runs"):
            connection.execute(sql).fetchall()
        connection.execute("explain select * from shop.orders")
    sold.run("sql", "select nothing from shop.orders", code=2)
    assert kept(sold) == ()


def test_an_unrestricted_connection_is_recorded_as_unknown(sold):
    meshhouse.connect(sold.root, unrestricted=True).close()
    [read] = kept(sold)
    assert (read.product, read.columns) == (UNKNOWN, None)


@pytest.mark.parametrize("off", ["off", "a file in the way"])
def test_a_folder_that_cannot_be_written_stops_no_query(sold, monkeypatch, off):
    if off == "off":
        monkeypatch.setenv("MESH_READS", "off")
    else:
        (sold.home / "reads").write_text("in the way")
    with meshhouse.connect(sold.root) as connection:
        assert connection.execute("select count(*) from shop.orders").fetchone() == (3,)
    assert kept(sold) == ()


def test_reads_can_be_recorded_in_a_shared_folder(sold, monkeypatch, tmp_path):
    monkeypatch.setenv("MESH_READS", str(tmp_path / "shared reads ü"))
    with meshhouse.connect(sold.root) as connection:
        connection.execute("from shop.orders")
    assert len(kept(sold)) == 1
    assert not (sold.home / "reads").exists()


def test_an_environment_has_its_own_reads(sold, monkeypatch):
    monkeypatch.setenv("MESH_ENV", "dev")
    with meshhouse.connect(sold.root) as connection:
        connection.execute("from shop.orders")
    assert len(kept(sold)) == 1
    monkeypatch.delenv("MESH_ENV")
    assert kept(sold) == ()


def test_recording_takes_little_time(sold):
    with meshhouse.connect(sold.root) as connection:
        sql = "select order_id, amount from shop.orders o where amount > 1 order by sold_at"
        connection.execute(sql)
        found = connection._checked(sql)
        began = time.process_time()
        for _ in range(100):
            connection._record(found)
        assert (time.process_time() - began) / 100 < 0.001


def line(**fields):
    about = {"at": NOW, "user": "u", "consumer": "", "via": "python", **fields}
    return as_line(products={"a.b": ["x"]}, **about)


def test_each_line_counts_once_however_often_it_is_folded(tmp_path):
    store, today = ReadStore(tmp_path), tmp_path / f"{NOW:%Y-%m-%d}-1.jsonl"
    for count in (1, 2, 3):
        with today.open("ab") as file:
            file.write(line())
        assert store.fold() == 1
        assert store.fold() == 0
        [read] = store.read().reads
        assert read.count == count
    with today.open("ab") as file:
        file.write(line()[:-5])  # half a line, whose rest follows later
    assert [each.count for each in store.read().reads] == [3]
    with today.open("ab") as file:
        file.write(line()[-5:])
    assert [each.count for each in store.read().reads] == [4]


def test_a_crash_between_rows_and_their_position_repeats_nothing(tmp_path, monkeypatch):
    store, today = ReadStore(tmp_path), tmp_path / f"{NOW:%Y-%m-%d}-1.jsonl"
    today.write_bytes(line())

    def broken(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ReadStore, "_begin", broken)
        with pytest.raises(KeyboardInterrupt):
            store.fold()
    assert [each.count for each in store.read().reads] == [1]


def test_the_table_has_one_row_for_each_day_columns_and_consumer(tmp_path):
    today = tmp_path / f"{NOW:%Y-%m-%d}-1.jsonl"
    today.write_bytes(b"".join(line(consumer=str(each % 3)) for each in range(3_000)))
    assert ReadStore(tmp_path).fold() == 3_000
    with sqlite3.connect(tmp_path / "reads.db") as table:
        assert table.execute("select count(*), sum(count) from reads").fetchone() == (3, 3_000)


def test_old_files_and_rows_go(tmp_path):
    old = NOW - timedelta(days=5)
    ancient = NOW - timedelta(days=500)
    (tmp_path / f"{old:%Y-%m-%d}-1.jsonl").write_bytes(line(at=old))
    (tmp_path / f"{ancient:%Y-%m-%d}-1.jsonl").write_bytes(line(at=ancient))
    store = ReadStore(tmp_path)
    store.fold()
    assert [each.name for each in tmp_path.glob("*.jsonl")] == []
    [read] = store.read().reads
    assert read.at == old
    assert store.read().since == ancient


def test_what_cannot_be_read_counts_as_unknown(tmp_path):
    today = tmp_path / f"{NOW:%Y-%m-%d}-1.jsonl"
    bad = (b"\xff\xfe", b"{}", b"[1]", b"null", json.dumps({"at": "yesterday"}).encode())
    today.write_bytes(b"\n".join(bad) + b"\n" + line())
    reads = ReadStore(tmp_path).read().reads
    assert sum(each.count for each in reads if each.product == UNKNOWN) == len(bad)
    assert sum(each.count for each in reads if each.product == "a.b") == 1


def test_a_full_file_takes_no_more_and_says_so(tmp_path):
    recorder = Recorder(tmp_path, "python")
    today = tmp_path / f"{datetime.now(UTC):%Y-%m-%d}-{os.getuid()}.jsonl"
    with today.open("wb") as file:
        file.truncate(MOST_BYTES - 1)
        file.seek(MOST_BYTES - 1)
        file.write(b"\n")
    recorder.record({"a.b": ["x"]})
    assert today.stat().st_size == MOST_BYTES
    reads = ReadStore(tmp_path).read().reads
    assert {each.product for each in reads} == {UNKNOWN}


def test_reads_are_shown_where_the_folder_is_read_only(tmp_path, monkeypatch):
    today = tmp_path / f"{NOW:%Y-%m-%d}-1.jsonl"
    today.write_bytes(line())
    store = ReadStore(tmp_path)
    store.fold()
    with today.open("ab") as file:
        file.write(line())

    def refused(self, now=None):
        raise MeshError("read only")

    monkeypatch.setattr(ReadStore, "fold", refused)
    assert sum(each.count for each in store.read().reads) == 2
    assert store.read().since == NOW


def test_a_damaged_table_is_said_in_one_line(tmp_path):
    (tmp_path / "reads.db").write_bytes(b"not a database" * 100)
    with pytest.raises(MeshError, match="move it away"):
        ReadStore(tmp_path).read()


def test_imported_queries_count_once(tmp_path):
    store = ReadStore(tmp_path)
    read = Read(NOW, "a.b", ("x",), "u", "", "history of w", milliseconds=5)
    assert store.position("w") is None
    assert store.add("w", [("1", [read]), ("2", [read])], "noon") == 2
    assert store.add("w", [("2", [read]), ("3", [read])], "one") == 1
    assert store.position("w") == "one"
    [found] = store.read().reads
    assert (found.count, found.milliseconds) == (3, 15)


def test_a_failure_to_record_stops_no_query(sold, monkeypatch):
    def broken(*arguments):
        raise RuntimeError("boom")

    monkeypatch.setattr("meshhouse.serve.connection.products_read", broken)
    with meshhouse.connect(sold.root) as connection:
        assert connection.execute("select count(*) from shop.orders").fetchone() == (3,)
        [read] = kept(sold)
        assert read.product == UNKNOWN
        monkeypatch.setattr("meshhouse.usage.record.as_line", broken)
        assert connection.execute("select count(*) from shop.orders").fetchone() == (3,)


def test_readers_at_the_same_time_lose_no_line(sold):
    def many():
        with meshhouse.connect(sold.root) as connection:
            for _ in range(50):
                connection.cursor().execute("select amount from shop.orders")

    threads = [threading.Thread(target=many) for _ in range(4)]
    for each in threads:
        each.start()
    store = store_of(sold.repository)
    while any(each.is_alive() for each in threads):
        store.fold()
    assert sum(each.count for each in kept(sold)) == 200


def test_later_publications_are_recorded_with_their_columns(sold):
    with meshhouse.connect(sold.root) as connection:
        connection.execute("select amount from shop.orders")
        meshhouse.refresh(connection, sold.root)
        connection.execute("select order_id from shop.orders")
    assert {each.columns for each in kept(sold)} == {("amount",), ("order_id",)}
