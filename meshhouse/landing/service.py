"""Landing as commands and Dagster's assets ask for it.

Belongs here: one bounded lander a table at a time on this machine, none beside those that land
the table continuously, and the ledger entry. Not here: how a table is landed (land.py,
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
from meshhouse.landing.reprocess import Again, land_again, starts_from
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
"""Called with the next offset of each partition after a commit, to show the group's lag."""


class Lander(Protocol):
    """Lands one raw table. A lander goes on where any other one stopped."""

    def land(
        self, source: Source, raw: RawTable, progress: Progress, accept: Accept, mirror: Mirror
    ) -> Landing:
        """Lands what the topic holds now; see `meshhouse.landing.land.land`."""
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
    """The consumer group whose lag says how far landing a table is behind."""
    # Landers of one group share the partitions; an environment lands all of them itself.
    return f"meshhouse.{stored_schema(environment, raw.relation)}"


def lands_itself(store: RawStore, raw: RawTable) -> bool:
    """Whether a run lands a raw table, rather than reading production's.

    An environment reads what production landed, until somebody lands there or production
    has no table that holds the declared columns.
    """
    if not store.environment or raw.relation in store.pointers():
        return True
    return not store.in_environment("").holds(raw)


def land_table(
    repository: Repository,
    store: RawStore,
    raw: RawTable,
    progress: Progress = lambda events: None,
    accept: Accept = (),
    lander: Lander | None = None,
) -> Landing:
    """Lands what the topic of one raw table holds now and records it.

    A table that is landed continuously on this machine is left to its followers.

    Args:
        repository: where the topics are declared.
        store: where the raw table is.
        raw: what to land.
        progress: called with the number of events that each commit landed.
        accept: see `meshhouse.landing.target.Accept`.
        lander: what lands; by default this process.

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


def land_table_again(
    repository: Repository,
    lake: Lake,
    raw: RawTable,
    since: str,
    progress: Progress = lambda events: None,
) -> Again:
    """Reprocesses events from an offset or a time: lands them again, in their place.

    Raises:
        UsageError: `since` is neither, or the table was never landed.
        MeshError: see `meshhouse.landing.reprocess.land_again`.
    """
    source = open_source(repository.root, repository.home)
    with lock(repository.workspace / "locks" / f"{raw.relation}.landing"):
        return land_again(source, lake, raw, starts_from(source, raw, since), progress)


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
        repository: where the topics are declared.
        store: where the raw table is.
        raw: what to land.
        stop: set by the caller; what was read is committed first.
        pace: when to commit.
        on_landed: called after each commit with what was landed so far.
        accept: see `meshhouse.landing.target.Accept`.
        lander: what lands; by default this process.
        maintain: called every 25 commits, so that commits stay quick.

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
