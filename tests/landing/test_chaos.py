"""Every event lands exactly once, even if processes are killed, paused or restarted."""

from __future__ import annotations

import os
import random
import select
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from meshhouse.events.kafka.broker import Broker
from meshhouse.events.kafka.confluent import ConfluentClient
from meshhouse.events.kafka.python import PythonClient
from meshhouse.events.kafka.settings import KafkaSettings
from meshhouse.lake import Lake
from tests.support import chaos, killing
from tests.support.kafka_topics import Cluster

pytestmark = pytest.mark.server
BOUNDED_KILLS = 140
FOLLOWER_KILLS = 60
REBALANCES = 20
SESSION_MILLIS = 1_500
LIMIT = 2_000_000


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    """A separate broker, because the test restarts it; it notices dead members quickly."""
    broker = Broker(tmp_path / "mesh")
    broker.start(0, properties={"group.min.session.timeout.ms": "1000"})
    made = Cluster(broker)
    made.settings = KafkaSettings(
        {**made.settings.properties, "session.timeout.ms": str(SESSION_MILLIS)}
    )
    yield made
    broker.stop()


class Crowd:
    """Landers that run at the same time."""

    def __init__(self, cluster: Cluster, topic: str, home: Path, size: int) -> None:
        self._work = lambda client: chaos.land_on(cluster, topic, home, client)
        self.members = [self.join() for _ in range(size)]

    def join(self) -> int:
        return killing.forked(lambda: self._work(PythonClient))

    def kill(self, index: int) -> None:
        os.kill(self.members[index], signal.SIGKILL)
        os.waitpid(self.members[index], 0)
        self.members[index] = self.join()

    def leave(self, index: int) -> None:
        """One lander stops in an orderly way and a new one joins: two rebalances."""
        os.kill(self.members[index], signal.SIGTERM)
        os.waitpid(self.members[index], 0)
        self.members[index] = self.join()

    def replace_stopped(self) -> None:
        """Replaces landers that were fenced or lost the broker."""
        for index, member in enumerate(self.members):
            if os.waitpid(member, os.WNOHANG)[0]:
                self.members[index] = self.join()

    def end(self) -> None:
        for member in self.members:
            os.kill(member, signal.SIGTERM)
        for member in self.members:
            os.waitpid(member, 0)


@pytest.mark.timeout(1200)
def test_every_event_lands_exactly_once_through_kills_rebalances_a_restart_and_a_zombie(
    tmp_path: Path, cluster: Cluster
) -> None:
    home, dice = tmp_path / "home", random.Random(20170101)
    topic = "chaos.sales"
    _run(lambda: cluster.create(chaos.PARTITIONS, topic))
    producer = killing.forked(lambda: chaos.produce(cluster, topic, tmp_path, LIMIT))

    kills = 0
    while kills < BOUNDED_KILLS:
        client = dice.choice([PythonClient, ConfluentClient])
        lander = killing.forked(lambda client=client: chaos.land_once(cluster, topic, home, client))
        if _ended_within(lander, dice.uniform(0.05, 0.7)):
            assert os.waitpid(lander, 0)[1] == 0
            continue
        os.kill(lander, signal.SIGKILL)
        os.waitpid(lander, 0)
        kills += 1

    crowd = Crowd(cluster, topic, home, 3)
    for number in range(FOLLOWER_KILLS):
        _progress(crowd, home)
        crowd.kill(dice.randrange(3))
        if number % 3 == 0 and number < 3 * REBALANCES:
            crowd.leave(dice.randrange(3))
        if number == FOLLOWER_KILLS // 2:
            cluster.broker.kill()
            port = int(cluster.settings.bootstrap_servers.rpartition(":")[2])
            cluster.broker.start(port, properties={"group.min.session.timeout.ms": "1000"})

    _progress(crowd, home)
    zombie = crowd.members[0]
    _pause(zombie, home)
    crowd.members[0] = crowd.join()
    before = chaos.landed_offsets(home)
    chaos.wait_until(
        lambda: _moved(crowd, home, before, every=True), 90, "taking over from the zombie"
    )
    os.kill(zombie, signal.SIGCONT)
    _progress(crowd, home)
    crowd.members.append(zombie)

    os.kill(producer, signal.SIGTERM)
    assert os.waitpid(producer, 0)[1] == 0
    crowd.end()
    _run(lambda: chaos.land_once(cluster, topic, home, PythonClient))

    produced = int((tmp_path / "produced").read_text())
    exactly_once = {
        "rows": produced,
        "numbers": produced,
        "offsets": produced,
        "first": 0,
        "last": produced - 1,
        "misplaced": 0,
        "rejected": len([each for each in range(produced) if each % 100 == 7]),
        "produced": produced,
    }
    assert killing.result_of(lambda: chaos.left_behind(home, produced), tmp_path) == exactly_once

    # Maintenance removes the files that killed landers left, and no others.
    removed = killing.result_of(lambda: chaos.orphans_removed(home), tmp_path)
    assert removed > 0
    assert killing.result_of(lambda: chaos.orphans_removed(home), tmp_path) == 0
    assert killing.result_of(lambda: chaos.left_behind(home, produced), tmp_path) == exactly_once


def test_the_same_harness_sees_the_duplicates_of_a_plain_poll_append_commit_loop(
    tmp_path: Path, cluster: Cluster
) -> None:
    home, topic = tmp_path / "home", "naive.sales"
    _run(lambda: cluster.create(chaos.PARTITIONS, topic))
    producer = killing.forked(lambda: chaos.produce(cluster, topic, tmp_path, 20_000))
    os.waitpid(producer, 0)
    for _ in range(chaos.PARTITIONS + 1):  # one partition must come twice
        before = chaos.state_of(home)
        lander = killing.forked(lambda: chaos.land_naively(cluster, topic, home, None))
        # Rows are visible, and their offsets are not yet committed: a kill will meet this state.
        chaos.wait_until(lambda before=before: chaos.state_of(home) != before, 90, "landing")
        os.kill(lander, signal.SIGKILL)
        os.waitpid(lander, 0)
    rows, numbers = killing.result_of(lambda: chaos.rows_and_numbers(home), tmp_path)
    assert rows > numbers


def _progress(crowd: Crowd, home: Path) -> None:
    """Waits until more events are landed, so that a kill meets a working lander."""
    before = chaos.landed_offsets(home)
    chaos.wait_until(lambda: _moved(crowd, home, before), 90, "landing")


def _moved(crowd: Crowd, home: Path, before: dict[int, int], every: bool = False) -> bool:
    crowd.replace_stopped()
    now = chaos.landed_offsets(home)
    moved = [now[each] > before.get(each, 0) for each in now]
    return len(moved) == chaos.PARTITIONS and all(moved) if every else any(moved)


def _pause(process: int, home: Path) -> None:
    """Pauses a lander that does not hold SQLite's lock, because all others wait for that lock."""
    catalog = Lake(home).catalog_path
    while True:
        os.kill(process, signal.SIGSTOP)
        try:
            with closing(sqlite3.connect(catalog, timeout=5, isolation_level=None)) as connection:
                connection.execute("begin exclusive")
                return
        except sqlite3.OperationalError:
            os.kill(process, signal.SIGCONT)


def _run(task) -> None:
    assert os.waitpid(killing.forked(task), 0)[1] == 0


def _ended_within(process: int, seconds: float) -> bool:
    descriptor = os.pidfd_open(process)
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)
