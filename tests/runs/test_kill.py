"""Killed at random times, landing and publication leave nothing half done."""

from __future__ import annotations

import os
import random
import select
import signal
from pathlib import Path

from tests.support import killing

KILLS = 100
EVENTS = 40_000


def test_a_hundred_kills_lose_nothing_double_nothing_and_publish_nothing_by_half(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    moments = random.Random(20170101)
    os.waitpid(killing.forked(lambda: killing.write_events(home, EVENTS)), 0)
    kills = finished = 0
    while kills < KILLS:
        # Half of the time, a second domain publishes at once, as in `mesh run --jobs 2`.
        rivals = [_rival(home)] if kills % 2 else []
        worker = killing.forked(lambda: killing.work(home))
        has_ended = _ended_within(worker, moments.uniform(0.02, 0.4))
        for rival in rivals:
            os.kill(rival, signal.SIGKILL)
            os.waitpid(rival, 0)
        if has_ended:
            finished += 1
            assert os.waitpid(worker, 0)[1] == 0
            # Everything is landed: go on with new events.
            os.waitpid(killing.forked(lambda: killing.write_events(home, EVENTS)), 0)
            continue
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
        kills += 1
        assert killing.result_of(lambda: killing.problems(home), tmp_path) == []
    _, status = os.waitpid(killing.forked(lambda: killing.finish(home)), 0)
    assert status == 0
    assert killing.result_of(lambda: killing.problems(home), tmp_path) == []
    landed = killing.result_of(lambda: _landed(home), tmp_path)
    assert landed == [EVENTS * (finished + 1)] * 2
    assert killing.result_of(lambda: _rounds(home, killing.RIVAL), tmp_path) > 5


def test_the_harness_sees_the_duplicates_of_a_plain_poll_append_commit_loop(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    os.waitpid(killing.forked(lambda: killing.write_events(home, 500)), 0)
    for dies in (True, False):
        worker = killing.forked(lambda dies=dies: killing.land_naively(home, dies))
        os.waitpid(worker, 0)
    duplicates = killing.result_of(lambda: _duplicates(home), tmp_path)
    assert duplicates > 0


def _rival(home: Path) -> int:
    return killing.forked(lambda: killing.publish_over_and_over(home, killing.RIVAL))


def _ended_within(worker: int, seconds: float) -> bool:
    """Whether the process ends by itself before the time is up."""
    descriptor = os.pidfd_open(worker)
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


def _landed(home: Path) -> list[int]:
    """Events landed or rejected, and the sum of the next offsets."""
    from meshhouse.lake import Lake
    from meshhouse.lake.views import connect_memory, create_views

    lake = Lake(home)
    with connect_memory() as connection:
        create_views(connection, lake.states())
        (rows,) = connection.execute(
            "select (select count(*) from shop_raw.sales) + "
            "(select count(*) from shop_raw.sales__rejected)"
        ).fetchone()
    return [rows, sum(killing.offsets(lake).values())]


def _rounds(home: Path, domain: str) -> int:
    """How often a domain has published."""
    from meshhouse.lake import Lake
    from meshhouse.lake.ledger import LakeLedger

    return len(LakeLedger(Lake(home)).entries("publications", domain)) // len(killing.NAMES)


def _duplicates(home: Path) -> int:
    from meshhouse.lake import Lake
    from meshhouse.lake.views import connect_memory, create_views

    with connect_memory() as connection:
        create_views(connection, Lake(home).states())
        (count,) = connection.execute(
            "select count(*) - count(distinct (_topic_partition, _offset)) from shop_raw.sales"
        ).fetchone()
    return count
