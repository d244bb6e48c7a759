"""Landing with Spark gives the same rows, rejected events and offsets, each event once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from meshhouse.cli.land import land as command
from meshhouse.engines.spark.landing import COMMIT_EVENTS, SparkLander
from meshhouse.errors import MeshError
from meshhouse.events.kafka.source import KafkaSource
from meshhouse.lake import Lake
from meshhouse.lake.views import connect_memory, create_views
from meshhouse.landing import LakeStore, Landing, Pace
from meshhouse.landing.land import land
from meshhouse.landing.store import LANDED_AT
from meshhouse.landing.target import Fenced
from meshhouse.maintenance import maintain
from meshhouse.repository import Column, RawTable
from tests.conftest import Mesh
from tests.conftest import sale as sale_of_the_mesh
from tests.support.chaos import wait_until
from tests.support.kafka_topics import Cluster
from tests.support.spark_here import QUICK, needs_spark

ROOT = Path(__file__).parents[3]
LONG = 120
"""Seconds to wait for a condition before the test fails."""
TYPES = (
    "bigint", "integer", "string", "boolean", "date", "timestamp", "timestamptz", "double",
    "decimal(12,2)",
)  # fmt: skip
SALE = (Column("sale_id", "bigint", required=True), Column("amount", "decimal(12,2)"))
SOON = Pace(0.2, 1_000_000)


pytestmark = [needs_spark, pytest.mark.server]


@pytest.fixture(scope="module")
def cluster(broker) -> Cluster:
    return Cluster(broker)


@dataclass(frozen=True)
class Place:
    """A new topic, and a lake into which both engines land it."""

    cluster: Cluster
    source: KafkaSource
    lake: Lake
    raw: RawTable

    @property
    def topic(self) -> str:
        return self.raw.topic

    def send(self, *values: bytes | None, partition: int = 0, key: bytes | None = b"k") -> None:
        self.cluster.send(self.topic, values, partition, key)

    def sell(self, *numbers: int, partition: int = 0) -> None:
        self.send(*(sale(number) for number in numbers), partition=partition)

    def with_python(self, **options: Any) -> Landing:
        return land(self.source, LakeStore(self.lake), self.raw, **options)

    def with_spark(self, commit_events: int = COMMIT_EVENTS, **options: Any) -> Landing:
        lander = SparkLander(self.cluster.settings, self.lake, commit_events)
        return lander.land(self.source, self.raw, **options)

    def select(self, what: str, table: str = "sales") -> list[tuple]:
        with connect_memory() as connection:
            create_views(connection, self.lake.states())
            return connection.execute(
                f"select {what} from shop_raw.{table} order by all"
            ).fetchall()

    def ids(self) -> list[int]:
        if self.raw.relation not in self.lake.states():
            return []
        return [number for (number,) in self.select("sale_id")]

    def files(self) -> int:
        """Data files on disk, whether the table refers to them or not."""
        return len(list(self.lake.warehouse.glob("shop_raw/*/data/**/*.parquet")))


def sale(number: int) -> bytes:
    return json.dumps({"sale_id": number, "amount": "1.25"}).encode()


def raw_of(topic: str, columns: tuple[Column, ...] = SALE, **options: Any) -> RawTable:
    changelog = options.pop("changelog", False)
    path = Path("domains/shop/models/topics.yml")
    return RawTable("shop", "shop_raw", "sales", topic, columns, "", changelog, path, 8, **options)


@pytest.fixture
def make_place(spark, cluster, tmp_path) -> Iterator[Callable[..., Place]]:
    source = KafkaSource(cluster.settings)
    made = []

    def make(partitions: int = 1, topic: str = "", **configs: str) -> Place:
        made.append(1)
        raw = raw_of(topic or cluster.create(partitions, **configs))
        return Place(cluster, source, Lake(tmp_path / f"lake{len(made)}"), raw)

    yield make
    source.close()


@pytest.fixture
def place(make_place) -> Place:
    return make_place()


def both(place: Place, make_place: Callable[..., Place], raw: RawTable) -> tuple[Place, Place]:
    """The same topic, landed by each engine into a separate lake."""
    python = replace(place, raw=raw)
    spark = replace(make_place(topic=place.topic), raw=raw)
    first, second = python.with_python(), spark.with_spark()
    assert (first.rows, first.rejected, first.offsets, first.lag, first.new_fields) == (
        second.rows, second.rejected, second.offsets, second.lag, second.new_fields,
    )  # fmt: skip
    return python, spark


def everything(place: Place, table: str = "sales") -> list[tuple]:
    return place.select("* exclude (_landed_at)", table)


def test_both_engines_make_the_same_rows_and_the_same_rejections_of_every_type(make_place, place):
    columns = tuple(Column(f"c{number}", kind) for number, kind in enumerate(TYPES))
    good = {
        "c0": 2**60, "c1": -7, "c2": "Grüße \u0000 🛒", "c3": True, "c4": "2017-02-28",
        "c5": "2017-02-28T12:34:56.123456", "c6": "2017-02-28T12:34:56.123456+05:30",
        "c7": 0.1, "c8": "1234567890.12",
    }  # fmt: skip
    producer = place.cluster.producer()
    headers = [("trace", b"\xff"), ("trace", None)]
    producer.produce(place.topic, json.dumps(good).encode(), b"\xff\x00", 0, headers=headers)
    producer.produce(place.topic, b"{}", None, 0)
    producer.produce(place.topic, json.dumps({"c0": 1, "shop": 5}).encode(), b"", 0)
    producer.flush()
    bad = [{"c0": 1.5}, {"c1": 2**31}, {"c3": "yes"}, {"c4": "2017-02-30"}, {"c5": "noon"},
           {"c6": "infinity"}, {"c7": "NaN"}, {"c8": "1.999"}]  # fmt: skip
    place.send(*(json.dumps(each).encode() for each in bad), b"no json", b"\xff\xfe", b"[1]", None)
    python, spark = both(place, make_place, raw_of(place.topic, columns))
    assert everything(spark) == everything(python)
    assert len(everything(spark)) == 3
    assert everything(spark, "sales__rejected") == everything(python, "sales__rejected")
    assert len(everything(spark, "sales__rejected")) == len(bad) + 4
    types = f"distinct {', '.join(f'typeof(c{number})' for number in range(len(TYPES)))}"
    assert spark.select(types) == python.select(types)


def test_tombstones_of_a_changelog_are_deletions_and_required_fields_are_required(
    make_place, place
):
    place.send(sale(1), None, b'{"amount": 1}', key=b"1")
    python, spark = both(place, make_place, raw_of(place.topic, changelog=True))
    assert everything(spark) == everything(python)
    assert spark.select("_offset, _tombstone") == [(0, False), (1, True)]
    assert everything(spark, "sales__rejected") == everything(python, "sales__rejected")


def test_a_topic_goes_from_python_to_spark_and_back_without_loss_or_repeats(make_place):
    place = make_place(2)
    place.sell(*range(3))
    place.with_python()
    place.sell(*range(3, 6), partition=1)
    place.sell(6)
    done = place.with_spark()
    assert (done.rows, done.commits, done.offsets, done.lag) == (4, 1, {0: 4, 1: 3}, 0)
    place.sell(7, 8, partition=1)
    assert place.with_python().rows == 2
    place.sell(9)
    assert (place.with_spark().rows, place.with_spark().commits) == (1, 0)
    assert place.ids() == list(range(10))
    times = place.select("distinct _landed_at")
    assert len(times) == 4  # each commit has its own time
    assert place.select("count(distinct (_topic_partition, _offset))") == [(10,)]


def test_landing_twice_adds_nothing_and_an_empty_topic_makes_an_empty_table(place):
    assert (place.with_spark().commits, place.ids()) == (1, [])
    assert place.with_spark().commits == 0
    place.sell(1)
    assert (place.with_spark().rows, place.with_spark().commits) == (1, 0)
    assert place.ids() == [1]


def test_a_large_topic_lands_in_commits_of_bounded_size(place):
    place.sell(*range(25))
    done = place.with_spark(commit_events=10)
    assert (done.rows, done.commits) == (25, 4)  # the first commit makes the table
    assert place.ids() == list(range(25))
    times = place.select("_landed_at, count(*)", "sales group by all")
    assert sorted(count for _, count in times) == [5, 10, 10]


def test_offsets_that_are_no_events_are_stepped_over(place):
    producer = place.cluster.transact(place.topic, *map(sale, range(3)))
    done = place.with_spark()
    assert (done.rows, done.lag, done.offsets) == (1, 0, {0: 4})  # two events, two markers
    producer.commit_transaction()
    assert place.with_spark().rows == 1
    assert place.ids() == [0, 2]


def test_a_rival_that_lands_meanwhile_fences_this_one_and_nothing_is_doubled(place, monkeypatch):
    from meshhouse.engines.spark import landing as spark

    place.sell(1)
    place.with_python()
    place.sell(2, 3)
    written = spark._Lander._written

    def with_a_rival(lander: Any, events: Any, task: Any) -> Any:
        done = list(written(lander, events, task))
        place.with_python()
        return done

    before = place.files()
    monkeypatch.setattr(spark._Lander, "_written", with_a_rival)
    with pytest.raises(Fenced, match="took over partition 0"):
        place.with_spark()
    assert place.ids() == [1, 2, 3]
    assert place.files() == before + 1  # the rival's; the fenced lander's files were removed


def test_files_are_written_again_when_the_table_got_later_rows_meanwhile(place, monkeypatch):
    from meshhouse.engines.spark import landing as spark

    place.sell(1)
    place.with_python()
    place.sell(2)
    written = spark._Lander._written
    times: list[str] = []

    def while_others_land_again(lander: Any, events: Any, task: Any) -> Any:
        done = list(written(lander, events, task))
        if not times:  # does what `mesh rejected replay` does
            table = place.lake.load(place.raw.relation)
            base = table.metadata_location
            later = task.landed_at.replace(year=task.landed_at.year + 1).isoformat()
            with table.transaction() as transaction:
                transaction.set_properties({LANDED_AT: later})
            place.lake.commit([place.lake.staged(table, base)])
        times.append(task.landed_at.isoformat())
        return done

    monkeypatch.setattr(spark._Lander, "_written", while_others_land_again)
    assert place.with_spark().rows == 1
    first, second = times
    assert second > first.replace(first[:4], str(int(first[:4]) + 1))
    assert place.ids() == [1, 2]
    [(last,)] = place.select("max(_landed_at)")
    assert last.isoformat() == second


def test_a_column_that_was_added_is_null_in_what_landed_before(place):
    place.sell(1)
    place.with_python()
    place.send(b'{"sale_id": 2, "store": "Main Street", "till": 4}')
    wider = replace(place, raw=raw_of(place.topic, (*SALE, Column("store", "string"))))
    done = wider.with_spark()
    assert done.new_fields == ("till",)
    assert wider.select("sale_id, store, _rescued") == [
        (1, None, None),
        (2, "Main Street", '{"till":4}'),
    ]


def test_gaps_that_compaction_left_are_stepped_over(make_place):
    place = make_place(**{
        "cleanup.policy": "compact", "segment.ms": "50", "min.cleanable.dirty.ratio": "0.01",
        "max.compaction.lag.ms": "100",
    })  # fmt: skip
    admin = place.cluster.admin()
    from kafka.admin import ConfigResource

    # By default the cleaner waits 15 s between two runs.
    admin.alter_configs([ConfigResource("BROKER", "1", {"log.cleaner.backoff.ms": "100"})])
    sent = 0

    def compacted() -> bool:
        nonlocal sent
        place.sell(*range(sent, sent + 20))
        sent += 20
        return len(held(place, sent)) < sent

    wait_until(compacted, LONG, "compaction")
    # Stops compaction while this test reads.
    admin.alter_configs([ConfigResource("TOPIC", place.topic, {"cleanup.policy": "delete"})])
    admin.close()
    kept, end = held(place, sent), place.source.describe(place.topic).partitions[0].end
    done = place.with_spark()
    assert (done.rows, done.offsets, done.lag) == (len(kept), {0: end}, 0)
    assert [offset for (offset,) in place.select("_offset")] == kept
    assert place.with_spark().commits == 0


def held(place: Place, end: int) -> list[int]:
    """Offsets that the topic still holds."""
    batches = place.source.read(place.topic, {0: (0, end)}, 1_000_000)
    return [each for batch in batches for each in batch.events["offset"].to_pylist()]


def test_lost_events_or_a_recreated_topic_stop_landing_until_a_person_accepts_it(place):
    from kafka import TopicPartition

    place.sell(*range(3))
    place.with_spark()
    place.sell(*range(3, 6))
    admin = place.cluster.admin()
    admin.delete_records({TopicPartition(place.topic, 0): 5})
    admin.close()
    with pytest.raises(MeshError, match=r"Events 3 to 4 of partition 0 .*--accept lost-events"):
        place.with_spark()
    assert place.with_spark(accept=["lost-events"]).rows == 1
    place.cluster.delete(place.topic)
    place.cluster.create(1, place.topic)
    place.sell(6)
    with pytest.raises(MeshError, match=r"deleted and created again.*--accept new-topic"):
        place.with_spark()
    assert place.with_spark(accept=["new-topic"]).rows == 1
    assert place.ids() == [0, 1, 2, 5, 6]


@dataclass
class Follower:
    """A continuous lander in a thread."""

    thread: threading.Thread
    stop: threading.Event
    done: list[Landing]
    errors: list[MeshError]


@contextmanager
def following(place: Place, pace: Pace = SOON, source: Any = None) -> Iterator[Follower]:
    def work() -> None:
        try:
            lander = SparkLander(place.cluster.settings, place.lake)
            done = lander.follow(source or place.source, place.raw, follower.stop, pace)
            follower.done.append(done)
        except MeshError as error:
            follower.errors.append(error)

    follower = Follower(threading.Thread(target=work), threading.Event(), [], [])
    follower.thread.start()
    try:
        yield follower
    finally:
        follower.stop.set()
        follower.thread.join(LONG)
        assert not follower.thread.is_alive()


def wait_for(place: Place, *numbers: int) -> None:
    wait_until(lambda: place.ids() == list(numbers), LONG, f"landing {numbers}")


def test_a_follower_lands_what_comes_also_in_partitions_that_are_added(place):
    with following(place) as follower:
        place.sell(0)
        wait_for(place, 0)
        admin = place.cluster.admin()
        admin.create_partitions({place.topic: 2})
        admin.close()
        place.sell(1, 2, partition=1)
        wait_for(place, 0, 1, 2)
    assert follower.errors == []
    [landing] = follower.done
    assert (landing.rows, landing.offsets, landing.total_rows) == (3, {0: 1, 1: 2}, 3)


def test_so_many_events_are_committed_without_waiting_for_the_time(place):
    place.with_spark()
    with following(place, Pace(3_600, 5)):
        place.sell(*range(5))
        wait_for(place, *range(5))
        place.sell(*range(5, 12))
        wait_for(place, *range(10))
        place.sell(*range(12, 15))
        wait_for(place, *range(15))
    sizes = place.select("count(*)", "sales group by _landed_at")
    assert sizes == [(5,), (5,), (5,)]  # two events waited for three more


def test_a_follower_that_is_stopped_finishes_the_batch_at_work(place, monkeypatch):
    from meshhouse.engines.spark import landing as spark

    written, at_work = spark._Lander._written, threading.Event()

    def slowly(lander: Any, events: Any, task: Any) -> Any:
        at_work.set()
        assert follower.stop.wait(LONG)
        return written(lander, events, task)

    monkeypatch.setattr(spark._Lander, "_written", slowly)
    place.sell(1, 2)
    with following(place) as follower:
        assert at_work.wait(LONG)
    assert follower.errors == []
    assert (place.ids(), follower.done[0].rows) == ([1, 2], 2)


def test_a_rival_stops_a_follower(place, monkeypatch):
    from meshhouse.engines.spark import landing as spark

    written = spark._Lander._written

    def with_a_rival(lander: Any, events: Any, task: Any) -> Any:
        done = list(written(lander, events, task))
        place.with_python()
        return done

    monkeypatch.setattr(spark._Lander, "_written", with_a_rival)
    place.sell(1)
    with following(place) as follower:
        follower.thread.join(LONG)
    [error] = follower.errors
    assert isinstance(error, Fenced)
    assert place.ids() == [1]


def test_a_follower_goes_on_when_a_cluster_that_was_away_is_back(place, monkeypatch):
    """A temporary failure is tried again from the table's offsets."""
    from meshhouse.engines.spark import landing as spark
    from meshhouse.events.errors import SourceAway

    written, failures = spark._Lander._written, []

    def now_and_then(lander: Any, events: Any, task: Any) -> Any:
        if len(failures) < 2:
            failures.append(1)
            raise SourceAway("away") if len(failures) == 1 else RuntimeError("an executor died")
        return written(lander, events, task)

    monkeypatch.setattr(spark._Lander, "_written", now_and_then)
    place.sell(1)
    with following(place) as follower:
        wait_for(place, 1)
    assert (follower.errors, len(failures)) == ([], 2)


def test_a_follower_that_fails_again_and_again_says_why(place, monkeypatch):
    from meshhouse.engines.spark import landing as spark

    def never(lander: Any, events: Any, task: Any) -> Any:
        raise RuntimeError("no executor is left")

    monkeypatch.setattr(spark._Lander, "_written", never)
    place.sell(1)
    with following(place) as follower:
        follower.thread.join(LONG)
    [error] = follower.errors
    assert "Spark could not land shop_raw.sales: no executor is left." in str(error)


def test_what_an_executor_explains_is_said_as_it_is(place, monkeypatch):
    monkeypatch.delenv("SCHEMA_REGISTRY_URL", raising=False)
    place.send(b"\0\0\0\0\x01")
    asking = replace(place, raw=raw_of(place.topic, format="avro"))
    with pytest.raises(MeshError) as python:
        asking.with_python()
    with pytest.raises(MeshError) as spark:
        asking.with_spark()
    assert str(spark.value) == str(python.value)
    assert "SCHEMA_REGISTRY_URL" in str(spark.value)


KILLED = """
import sys
from pathlib import Path
from tests.support.kafka_topics import KafkaSettings
from meshhouse.events.kafka.source import KafkaSource
from meshhouse.lake import Lake
from meshhouse.engines.spark import landing as spark
from test_landing import raw_of

servers, topic, home = sys.argv[1:]
written, batches = spark._Lander._written, []

def and_wait(lander, events, task):
    done = list(written(lander, events, task))
    batches.append(1)
    if len(batches) == 2:
        print("written", flush=True)
        sys.stdin.read()
    return done

spark._Lander._written = and_wait
settings = KafkaSettings({"bootstrap.servers": servers})
lander = spark.SparkLander(settings, Lake(Path(home)), commit_events=10)
lander.land(KafkaSource(settings), raw_of(topic))
"""


def test_a_killed_lander_leaves_whole_commits_and_the_next_one_goes_on(place):
    place.sell(*range(25))
    home = place.lake.warehouse.parent
    paths = (ROOT, ROOT / "tests", Path(__file__).parent)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, place.cluster.settings.bootstrap_servers, place.topic, home],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)),
             "MESH_SPARK_MASTER": "local[2]", "MESH_SPARK_CONF": QUICK,
             "TMPDIR": str(home.parent)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "written\n"
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert place.ids() == list(range(10))
    assert place.files() == 2  # one of them is an orphan
    done = place.with_spark()
    assert (done.rows, done.lag) == (15, 0)
    assert place.ids() == list(range(25))
    kept = maintain(place.lake, [place.raw.relation], timedelta(0), timedelta(days=1))
    assert [each.orphans_removed for each in kept] == [1]
    assert place.ids() == list(range(25))


@pytest.fixture
def shop(mesh, cluster, monkeypatch) -> Mesh:
    """The small mesh, its topic in the tests' cluster."""
    topic = cluster.create(2)
    mesh.edit("domains/shop/models/topics.yml", "topic: shop.sales", f"topic: {topic}")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", cluster.settings.bootstrap_servers)
    monkeypatch.setenv("MESH_ROOT", str(mesh.root))
    for number in range(6):
        cluster.send(topic, [sale_of_the_mesh(number)[1]], number % 2)
    return mesh


def test_the_command_lands_with_spark_and_the_ledger_and_the_group_know(shop, spark, cluster):
    for first in (0, 3):  # a broker that has just started does not know the group at first
        if first:
            cluster.send(topic_of(shop), [sale_of_the_mesh(n)[1] for n in range(6, 9)], 0)
        result = CliRunner().invoke(command, ["shop_raw.sales", "--engine", "spark", "--json"])
        assert result.exit_code == 0, result.output
        [landed] = json.loads(result.stdout)
        assert (landed["rows"], landed["rejected"]) == (6 - first, 0)
    entries = looked_up(shop, "rows, offsets from meshhouse.landings order by finished_at")
    assert entries == [(6, '{"0": 3, "1": 3}'), (3, '{"0": 6, "1": 3}')]
    admin = cluster.admin()
    stored = admin.list_group_offsets("meshhouse.shop_raw.sales")["meshhouse.shop_raw.sales"]
    admin.close()
    offsets = {
        at.partition: each.offset for at, each in stored.items() if at.topic == topic_of(shop)
    }
    assert offsets[0] == 6


def topic_of(mesh: Mesh) -> str:
    [raw] = [raw for domain in mesh.repository.domains for raw in domain.raw_tables]
    return raw.topic


def looked_up(mesh: Mesh, what: str) -> list[tuple]:
    with connect_memory() as connection:
        create_views(connection, Lake(mesh.home).states())
        return connection.execute(f"select {what}").fetchall()


def test_the_command_follows_until_sigterm(shop, spark):
    lake = Lake(shop.home)

    def landed() -> bool:
        is_there = "shop_raw.sales" in lake.states()
        return is_there and looked_up(shop, "count(*) from shop_raw.sales") == [(6,)]

    def end() -> None:
        try:
            wait_until(landed, LONG, "landing")
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    ending = threading.Thread(target=end)
    ending.start()
    result = CliRunner().invoke(command, ["--engine", "spark", "--follow", "--every", "0.2"])
    ending.join()
    assert result.exit_code == 0, result.output
    assert "6 rows landed" in result.output


def test_a_time_that_spark_cannot_store_is_not_reported_as_a_cluster_that_is_away(make_place):
    place = make_place(**{"message.timestamp.after.max.ms": str(2**63 - 1)})
    producer = place.cluster.producer()
    producer.produce(place.topic, sale(1), partition=0, timestamp=1_700_000_000_000_000_000)
    producer.flush()
    with pytest.raises(
        MeshError, match=r"could not land .*long overflow.*without `--engine spark`"
    ):
        place.with_spark()
    assert place.with_python().rows == 1
    assert place.select("sale_id, _timestamp") == [(1, None)]


def test_topics_that_are_not_in_kafka_or_not_there_are_one_line(mesh):
    mesh.sell(1)
    said = mesh.run("land", "--engine", "spark", code=2).stderr
    assert said.startswith(
        "mesh: Spark reads topics from Kafka, and the topics of this mesh are in "
    )
    assert "KAFKA_BOOTSTRAP_SERVERS" in said
    assert len(said.splitlines()) == 1
    away = {"KAFKA_BOOTSTRAP_SERVERS": "localhost:1", "KAFKA_REQUEST_TIMEOUT_MS": "1500"}
    said = mesh.run("land", "--engine", "spark", code=1, environment=away).stderr
    assert said.startswith("mesh: Kafka at localhost:1: ")
    assert len(said.splitlines()) == 1
    again = ("land", "shop_raw.sales", "--again-from", "0", "--engine", "spark")
    assert "leave out --engine" in mesh.run(*again, code=2).stderr
