"""Landing from a real cluster: each event lands exactly once, whatever happens to the topic."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from kafka import TopicPartition

from meshhouse.errors import MeshError, UsageError
from meshhouse.events import EventLog
from meshhouse.events.kafka.confluent import ConfluentClient
from meshhouse.events.kafka.python import PythonClient
from meshhouse.events.kafka.source import KafkaSource
from meshhouse.lake import Lake
from meshhouse.lake.views import connect_memory, create_views
from meshhouse.landing import LakeStore, Landing, group_of, land_table
from meshhouse.landing.land import land
from meshhouse.landing.store import OFFSETS
from meshhouse.repository import Column, RawTable
from tests.support.kafka_topics import Cluster

SALE_ID = Column("sale_id", "bigint", required=True)
AMOUNT = Column("amount", "decimal(12,2)")
MEBIBYTE = 1024 * 1024


def raw_of(topic: str, *columns: Column, **options: Any) -> RawTable:
    declared = columns or (SALE_ID, AMOUNT)
    path = Path("domains/shop/models/topics.yml")
    changelog = options.pop("changelog", False)
    return RawTable("shop", "shop_raw", "sales", topic, declared, "", changelog, path, 8, **options)


@dataclass(frozen=True)
class Place:
    """A new topic and a lake."""

    cluster: Cluster
    admin: Any
    source: KafkaSource
    lake: Lake
    raw: RawTable

    @property
    def topic(self) -> str:
        return self.raw.topic

    def sell(self, *numbers: int, partition: int = 0, **fields: Any) -> None:
        self.send(*(sale(number, **fields) for number in numbers), partition=partition)

    def send(self, *values: bytes | None, partition: int = 0, key: bytes | None = b"k") -> None:
        self.cluster.send(self.topic, values, partition, key)

    def land(self, raw: RawTable | None = None, **options: Any) -> Landing:
        return land(self.source, LakeStore(self.lake), raw or self.raw, **options)

    def remove_before(self, offset: int, partition: int = 0) -> None:
        """Removes events at once, as retention does later."""
        self.admin.delete_records({TopicPartition(self.topic, partition): offset})

    def recreate(self) -> None:
        self.cluster.delete(self.topic)
        self.cluster.create(1, self.topic)

    def select(self, what: str, table: str = "sales") -> list[tuple]:
        with connect_memory() as connection:
            create_views(connection, self.lake.states())
            return connection.execute(
                f"select {what} from shop_raw.{table} order by all"
            ).fetchall()

    def ids(self) -> list[int]:
        return [number for (number,) in self.select("sale_id")]


def sale(number: int, **fields: Any) -> bytes:
    return json.dumps({"sale_id": number, "amount": "1.25", **fields}).encode()


@pytest.fixture(scope="module")
def cluster(broker) -> Cluster:
    return Cluster(broker)


@pytest.fixture(scope="module")
def admin(cluster) -> Iterator[Any]:
    made = cluster.admin()
    yield made
    made.close()


@pytest.fixture(scope="module")
def make_place(cluster, admin, tmp_path_factory) -> Iterator[Callable[..., Place]]:
    sources: dict[Any, KafkaSource] = {}

    def make(client: Any = None, partitions: int = 1, topic: str = "", **configs: str) -> Place:
        if client not in sources:
            sources[client] = KafkaSource(cluster.settings, client)
        raw = raw_of(topic or cluster.create(partitions, **configs))
        return Place(cluster, admin, sources[client], Lake(tmp_path_factory.mktemp("lake")), raw)

    yield make
    for source in sources.values():
        source.close()


@pytest.fixture
def place(make_place) -> Place:
    """One partition, read by the fastest installed client."""
    return make_place()


@pytest.fixture(params=[PythonClient, ConfluentClient])
def read_place(request, make_place) -> Place:
    """One partition; the test runs once with each client."""
    return make_place(request.param)


def test_landing_twice_adds_nothing_and_new_events_land_behind(read_place):
    read_place.sell(*range(50))
    assert (read_place.land().rows, read_place.land().commits) == (50, 0)
    read_place.sell(50, 51)
    done = read_place.land()
    assert (done.rows, done.offsets, done.lag) == (2, {0: 52}, 0)
    assert read_place.ids() == list(range(52))


def test_a_late_start_lands_what_is_still_there(read_place):
    read_place.sell(*range(10))
    read_place.remove_before(4)
    done = read_place.land()
    assert (done.rows, done.offsets) == (6, {0: 10})
    assert read_place.ids() == list(range(4, 10))


def test_gaps_that_compaction_left_are_no_loss(make_place, compacted):
    topic, kept = compacted
    for client in (PythonClient, ConfluentClient):
        place = make_place(client, topic=topic)
        end = place.source.describe(topic).partitions[0].end
        done = place.land()
        assert done.offsets == {0: end}
        offsets = [offset for (offset,) in place.select("_offset")]
        assert offsets == kept
        assert len(offsets) < end
        assert place.land().commits == 0


@pytest.fixture(scope="module")
def compacted(cluster, admin) -> tuple[str, list[int]]:
    """A compacted topic, and the offsets that compaction kept."""
    from kafka.admin import ConfigResource

    # By default the cleaner waits 15 s between two runs.
    admin.alter_configs([ConfigResource("BROKER", "1", {"log.cleaner.backoff.ms": "100"})])
    topic = cluster.create(**{
        "cleanup.policy": "compact", "segment.ms": "50", "min.cleanable.dirty.ratio": "0.01",
        "max.compaction.lag.ms": "100",
    })  # fmt: skip
    source = KafkaSource(cluster.settings, PythonClient)
    deadline = time.monotonic() + 60
    sent = 0
    while True:
        cluster.send(topic, [sale(number) for number in range(sent, sent + 20)], key=b"same")
        sent += 20
        batches = source.read(topic, {0: (0, sent)}, MEBIBYTE)
        left = [each for batch in batches for each in batch.events["offset"].to_pylist()]
        if len(left) < sent:
            break
        assert time.monotonic() < deadline, "the broker did not compact"
    # Stops compaction while the tests read.
    admin.alter_configs([ConfigResource("TOPIC", topic, {"cleanup.policy": "delete"})])
    batches = source.read(topic, {0: (0, sent)}, MEBIBYTE)
    left = [each for batch in batches for each in batch.events["offset"].to_pylist()]
    source.close()
    return topic, left


def test_a_partition_that_was_added_lands_from_its_beginning(place):
    place.sell(*range(5))
    place.land()
    place.admin.create_partitions({place.topic: 2})
    place.sell(5, 6, 7, partition=1)
    place.sell(8)
    done = place.land()
    assert (done.rows, done.offsets) == (4, {0: 6, 1: 3})
    assert place.ids() == list(range(9))


def test_a_partition_that_was_added_and_lost_events_since_stops(place):
    place.sell(0)
    place.land()
    place.admin.create_partitions({place.topic: 2})
    place.sell(1, 2, 3, partition=1)
    place.remove_before(2, partition=1)
    with pytest.raises(MeshError, match=r"Events 0 to 1 of partition 1 .*--accept lost-events"):
        place.land()


def test_a_recreated_topic_stops_landing_until_a_person_accepts_it(place):
    place.sell(*range(5))
    place.land()
    place.recreate()
    place.sell(5, 6, 7)
    with pytest.raises(MeshError, match=r"deleted and created again.*--accept new-topic"):
        place.land()
    assert place.ids() == list(range(5))
    done = place.land(accept=["new-topic"])
    assert (done.rows, done.offsets) == (3, {0: 3})
    assert place.ids() == list(range(8))
    assert place.land().commits == 0


def test_a_topic_of_another_cluster_stops_landing_until_a_person_accepts_it(place, tmp_path):
    log = EventLog(tmp_path / "events")
    log.create_topic(place.topic, 1)
    log.append_events(place.topic, [(b"k", sale(0), 0, [])], "test")
    land(log, LakeStore(place.lake), place.raw)
    place.sell(1, 2)
    with pytest.raises(MeshError, match=r"event log.*another cluster.*MESH_HOME.*new-topic"):
        place.land()
    assert place.land(accept=["new-topic"]).rows == 2
    assert place.ids() == [0, 1, 2]


def test_events_that_retention_removed_stop_landing_until_a_person_accepts_it(place):
    place.sell(*range(5))
    place.land()
    place.sell(*range(5, 10))
    place.remove_before(8)
    with pytest.raises(
        MeshError, match=r"Events 5 to 7 of partition 0 .*removed .*--accept lost-events"
    ):
        place.land()
    assert place.ids() == list(range(5))
    assert place.land(accept=["lost-events"]).rows == 2
    assert place.ids() == [*range(5), 8, 9]
    assert place.land().commits == 0


def test_events_that_retention_removed_after_they_were_landed_are_not_lost(place):
    place.sell(*range(5))
    place.land()
    place.remove_before(5)
    assert place.land().commits == 0
    place.sell(5)
    assert place.land().rows == 1


def test_a_topic_that_ends_before_what_was_landed_stops_landing(place):
    place.sell(*range(5))
    place.land()
    # As if a broker had lost the last writes to its disk.
    table = place.lake.load(place.raw.relation)
    assert table is not None
    base = table.metadata_location
    with table.transaction() as transaction:
        transaction.set_properties({OFFSETS: json.dumps({"0": 9})})
    place.lake.commit([place.lake.staged(table, base)])
    with pytest.raises(
        MeshError, match=r"ends at offset 5, but shop_raw\.sales already holds events up to 8"
    ):
        place.land()


def test_headers_and_tombstones_of_a_changelog_land_and_an_event_without_key_does_not(read_place):
    producer = read_place.cluster.producer()
    headers = [("trace", b"\xff"), ("trace", None)]
    producer.produce(read_place.topic, sale(1), b"1", 0, headers=headers)
    producer.produce(read_place.topic, sale(2), None, 0)
    producer.produce(read_place.topic, None, b"1", 0)
    producer.flush()
    done = read_place.land(replace(read_place.raw, changelog=True))
    assert (done.rows, done.rejected) == (2, 1)
    assert read_place.select("_offset, sale_id, _key, _tombstone") == [
        (0, 1, "1", False),
        (2, None, "1", True),
    ]
    [(offset, reason)] = read_place.select("_offset, reason", "sales__rejected")
    assert (offset, reason.startswith("has no key")) == (1, True)


def test_a_tombstone_where_none_may_be_is_rejected_with_its_key(read_place):
    read_place.send(sale(1), None, key=b"1")
    done = read_place.land()
    assert (done.rows, done.rejected) == (1, 1)
    [(offset, key, value, reason)] = read_place.select(
        "_offset, _key, value, reason", "sales__rejected"
    )
    assert (offset, key, value) == (1, "1", None)
    assert "which only a changelog accepts" in reason


def test_messages_of_one_mebibyte_land(make_place):
    for client in (PythonClient, ConfluentClient):
        place = make_place(client, **{"max.message.bytes": str(2 * MEBIBYTE)})
        sent = [sale(number, note="x" * MEBIBYTE) for number in range(3)]
        place.cluster.send(place.topic, sent, **{"message.max.bytes": 3 * MEBIBYTE})
        place.land(raw_of(place.topic, SALE_ID, Column("note", "string")))
        assert place.select("sale_id, length(note)") == [(n, MEBIBYTE) for n in range(3)]


def test_only_what_a_transaction_committed_lands_and_an_open_one_waits(read_place):
    producer = read_place.cluster.transact(read_place.topic, *map(sale, range(3)))
    done = read_place.land()
    assert (done.rows, done.lag, done.offsets) == (1, 0, {0: 4})  # two events, two markers
    producer.commit_transaction()
    assert read_place.land().rows == 1
    assert read_place.ids() == [0, 2]


def test_the_groups_offsets_are_those_of_the_table_after_each_landing(mesh, cluster, monkeypatch):
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", cluster.settings.bootstrap_servers)
    topic = cluster.create(2)
    mesh.edit("domains/shop/models/topics.yml", "topic: shop.sales", f"topic: {topic}")
    [raw] = [raw for domain in mesh.repository.domains for raw in domain.raw_tables]
    admin, lake = cluster.admin(), Lake(mesh.home)
    for first in (0, 3):
        cluster.send(topic, [sale(n, customer_id=1) for n in range(first, first + 3)], 0)
        cluster.send(topic, [sale(first, customer_id=1)], 1)
        landing = land_table(mesh.repository, LakeStore(lake), raw)
        assert (landing.rows, landing.rejected) == (4, 0)
        stored = admin.list_group_offsets(group_of(raw))["meshhouse.shop_raw.sales"]
        mirrored = {at.partition: each.offset for at, each in stored.items() if at.topic == topic}
        assert mirrored == landing.offsets == {0: first + 3, 1: 1 + first // 3}
    admin.close()


def test_a_column_that_was_added_is_null_in_what_landed_before(place):
    place.sell(1)
    place.land()
    place.sell(2, store="Main Street")
    place.land(raw_of(place.topic, SALE_ID, AMOUNT, Column("store", "string")))
    assert place.select("sale_id, store, _rescued") == [(1, None, None), (2, "Main Street", None)]


def test_wider_types_hold_what_landed_before_and_what_comes(place):
    narrow = raw_of(place.topic, Column("sale_id", "integer"), AMOUNT)
    place.sell(1, 2_147_483_647)
    place.land(narrow)
    place.send(b'{"sale_id": 2147483648, "amount": "999999999999.99"}')
    assert place.land(raw_of(place.topic, SALE_ID, Column("amount", "decimal(14,2)"))).rows == 1
    assert place.select("sale_id, amount::varchar") == [
        (1, "1.25"),
        (2_147_483_647, "1.25"),
        (2_147_483_648, "999999999999.99"),
    ]
    assert place.select("distinct typeof(sale_id), typeof(amount)") == [("BIGINT", "DECIMAL(14,2)")]


@pytest.mark.parametrize(
    ("columns", "explanation"),
    [
        ((SALE_ID,), r"topics\.yml:8: column `amount` .*no longer declared.*Declare it again"),
        (
            (SALE_ID, Column("amount", "decimal(10,2)")),
            r"`amount` .*cannot become decimal\(10,2\)",
        ),
        (
            (SALE_ID, Column("amount", "decimal(12,4)")),
            r"`amount` .*cannot become decimal\(12,4\)",
        ),
        (
            (Column("sale_id", "integer"), AMOUNT),
            r"`sale_id` .*holds bigint.* become integer",
        ),
        ((Column("sale_id", "string"), AMOUNT), r"`sale_id` .*cannot become string"),
    ],
)
def test_a_contract_that_would_lose_what_landed_is_refused(place, columns, explanation):
    place.sell(1)
    place.land()
    place.sell(2)
    before = place.lake.states()
    with pytest.raises(UsageError, match=explanation):
        place.land(raw_of(place.topic, *columns))
    assert place.lake.states() == before


def test_new_fields_are_kept_and_reported_once_a_topic(place):
    place.sell(1, store=7)
    place.sell(2, store=8, till={"no": 1})
    done = place.land(commit_bytes=1)
    assert done.new_fields == ("store", "till")
    kept = [json.loads(text) for (text,) in place.select("_rescued")]
    assert kept == [{"store": 7}, {"store": 8, "till": {"no": 1}}]
    place.sell(3, store=9)
    assert place.land().new_fields == ()
    place.sell(4, store=9, clerk="Ana")
    assert place.land().new_fields == ("clerk",)
