"""Followers land new events, share a topic's partitions, and lose or double nothing."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from kafka.errors import KafkaError

from meshhouse.errors import MeshError
from meshhouse.events import EventLog
from meshhouse.events.kafka.broker import Broker
from meshhouse.events.kafka.confluent import ConfluentClient
from meshhouse.events.kafka.python import PythonClient
from meshhouse.events.kafka.settings import KafkaSettings
from meshhouse.events.kafka.source import KafkaSource
from meshhouse.events.source import Rebalance, Source
from meshhouse.lake import Lake
from meshhouse.lake.ledger import LakeLedger
from meshhouse.lake.views import connect_memory, create_views
from meshhouse.landing import LakeStore, Landing, Pace, follow_table, group_of
from meshhouse.landing.follow import follow
from meshhouse.landing.target import Fenced
from meshhouse.maintenance import maintain_while_landing
from meshhouse.repository import RawTable
from tests.conftest import Mesh, sale
from tests.support.chaos import raw_of, wait_until
from tests.support.kafka_topics import Cluster
from tests.support.landing_place import RAW, Place

SOON = Pace(0.2, 1_000_000)
NEVER = 3_600.0
LONG = 120
"""Seconds to wait for a condition before the test fails."""


@pytest.fixture(scope="module")
def cluster(broker) -> Cluster:
    return Cluster(broker)


@pytest.fixture(scope="module")
def lively(broker) -> Cluster:
    """Its members hear of a change of their group after a second, not after three."""
    made = Cluster(broker)
    made.settings = KafkaSettings({**made.settings.properties, "session.timeout.ms": "3000"})
    return made


@pytest.fixture(params=[PythonClient, ConfluentClient])
def client(request) -> Any:
    return request.param


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


@pytest.fixture
def source_of() -> Iterator[Callable[..., KafkaSource]]:
    """Makes sources that are closed after the test."""
    made: list[KafkaSource] = []

    def make(cluster: Cluster, client: Any = None) -> KafkaSource:
        made.append(KafkaSource(cluster.settings, client))
        return made[-1]

    yield make
    for source in made:
        source.close()


@dataclass
class Follower:
    """One lander in a thread."""

    stop: threading.Event = field(default_factory=threading.Event)
    landing: Landing | None = None
    error: MeshError | None = None
    rows: int = 0
    commits: int = 0
    thread: threading.Thread | None = None

    def start(self, work: Callable[[Follower], Landing]) -> None:
        self.thread = threading.Thread(target=self._run, args=(work,))
        self.thread.start()

    def _run(self, work: Callable[[Follower], Landing]) -> None:
        try:
            self.landing = work(self)
        except MeshError as error:
            self.error = error

    def landed(self, landing: Landing) -> None:
        self.rows, self.commits = landing.rows, landing.commits

    def end(self) -> Landing:
        """Stops the lander in an orderly way and returns its result."""
        self.stop.set()
        self.join()
        assert self.error is None, self.error
        assert self.landing is not None
        return self.landing

    def join(self) -> None:
        assert self.thread is not None
        self.thread.join(LONG)
        assert not self.thread.is_alive()


@contextmanager
def following(
    source: Source, lake: Lake, topic: str, pace: Pace = SOON, group: str = ""
) -> Iterator[Follower]:
    """A follower of a topic; by default its group has the topic's name."""
    follower = Follower()
    store = LakeStore(lake)
    follower.start(lambda it: follow(source, store, raw_of(topic), group or topic, it.stop, pace,
                                     it.landed))  # fmt: skip
    try:
        yield follower
    finally:
        follower.stop.set()
        follower.join()


def sold(numbers: range) -> list[bytes]:
    return [json.dumps({"id": number, "amount": "1.50"}).encode() for number in numbers]


def ids(lake: Lake, relation: str = "shop_raw.sales", column: str = "id") -> list[int]:
    states = lake.states()
    if relation not in states:
        return []
    with connect_memory() as connection:
        create_views(connection, states)
        rows = connection.execute(f"select {column} from {relation} order by all").fetchall()
    return [number for (number,) in rows]


def wait_for_rows(lake: Lake, count: int, **where: str) -> None:
    wait_until(lambda: len(ids(lake, **where)) >= count, LONG, f"landing {count} rows")


class Watched:
    """A client that counts the events that it has read."""

    def __init__(self, client: Any) -> None:
        self.events = 0
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def poll(self, seconds: float) -> list:
        batches = self._client.poll(seconds)
        self.events += sum(batch.events.num_rows for batch in batches)
        return batches


class Unheard:
    """A client whose first commit of offsets is lost, as may happen in a rebalance."""

    def __init__(self, client: Any) -> None:
        self.is_heard = False
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def commit(self, offsets: dict[int, int]) -> None:
        if self.is_heard:
            self._client.commit(offsets)
        self.is_heard = True


class Looked:
    """A source that counts failed calls of `describe`."""

    def __init__(self, source: Source) -> None:
        self.misses = 0
        self._source = source

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def describe(self, topic: str) -> Any:
        try:
            return self._source.describe(topic)
        except MeshError:
            self.misses += 1
            raise


def test_an_event_is_queryable_soon_and_offsets_are_mirrored_to_the_group(
    cluster, client, lake, source_of
):
    topic, admin = cluster.create(2), cluster.admin()
    with following(source_of(cluster, client), lake, topic) as follower:
        cluster.send(topic, sold(range(1)), 0)
        wait_for_rows(lake, 1)
        started = time.monotonic()
        cluster.send(topic, sold(range(1, 2)), 1)
        wait_for_rows(lake, 2)
        assert time.monotonic() - started < 10  # 0.5 s on idle cores
        wait_until(lambda: offsets_told(admin, topic) == {0: 1, 1: 1}, LONG, "mirroring")
    assert (follower.end().rows, follower.end().offsets) == (2, {0: 1, 1: 1})
    admin.close()


def offsets_told(admin: Any, group: str) -> dict[int, int]:
    try:
        stored = admin.list_group_offsets(group)[group]
    except KafkaError as error:
        if not error.retriable:
            raise
        return {}  # a new broker has not created its topic of offsets yet
    return {place.partition: each.offset for place, each in stored.items()}


def test_so_many_events_are_committed_without_waiting_for_the_time(
    cluster, client, lake, source_of
):
    topic = cluster.create()
    with following(source_of(cluster, client), lake, topic, Pace(NEVER, 5)):
        cluster.send(topic, sold(range(5)))
        wait_for_rows(lake, 5)
    assert ids(lake) == list(range(5))


def test_after_its_time_whatever_came_is_one_commit(cluster, lake, source_of):
    topic = cluster.create()
    with following(source_of(cluster), lake, topic, Pace(2.0)) as follower:
        wait_until(lambda: lake.states(), LONG, "making the table")
        for number in range(20):
            cluster.send(topic, sold(range(number, number + 1)))
        wait_for_rows(lake, 20)
        assert follower.commits <= 3


def test_a_stop_commits_what_was_read_also_to_the_group(cluster, client, lake, source_of):
    topic, admin = cluster.create(), cluster.admin()
    made: list[Watched] = []

    def watched(*arguments: Any) -> Any:
        made.append(Watched(client(*arguments)))
        return made[-1]

    cluster.send(topic, sold(range(7)))
    with following(source_of(cluster, watched), lake, topic, Pace(NEVER)) as follower:
        wait_until(lambda: made and made[-1].events == 7, LONG, "reading")
        assert ids(lake) == []
        landing = follower.end()
    assert (landing.rows, landing.commits) == (7, 1)
    assert ids(lake) == list(range(7))
    assert offsets_told(admin, topic) == {0: 7}
    admin.close()


def test_offsets_that_the_group_did_not_receive_are_committed_again(
    cluster, client, lake, source_of, monkeypatch
):
    monkeypatch.setattr("meshhouse.landing.follow._LOOK_SECONDS", 0.2)
    topic, admin = cluster.create(), cluster.admin()
    cluster.send(topic, sold(range(3)))
    unheard = source_of(cluster, lambda *arguments: Unheard(client(*arguments)))
    with following(unheard, lake, topic):
        wait_until(lambda: offsets_told(admin, topic) == {0: 3}, LONG, "mirroring")
    admin.close()


def test_who_reads_briefly_and_works_in_between_shares_with_others(lively, client):
    topic, stop = lively.create(2), threading.Event()
    owned: list[set[int]] = [set(), set()]

    def take_part(number: int, seconds: float, work: float) -> None:
        mine = owned[number]

        def gained(partitions: Sequence[int]) -> dict[int, int]:
            mine.update(partitions)
            return dict.fromkeys(partitions, 0)

        member = client(lively.settings, topic, topic)
        member.subscribe(topic, Rebalance(gained, mine.difference_update, mine.difference_update))
        while not stop.is_set():
            member.poll(seconds)
            stop.wait(work)
        member.close()

    members = [
        threading.Thread(target=take_part, args=(0, 0.02, 1.0)),
        threading.Thread(target=take_part, args=(1, 0.2, 0.0)),
    ]
    try:
        members[0].start()
        wait_until(lambda: len(owned[0]) == 2, LONG, "joining alone")
        members[1].start()
        wait_until(lambda: [len(each) for each in owned] == [1, 1], LONG, "sharing")
    finally:
        stop.set()
        for member in members:
            member.join(LONG)


def test_two_followers_share_the_partitions_and_who_stays_takes_over(
    lively, client, lake, source_of
):
    topic, sent = lively.create(4), 0
    producer = lively.producer()

    def send_to_all() -> None:
        nonlocal sent
        for partition in range(4):
            for value in sold(range(sent, sent + 5)):
                producer.produce(topic, value, partition=partition)
            sent += 5
        assert producer.flush(LONG) == 0

    def both_landed() -> bool:
        send_to_all()
        return first.rows > before and second.rows > 0

    one, other = source_of(lively, client), source_of(lively, client)
    with following(one, lake, topic) as first:
        send_to_all()
        wait_for_rows(lake, sent)
        before = first.rows
        with following(other, lake, topic) as second:
            wait_until(both_landed, LONG, "sharing")
            gone = first.end()
            send_to_all()
            wait_for_rows(lake, sent)
            stayed = second.end()
    assert gone.rows + stayed.rows == sent
    assert ids(lake) == list(range(sent))


@pytest.mark.server
def test_without_a_broker_a_follower_can_be_stopped_and_others_wait_for_it(
    tmp_path, lake, source_of, monkeypatch
):
    monkeypatch.setattr("meshhouse.landing.follow._LOOK_SECONDS", 0.2)
    monkeypatch.setattr("meshhouse.events.kafka.confluent._CLOSE_SECONDS", 1.0)
    broker = Broker(tmp_path / "broker")
    broker.start(0)
    try:
        own = Cluster(broker)
        topic, source = own.create(), Looked(source_of(own))
        leaving = Lake(tmp_path / "python"), Lake(tmp_path / "confluent")
        with (
            following(source, lake, topic) as follower,
            following(source_of(own, PythonClient), leaving[0], topic, group="python") as one,
            following(source_of(own, ConfluentClient), leaving[1], topic, group="other") as other,
        ):
            own.send(topic, sold(range(5)))
            for each in (lake, *leaving):
                wait_for_rows(each, 5)
            broker.kill()
            assert one.end().rows == other.end().rows == 5
            wait_until(lambda: source.misses > 1, LONG, "missing the broker")
            broker.start(int(own.settings.bootstrap_servers.rpartition(":")[2]))
            own.send(topic, sold(range(5, 10)))
            wait_until(lambda: follower.error or len(ids(lake)) >= 10, LONG, "landing 10 rows")
            follower.end()
        assert ids(lake) == list(range(10))
    finally:
        broker.stop()


def test_of_two_groups_on_one_table_exactly_one_wins_and_the_other_says_so(
    cluster, client, lake, source_of
):
    topic, sent = cluster.create(), 0

    def one_stopped() -> bool:
        nonlocal sent
        cluster.send(topic, sold(range(sent, sent + 5)))
        sent += 5
        return any(not each.thread.is_alive() for each in (first, second))

    one, other = source_of(cluster, client), source_of(cluster, client)
    with (
        following(one, lake, topic, group=f"{topic}.1") as first,
        following(other, lake, topic, group=f"{topic}.2") as second,
    ):
        wait_until(one_stopped, LONG, "the clash")
        wait_for_rows(lake, sent)
    [loser] = [each for each in (first, second) if each.error]
    assert isinstance(loser.error, Fenced)
    assert "Another lander took over partition 0" in str(loser.error)
    assert "no event is lost or landed twice" in str(loser.error)
    assert ids(lake) == list(range(sent))


def test_a_recreated_topic_stops_a_follower_that_starts(cluster, lake, source_of):
    topic = cluster.create()
    cluster.send(topic, sold(range(3)))
    with following(source_of(cluster), lake, topic):
        wait_for_rows(lake, 3)
    cluster.delete(topic)
    cluster.create(1, topic)
    with following(source_of(cluster), lake, topic) as follower:
        follower.join()
    assert "--accept new-topic" in str(follower.error)


def test_events_that_retention_removed_are_passed_over_if_a_person_accepts_it(
    cluster, client, lake, source_of
):
    from kafka import TopicPartition

    topic, admin = cluster.create(), cluster.admin()
    cluster.send(topic, sold(range(3)))
    with following(source_of(cluster, client), lake, topic):
        wait_for_rows(lake, 3)
    cluster.send(topic, sold(range(3, 8)))
    admin.delete_records({TopicPartition(topic, 0): 6})
    admin.close()
    accepting = Follower()
    store = LakeStore(lake)
    accepting.start(lambda it: follow(source_of(cluster, client), store, raw_of(topic), topic,
                                      it.stop, SOON, accept=["lost-events"]))  # fmt: skip
    wait_until(lambda: accepting.error or len(ids(lake)) == 5, LONG, "going on")
    assert accepting.end().rows == 2
    assert ids(lake) == [0, 1, 2, 6, 7]


def changed_before_it_reads(client: Any, change: Callable[[], None]) -> Any:
    """A client class whose topic changes after it was described and before the first event."""

    class Late(client):
        def subscribe(self, group: str, rebalance: Rebalance) -> None:
            def assigned(partitions: Sequence[int]) -> Any:
                starts = rebalance.assigned(partitions)
                change()
                return starts

            super().subscribe(group, Rebalance(assigned, rebalance.revoked, rebalance.lost))

    return Late


def test_a_follower_whose_next_events_were_removed_says_which(cluster, client, lake, source_of):
    from kafka import TopicPartition

    topic, admin = cluster.create(), cluster.admin()
    cluster.send(topic, sold(range(3)))
    with following(source_of(cluster, client), lake, topic):
        wait_for_rows(lake, 3)
    cluster.send(topic, sold(range(3, 8)))
    late = changed_before_it_reads(
        client, lambda: admin.delete_records({TopicPartition(topic, 0): 6})
    )
    with following(source_of(cluster, late), lake, topic) as follower:
        follower.join()
    assert f"Events 3 to 5 of partition 0 of topic `{topic}` were removed" in str(follower.error)
    assert "--accept lost-events" in str(follower.error)
    admin.close()


def test_a_follower_whose_topic_is_made_again_says_what_was_landed(
    cluster, client, lake, source_of
):
    topic = cluster.create()
    cluster.send(topic, sold(range(3)))
    with following(source_of(cluster, client), lake, topic) as follower:
        wait_for_rows(lake, 3)
        cluster.delete(topic)
        cluster.create(1, topic)
        follower.join()
    said = str(follower.error)
    # It described the topic between deletion and creation, or after both.
    assert f"There is no topic `{topic}`" in said or (
        f"Topic `{topic}` was deleted and created again" in said
        and "Events before offset 3 of partition 0 were landed" in said
    )
    assert ids(lake) == [0, 1, 2]


def test_a_follower_reads_an_added_partition_long_before_kafkas_300_seconds(
    cluster, client, lake, source_of, monkeypatch
):
    monkeypatch.setattr("meshhouse.landing.follow._LOOK_SECONDS", 0.2)
    topic, admin = cluster.create(), cluster.admin()
    cluster.send(topic, sold(range(3)))
    with following(source_of(cluster, client), lake, topic):
        wait_for_rows(lake, 3)
        admin.create_partitions({topic: 2})
        cluster.send(topic, sold(range(3, 6)), partition=1)
        wait_until(lambda: len(ids(lake)) == 6, 60, "landing what is in the added partition")
    admin.close()


def test_the_embedded_log_is_followed_too(tmp_path, lake):
    log = EventLog(tmp_path / "events")
    log.create_topic("shop.sales", 2)
    with following(log, lake, "shop.sales") as follower:
        wait_until(lambda: lake.states(), LONG, "making the table")
        for numbers in (range(5), range(5, 10)):
            events = [(b"%d" % n, value, 0, []) for n, value in zip(numbers, sold(numbers))]  # noqa: B905
            log.append_events("shop.sales", events, "test")
            wait_for_rows(lake, numbers.stop)
        assert follower.end().rows == 10
    assert ids(lake) == list(range(10))


def test_a_table_that_is_followed_for_long_stays_small_and_whole(mesh: Mesh, cluster, monkeypatch):
    topic = cluster.create()
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", cluster.settings.bootstrap_servers)
    mesh.edit("domains/shop/models/topics.yml", "topic: shop.sales", f"topic: {topic}")
    repository, lake, sent = mesh.repository, Lake(mesh.home), 0
    [raw] = [raw for domain in repository.domains for raw in domain.raw_tables]
    follower = Follower()
    follower.start(
        lambda it: follow_table(
            repository,
            LakeStore(lake),
            raw,
            it.stop,
            Pace(0.05, 1),
            it.landed,
            maintain=lambda raw: maintain_while_landing(lake, raw.relation),
        )
    )

    def many_commits() -> bool:
        nonlocal sent
        cluster.send(topic, [sale(sent)[1]])
        sent += 1
        return follower.commits > 60

    wait_until(many_commits, 2 * LONG, "60 commits")
    wait_until(lambda: follower.rows == sent, LONG, "landing the last event")
    landing = follower.end()
    assert (landing.rows, landing.total_rows) == (sent, sent)
    assert ids(lake, column="sale_id") == list(range(sent))
    assert snapshots(lake, raw) < landing.commits - 20
    assert sum(entry["rows"] for entry in LakeLedger(lake).entries("landings")) == sent
    assert group_of(raw) == "meshhouse.shop_raw.sales"


def snapshots(lake: Lake, raw: RawTable) -> int:
    table = lake.load(raw.relation)
    assert table is not None
    return len(table.metadata.snapshots)


def test_a_follower_of_the_event_log_notices_that_its_topic_was_recreated(tmp_path):
    log = EventLog(tmp_path / "events")
    log.create_topic(RAW.topic, 1)
    place = Place(log, Lake(tmp_path))
    place.sell(1, 2, 3)
    seen, failed = threading.Event(), []

    def work() -> None:
        try:
            follow(
                log,
                LakeStore(place.lake),
                RAW,
                "group",
                stop,
                Pace(0.1),
                lambda landing: seen.set(),
            )
        except MeshError as error:
            failed.append(str(error))

    stop = threading.Event()
    worker = threading.Thread(target=work)
    worker.start()
    assert seen.wait(30)
    log.delete_topic(RAW.topic)
    log.create_topic(RAW.topic, 1)
    place.sell(*range(10, 20))
    worker.join(30)
    stop.set()
    # It described the topic between deletion and creation, or after both.
    said = ("There is no topic `shop.sales`", "Events before offset 3 of partition 0 were landed")
    assert any(each in failed[0] for each in said), failed
    assert place.ids() == [1, 2, 3]
