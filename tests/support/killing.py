"""Work that tests kill at any time, and a check of its results.

Belongs here: landing and publishing in a loop, forked from a warm parent so that a kill costs
milliseconds, and the checker. Not here: the kills and assertions (tests/runs/test_kill.py).
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet
from pyiceberg.io import pyarrow as _iceberg_io  # noqa: F401 - loaded once, in the parent

from meshhouse.engines.duckdb.engine import DuckDBEngine, work_file
from meshhouse.events import EventLog, event_log
from meshhouse.events.source import Partition, Topic
from meshhouse.lake import Lake
from meshhouse.lake.ledger import LakeLedger
from meshhouse.lake.views import connect_memory, create_views
from meshhouse.landing import LakeStore
from meshhouse.landing.decode import Decoder
from meshhouse.landing.land import land
from meshhouse.landing.store import OFFSETS
from meshhouse.repository import Column, Product, RawTable, Repository

_forked: list[int] = []
TOPIC = "shop.sales"
A_FEW = 400
"""Events of each partition that one round lands."""


def raw_table() -> RawTable:
    """The raw table; a few events are rejected."""
    columns = (Column("sale_id", "bigint", required=True), Column("amount", "decimal(12,2)"))
    return RawTable("shop", "shop_raw", "sales", TOPIC, columns, "", False, Path("topics.yml"), 1)


def product(name: str, domain: str = "shop") -> Product:
    """One of two products of a domain that must always be of the same round."""
    return Product(
        domain=domain, model=name, version=1, is_latest=True, description="", group=None,
        columns=(Column("round", "bigint"), Column("id", "bigint")), contract=True,
        grain=("id",), promises={}, path=Path(f"{name}.yml"), line=1, sql_path=Path(f"{name}.sql"),
    )  # fmt: skip


NAMES = ("orders", "order_lines")
PRODUCTS = tuple(map(product, NAMES))
RIVAL = "stock"
"""A second domain, which publishes at the same time."""


def write_events(home: Path, count: int) -> None:
    """Sends `count` events to two partitions; one in a hundred is not JSON."""
    log = event_log(home)
    log.create_topic(TOPIC, 2)
    now = int(datetime.now(UTC).timestamp() * 1000)
    for start in range(0, count, 2_000):
        numbers = range(start, min(start + 2_000, count))
        events = [(str(number).encode(), _value(number), now, []) for number in numbers]
        log.append_events(TOPIC, events, "test")


def _value(number: int) -> bytes:
    return (
        b"not json"
        if number % 100 == 7
        else json.dumps({"sale_id": number, "amount": 1.5}).encode()
    )


class AFew:
    """The event log, with topics that seem to end `A_FEW` events after the landed offsets."""

    def __init__(self, log: EventLog, landed: Mapping[int, int]) -> None:
        self._log = log
        self._landed = landed

    def describe(self, topic: str) -> Topic:
        whole = self._log.describe(topic)
        partitions = {
            number: Partition(each.begin, min(each.end, self._landed.get(number, 0) + A_FEW))
            for number, each in whole.partitions.items()
        }
        return Topic(whole.name, whole.cluster_id, whole.topic_id, partitions)

    def read(self, topic: str, ranges: Mapping[int, tuple[int, int]], max_bytes: int) -> Any:
        return self._log.read(topic, ranges, 4_000)


def work(home: Path) -> None:
    """Lands and publishes in small steps until every event is landed."""
    log, lake, raw = event_log(home), Lake(home), raw_table()
    end = {number: each.end for number, each in log.describe(TOPIC).partitions.items()}
    while True:
        landed = land(AFew(log, offsets(lake)), LakeStore(lake), raw, commit_bytes=20_000)
        publish_round(home, sum(landed.offsets.values()))
        if landed.offsets == end:
            return


def finish(home: Path) -> None:
    """Lands and publishes all remaining events at once."""
    landed = land(event_log(home), LakeStore(Lake(home)), raw_table())
    publish_round(home, sum(landed.offsets.values()))


def publish_over_and_over(home: Path, domain: str, rounds: int | None = None) -> None:
    """Publishes the products of a domain so many times, or until the process is killed."""
    for number in itertools.islice(itertools.count(1), rounds):
        publish_round(home, number, domain)


def publish_round(home: Path, number: int, domain: str = "shop") -> None:
    """Publishes both products of a domain with the number of this round in every row."""
    products = [product(name, domain) for name in NAMES]
    path = work_file(home, domain)
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(duckdb.connect(str(path))) as connection:
        connection.execute(f"create schema if not exists {domain}_build")
        for each in products:
            connection.execute(
                f"create or replace table {domain}_build.{each.name} as "
                f"select {number}::bigint as round, range::bigint as id from range(50)"
            )
    engine = DuckDBEngine(_Home(home))
    candidates = [engine.stage(each) for each in products]
    entries = [
        {"domain": domain, "product": each.product.name, "rows": each.rows, "kind": "publish",
         "snapshot_id": each.staged.snapshot_id, "finished_at": datetime.now(UTC)}
        for each in candidates
    ]  # fmt: skip
    staged = [each.staged for each in candidates]
    LakeLedger(engine.lake).commit(staged, {"publications": entries})


class _Home(Repository):
    """The part of a repository that the engine needs here."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.home = home


def offsets(lake: Lake) -> dict[int, int]:
    """Next offset of each partition, from the raw table."""
    table = lake.load(raw_table().relation)
    stored = json.loads(table.properties.get(OFFSETS, "{}")) if table else {}
    return {int(number): end for number, end in stored.items()}


def problems(home: Path) -> list[str]:
    """Inconsistencies that a killed process left; empty if there are none."""
    lake = Lake(home)
    states = lake.states()
    found: list[str] = []
    # One connection for all questions: creating the views takes most of the time of each.
    with connect_memory() as connection:
        create_views(connection, states)
        if raw_table().relation in states:
            found += _landing_problems(lake, connection)
        for domain in ("shop", RIVAL):
            if {f"{domain}.{name}" for name in NAMES} & states.keys():
                found += _publication_problems(connection, domain)
    return found


def _landing_problems(lake: Lake, connection: duckdb.DuckDBPyConnection) -> list[str]:
    raw = raw_table()
    rows = connection.execute(
        f"""select _topic_partition, count(*), count(distinct _offset), max(_offset) + 1 from (
            select _topic_partition, _offset from {raw.relation}
            union all select _topic_partition, _offset from {raw.schema}.{raw.rejected}
        ) group by all"""
    ).fetchall()
    found = []
    stored = {number: end for number, end in offsets(lake).items() if end}
    if stored != {number: end for number, _, _, end in rows}:
        found.append(f"rows end at {rows}, offsets say {stored}")
    for number, count, distinct, end in rows:
        if not count == distinct == end:
            found.append(f"partition {number}: {count} rows, {distinct} offsets, {end} expected")
    return found


def _publication_problems(connection: duckdb.DuckDBPyConnection, domain: str) -> list[str]:
    rounds = connection.execute(
        f"select distinct round from {domain}.orders union all "
        f"select distinct round from {domain}.order_lines"
    ).fetchall()
    snapshots = connection.execute(
        "select product, count(*) from meshhouse.publications "
        f"where domain = '{domain}' group by all"
    ).fetchall()
    found = []
    if len(rounds) != 2 or rounds[0] != rounds[1]:
        found.append(f"products show rounds {rounds}")
    if len({count for _, count in snapshots}) != 1:
        found.append(f"the ledger knows {snapshots}")
    return found


def land_naively(home: Path, die_between: bool) -> None:
    """The wrong way, for comparison: rows first, offsets in a separate commit."""
    log, lake, raw = event_log(home), Lake(home), raw_table()
    decoder = Decoder(raw)
    from meshhouse.lake.schema import iceberg_schema

    done = offsets(lake)
    ends = log.describe(TOPIC).partitions
    ranges = {number: (done.get(number, 0), each.end) for number, each in ends.items()}
    for batch in log.read(TOPIC, ranges, 1_000_000):
        decoded = decoder.decode(
            batch.partition, pa.Table.from_batches([batch.events]), datetime.now(UTC)
        )
        table = lake.stage(raw.relation, iceberg_schema(decoder.columns))
        base = table.metadata_location or None
        with table.transaction() as transaction:
            transaction.append(decoded.rows)
        lake.commit([lake.staged(table, base)])
    if die_between:
        os.kill(os.getpid(), signal.SIGKILL)
    table = lake.load(raw.relation)
    base = table.metadata_location
    with table.transaction() as transaction:
        transaction.set_properties({OFFSETS: json.dumps({n: e.end for n, e in ends.items()})})
    lake.commit([lake.staged(table, base)])


def forked(task: Callable[[], Any]) -> int:
    """Runs a task in a forked process; returns its process id.

    A process that its test leaves running is killed after the test.
    """
    child = os.fork()
    if child:
        _forked.append(child)
        return child
    code = 1
    try:
        task()
        code = 0
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
    finally:
        os._exit(code)


def end_forked() -> None:
    """Kills the forked processes that a failed test left, with the pipes that they inherited."""
    while _forked:
        process = _forked.pop()
        with suppress(ChildProcessError):  # the test waited for its end
            if os.waitpid(process, os.WNOHANG) == (0, 0):
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)


def result_of(task: Callable[[], Any], folder: Path) -> Any:
    """The JSON value of a task that ran in a forked process."""
    _, status = os.waitpid(forked(lambda: answer(task, folder)), 0)
    assert status == 0, f"the task ended with {status}"
    return answered(folder)


def answer(task: Callable[[], Any], folder: Path) -> None:
    """Runs a task and leaves its JSON value in a folder, for `answered`."""
    (folder / "answer.json").write_text(json.dumps(task()))


def answered(folder: Path) -> Any:
    """Reads and removes the value that `answer` wrote."""
    file = folder / "answer.json"
    value = json.loads(file.read_text())
    file.unlink()
    return value
