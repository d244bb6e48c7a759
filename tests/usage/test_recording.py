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
from meshhouse.usage.record import MOST_BYTES, Recorder, file_name

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
    assert abs(read.at - datetime.now(UTC)) < timedelta(minutes=10)


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
    file = tmp_path / f"{old:%Y-%m-%d}-1.jsonl"
    file.write_bytes(line(at=old))
    os.utime(file, (old.timestamp(), old.timestamp()))
    store = ReadStore(tmp_path)
    store.add("w", [("1", [Read(ancient, "a.b", None, "u", "", "history of w")])])
    store.fold()
    assert [each.name for each in tmp_path.glob("*.jsonl")] == []
    [read] = store.read().reads
    assert read.at == old


def test_what_cannot_be_read_counts_as_unknown(tmp_path):
    today = tmp_path / f"{NOW:%Y-%m-%d}-1.jsonl"
    bad = (
        b"\xff\xfe", b"{}", b"[1]", b"null", json.dumps({"at": "yesterday"}).encode(),
        b"[" * 200_000, b'{"at":' + b"9" * 5_000 + b"}",
        line().strip().replace(b'"a.b":["x"]', b""), line().strip().replace(b'["x"]', b"5"),
    )  # fmt: skip
    today.write_bytes(b"\n".join(bad) + b"\n" + line())
    reads = ReadStore(tmp_path).read().reads
    assert sum(each.count for each in reads if each.product == UNKNOWN) == len(bad)
    assert sum(each.count for each in reads if each.product == "a.b") == 1


def test_a_full_file_takes_no_more_and_says_so(tmp_path):
    recorder = Recorder(tmp_path, "python")
    today = tmp_path / file_name(datetime.now(UTC))
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
    store.fold(NOW)
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


def test_names_of_a_line_can_be_printed_and_stored(tmp_path):
    """One reader writes it, and every command must still work for everybody."""
    today = tmp_path / f"{NOW:%Y-%m-%d}-1.jsonl"
    user = "\x1b[31m\ud800ann" + "n" * 500
    content = json.loads(line(user=user, consumer=" \udcff\n", via="\ud800"))
    content["products"] = {"a\ud800.b": ["x\udfff"]}
    today.write_text(json.dumps(content) + "\n")
    store = ReadStore(tmp_path)
    assert store.fold() == 1
    [read] = store.read().reads
    assert read.user.startswith("[31mann")
    assert len(read.user) == 100
    assert (read.consumer, read.via, read.product, read.columns) == ("", "", "a.b", ("x",))


def test_a_user_whose_name_is_no_text_breaks_nothing(sold):
    odd = {"LOGNAME": "\udcff"}
    sold.run("sql", "select amount from shop.orders", environment=odd)
    assert "shop.orders" in sold.run("usage").stdout
    assert "user" in sold.run("usage", "--cost").stdout
    assert "mesh_up 1.0" in sold.run("metrics").stdout


PROVED = NOW - timedelta(days=150)


def folder_of_150_days(folder):
    """A folder whose reads are recorded for long, and that was folded an hour ago."""
    store = ReadStore(folder)
    store.fold(PROVED)
    store.fold(NOW - timedelta(hours=1))
    return store


@pytest.mark.parametrize("days", [-700, 300, -20_000])
def test_a_read_counts_now_whatever_the_readers_clock_says(tmp_path, days):
    store = folder_of_150_days(tmp_path)
    at = NOW + timedelta(days)
    (tmp_path / f"{at:%Y-%m-%d}-5.jsonl").write_bytes(line(at=at))
    kept = store.read(NOW - timedelta(days=90))
    [read] = kept.reads
    assert abs(read.at - NOW) < timedelta(hours=2)
    assert kept.since == PROVED


@pytest.mark.parametrize("is_folded", [True, False])
def test_a_line_never_says_since_when_reads_are_recorded(tmp_path, monkeypatch, is_folded):
    long_ago = datetime(1970, 1, 1, tzinfo=UTC)
    (tmp_path / "1970-01-01-1.jsonl").write_bytes(line(at=long_ago) + line(at=NOW - timedelta(9)))
    if not is_folded:
        monkeypatch.setattr(ReadStore, "_writing", refused)
    kept = ReadStore(tmp_path).read()
    assert kept.since >= NOW
    assert [each.at.date() for each in kept.reads].count(NOW.date() - timedelta(9)) == 1
    assert sum(each.count for each in kept.reads) == 2


def refused(*arguments):
    raise MeshError("read only")


def test_a_file_that_cannot_be_read_may_hold_reads_of_anything(tmp_path):
    store = folder_of_150_days(tmp_path)
    (tmp_path / f"{NOW:%Y-%m-%d}-5.jsonl").mkdir()  # as root, tests can read any file
    for _ in range(2):
        [read] = store.read().reads
        assert (read.product, read.count) == (UNKNOWN, 1)


def test_a_file_that_became_shorter_is_read_from_its_beginning(tmp_path):
    today = tmp_path / f"{NOW:%Y-%m-%d}-1.jsonl"
    today.write_bytes(line() * 5)
    store = ReadStore(tmp_path)
    store.fold()
    today.write_bytes(line() * 2)
    for _ in range(2):
        counts = {each.product: each.count for each in store.read().reads}
        assert counts == {"a.b": 7, UNKNOWN: 1}


def test_a_file_of_a_day_long_ago_stays_while_it_is_written(tmp_path):
    file = tmp_path / "1970-01-01-1.jsonl"
    file.write_bytes(line())
    ReadStore(tmp_path).fold()
    assert file.exists()


def test_nothing_but_a_regular_file_is_written_or_read(tmp_path):
    """A shared folder is open to all: a link could lead anywhere, and a pipe never answers."""
    name = file_name(datetime.now(UTC))
    victim = tmp_path / "victim"
    victim.write_text("mine\n")
    for number, make in enumerate((os.mkfifo, lambda path: path.symlink_to(victim))):
        folder = tmp_path / str(number)
        folder.mkdir()
        make(folder / name)
        Recorder(folder, "python").record({"a.b": ["x"]})
        assert [each.product for each in ReadStore(folder).read().reads] == [UNKNOWN]
    pipe = os.open(tmp_path / "0" / name, os.O_RDONLY | os.O_NONBLOCK)
    try:
        Recorder(tmp_path / "0", "python").record({"a.b": ["x"]})
        assert os.read(pipe, 100) == b""
    finally:
        os.close(pipe)
    assert victim.read_text() == "mine\n"


def test_hosts_that_share_a_folder_share_no_file(tmp_path, monkeypatch):
    for host in ("one", "two", "../Üx/.example.com", ""):
        monkeypatch.setattr("platform.node", lambda host=host: host)
        Recorder(tmp_path, "python").record({"a.b": ["x"]})
    assert len(list(tmp_path.glob("*.jsonl"))) == 4
    assert sum(each.count for each in ReadStore(tmp_path).read().reads) == 4


def test_sql_that_a_relation_is_given_is_unknown(sold):
    with meshhouse.connect(sold.root) as connection:
        relation = connection.sql("select order_id, amount from shop.orders")
        assert len(relation.fetchall()) == len(relation.df()) == len(relation) == 3
        assert relation.columns == ["order_id", "amount"]
        assert "order_id" in str(relation)
        relation.show()
        assert [each.product for each in kept(sold)] == ["shop.orders"]
        with pytest.raises(AttributeError, match="whole query"):
            relation.query("r", "select customer_id from shop.orders")
        assert [each.product for each in kept(sold)] == ["shop.orders"]
        assert relation.filter("amount > (select 0.75)").fetchall()
        assert {each.product for each in kept(sold)} == {"shop.orders", UNKNOWN}
        connection.register("sales", relation)
        assert connection.execute("select count(*) from sales").fetchone() == (3,)
