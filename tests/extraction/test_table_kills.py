"""A kill at any step of an extraction from a table loses and doubles nothing."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from datetime import datetime, timedelta
from functools import cache

import pytest

from meshhouse.events.errors import SourceAway
from meshhouse.extraction import new_rows, run, steps
from meshhouse.extraction.kept import Kept
from meshhouse.extraction.kept_rows import KeptRows
from meshhouse.repository import RawTable, Repository
from tests.support import tabled
from tests.support.chaos import wait_until
from tests.support.extracting import extract_and_die
from tests.support.kafka_topics import Cluster
from tests.support.tabled import TABLE, VARIABLE, Database, Shop

STEPS = [
    (run, "write_parcel", 1), (run, "write_parcel", 2), (KeptRows, "is_new", 4),
    (KeptRows, "begin_rows", 1), (KeptRows, "begin_rows", 2), (KeptRows, "begin", 1),
    ("target", "append", 1), ("target", "append", 2), ("target", "append", 3),
    (Kept, "finish", 1), (Kept, "finish", 2), (KeptRows, "end_reading", 1),
]  # fmt: skip
NOON = datetime(2017, 3, 1, 12)  # noqa: DTZ001 - a text of SQL
WHOLE = [
    (run, "write_parcel", 1), (Kept, "begin", 1), ("target", "append", 1),
    ("target", "append", 2), (Kept, "finish", 1),
]  # fmt: skip


@pytest.fixture(scope="module")
def servers():
    """Servers by kind, started when they are needed."""
    with ExitStack() as opened:
        yield cache(lambda kind: opened.enter_context(tabled.running(kind)))


@pytest.fixture(params=[
    "postgres to the log", "mysql to the log",
    pytest.param("postgres to kafka", marks=pytest.mark.server),
])  # fmt: skip
def shop(request, mesh, servers, monkeypatch) -> Shop:
    kind, _, log = request.param.partition(" to ")
    server, environment = servers(kind), {}
    if log == "kafka":
        cluster = Cluster(request.getfixturevalue("broker"))
        environment = {"KAFKA_BOOTSTRAP_SERVERS": cluster.settings.bootstrap_servers}
        mesh.run("topic", "list")  # starts the warm process, which must not have the variable
    for name, value in {**environment, VARIABLE: server.url}.items():
        monkeypatch.setenv(name, value)
    # Small portions, so that a kill also hits rows of which a part is sent.
    monkeypatch.setattr("meshhouse.extraction.parcel._EVENTS", 2)
    monkeypatch.setattr(new_rows, "_ROWS", 4)
    schema = f"k{time.monotonic_ns()}"
    database = Database(kind, server.url, server.server, schema)
    database.do("create schema {}", "create table {}.sales (sale_id int, customer_id int, amount "
                f"int, sold_at {database.instant}, changed_at {database.instant})")  # fmt: skip
    topic = f"shop.sales.{os.getpid()}.{time.monotonic_ns()}"
    return Shop(mesh, database, topic, environment)


def insert(number: int) -> str:
    return f"insert into {{}}.sales (sale_id) values ({number})"


def die(shop: Shop, place: object, name: str, number: int, is_after: bool) -> bool:
    """Whether an extraction was killed at a step."""
    repository = shop.mesh.repository
    child = os.fork()
    if child == 0:
        extract_and_die(repository, TABLE, place, name, number, is_after)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def is_extracted(repository: Repository, raw: RawTable) -> bool:
    """Extracts; False if the broker elects a leader and thus asks to run the command again."""
    try:
        steps.extract(repository, raw)
    except SourceAway:
        return False
    return True


def test_with_a_cursor(shop):
    shop.declare("cursor: changed_at, lag: 100, key: sale_id")
    repository = shop.mesh.repository
    raw = repository.raw_table(TABLE)
    expected: list[int] = []
    killed = 0
    # A kill that the log cannot see needs no broker; each takes a second with one.
    seen = [each for each in STEPS if each[0] in ("target", Kept)] if shop.environment else STEPS
    for place, name, number in seen:
        for is_after in (False, True):
            begin, second = len(expected), killed * 10
            # Seven new rows: some have the cursor of another, and some are late.
            shop.database.do(*(
                f"insert into {{}}.sales values ({begin + n}, 1, 1, null, "
                f"'{NOON + timedelta(seconds=second + n // 3 - n % 2 * 40)}')"
                for n in range(7)
            ))  # fmt: skip
            expected += range(begin, begin + 7)
            killed += die(shop, place, name, number, is_after)
            wait_until(lambda: is_extracted(repository, raw), 60, "extracting")
            assert sorted(shop.numbers()) == expected, (name, number, is_after)
    assert killed == 2 * len(seen)
    assert list((shop.mesh.home / "extract").glob("*.arrow")) == []


def test_a_whole_table(shop):
    shop.declare("key: sale_id")
    repository = shop.mesh.repository
    raw = repository.raw_table(TABLE)
    expected: list[int] = []
    killed = 0
    for place, name, number in WHOLE:
        for is_after in (False, True):
            numbers = range(killed * 100, killed * 100 + 5)
            shop.database.do("delete from {}.sales", *map(insert, numbers))
            expected += numbers
            killed += die(shop, place, name, number, is_after)
            steps.extract(repository, raw)
            assert sorted(shop.numbers()) == expected, (name, number, is_after)
    assert killed == 2 * len(WHOLE)


def test_the_rows_in_flight_may_be_gone_after_a_kill(shop):
    shop.declare("cursor: sale_id, lag: 0")
    repository = shop.mesh.repository
    shop.database.do(*map(insert, range(4)))
    assert die(shop, "target", "append", 1, True)
    assert shop.numbers() == [0, 1]
    shop.database.do("delete from {}.sales")
    steps.extract(repository, repository.raw_table(TABLE))
    assert shop.numbers() == [0, 1, 2, 3]
