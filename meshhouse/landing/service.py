"""Landing for commands and Dagster's assets.

Belongs here: the locks, and the ledger entry. On one machine a table has one bounded landing at a
time, and none while it is landed continuously. Not here: reading and committing events (land.py,
follow.py).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Protocol

from meshhouse.events import open_source
from meshhouse.events.source import Source
from meshhouse.lake import Lake
from meshhouse.landing.follow import OnLanded, Pace, follow
from meshhouse.landing.land import Landing, Progress, land
from meshhouse.landing.reprocess import Reprocessed, reprocess, starts_from
from meshhouse.landing.store import RawStore
from meshhouse.landing.target import Accept
from meshhouse.locks import lock, lock_if_free, shared_lock
from meshhouse.repository import RawTable, Repository
from meshhouse.repository.environment import stored_schema

_MAINTAIN_EVERY = 25
"""Commits between maintenance of a table that is landed continuously."""
_LEDGER_SECONDS = 60.0
"""Seconds between ledger entries of a continuous landing, whose commits are more frequent."""

Mirror = Callable[[Mapping[int, int]], None]
"""Is called with the next offset of each partition after a commit, to report the group's lag."""


class Lander(Protocol):
    """Lands one raw table. It continues from the table's offsets, whichever lander wrote them."""

    def land(
        self, source: Source, raw: RawTable, progress: Progress, accept: Accept, mirror: Mirror
    ) -> Landing:
        """Lands the events that the topic holds now; see `meshhouse.landing.land.land`."""
        ...

    def follow(
        self,
        source: Source,
        raw: RawTable,
        stop: threading.Event,
        pace: Pace,
        on_landed: OnLanded,
        accept: Accept,
        mirror: Mirror,
    ) -> Landing:
        """Lands until `stop` is set; see `meshhouse.landing.follow.follow`."""
        ...


class ProcessLander:
    """Lands in this process."""

    def __init__(self, store: RawStore) -> None:
        self._store = store

    def land(
        self, source: Source, raw: RawTable, progress: Progress, accept: Accept, mirror: Mirror
    ) -> Landing:
        """See `Lander`."""
        return land(source, self._store, raw, progress, accept=accept, mirror=mirror)

    def follow(
        self,
        source: Source,
        raw: RawTable,
        stop: threading.Event,
        pace: Pace,
        on_landed: OnLanded,
        accept: Accept,
        mirror: Mirror,
    ) -> Landing:
        """See `Lander`; members of the group commit their own offsets, so `mirror` is not used."""
        group = group_of(raw, self._store.environment)
        return follow(source, self._store, raw, group, stop, pace, on_landed, accept)


def group_of(raw: RawTable, environment: str = "") -> str:
    """The consumer group whose lag is the lag of landing a table."""
    # One group per environment: landers of a group share the partitions, and each environment
    # lands all of them.
    return f"meshhouse.{stored_schema(environment, raw.relation)}"


def land_table(
    repository: Repository,
    store: RawStore,
    raw: RawTable,
    progress: Progress = lambda events: None,
    accept: Accept = (),
    lander: Lander | None = None,
) -> Landing:
    """Lands the events that the topic of one raw table holds now, and records the landing.

    It does nothing if the table is landed continuously on this machine.

    Args:
        repository: declares the topics.
        store: holds the raw table.
        raw: the raw table to land.
        progress: is called with the number of events after each commit.
        accept: see `meshhouse.landing.target.Accept`.
        lander: reads and commits the events; by default this process.

    Raises:
        UsageError: the lander cannot land this topic; or see `land`.
        MeshError: see `land`.
    """
    lander = lander or ProcessLander(store)
    source = open_source(repository.root, repository.home)
    locks = repository.workspace / "locks"
    store.record(raw)
    with (
        lock(locks / f"{raw.relation}.landing"),
        lock_if_free(locks / f"{raw.relation}.following") as follower,
    ):
        if follower:
            return Landing(raw, followed_by=follower, finished_at=datetime.now(UTC))
        landing = lander.land(source, raw, progress, accept, _mirror(source, store, raw))
    store.record(raw)
    return landing


def reprocess_table(
    repository: Repository,
    lake: Lake,
    raw: RawTable,
    since: str,
    progress: Progress = lambda events: None,
) -> Reprocessed:
    """Reprocesses events from an offset or a time; their new rows replace the earlier ones.

    Raises:
        UsageError: `since` is neither an offset nor a time, or the table was never landed.
        MeshError: see `meshhouse.landing.reprocess.reprocess`.
    """
    source = open_source(repository.root, repository.home)
    with lock(repository.workspace / "locks" / f"{raw.relation}.landing"):
        return reprocess(source, lake, raw, starts_from(source, raw, since), progress)


def follow_table(
    repository: Repository,
    store: RawStore,
    raw: RawTable,
    stop: threading.Event,
    pace: Pace,
    on_landed: OnLanded = lambda landing: None,
    accept: Accept = (),
    lander: Lander | None = None,
    maintain: Callable[[RawTable], object] = lambda raw: None,
) -> Landing:
    """Lands one raw table until `stop` is set; several processes may share its topic.

    Args:
        repository: declares the topics.
        store: holds the raw table.
        raw: the raw table to land.
        stop: ends the landing when the caller sets it; events that were read are committed first.
        pace: when a commit is due.
        on_landed: is called after each commit with the totals so far.
        accept: see `meshhouse.landing.target.Accept`.
        lander: reads and commits the events; by default this process.
        maintain: is called every 25 commits, so that commits stay fast.

    Raises:
        UsageError: the lander cannot land this topic.
        MeshError: see `meshhouse.landing.follow.follow`.
    """
    lander = lander or ProcessLander(store)
    source = open_source(repository.root, repository.home)
    store.record(raw)
    recorded = time.monotonic()

    def landed(landing: Landing) -> None:
        nonlocal recorded
        if time.monotonic() - recorded >= _LEDGER_SECONDS:
            store.record(raw)
            recorded = time.monotonic()
        if landing.commits % _MAINTAIN_EVERY == 0:
            maintain(raw)
        on_landed(landing)

    try:
        with shared_lock(repository.workspace / "locks" / f"{raw.relation}.following"):
            mirror = _mirror(source, store, raw)
            landing = lander.follow(source, raw, stop, pace, landed, accept, mirror)
    finally:
        store.record(raw)
    landing.finished_at = datetime.now(UTC)
    return landing


def _mirror(source: Source, store: RawStore, raw: RawTable) -> Mirror:
    group = group_of(raw, store.environment)
    return lambda offsets: source.mirror(raw.topic, group, offsets)
