"""Continuous landing, which shares a topic's partitions with other landers of a consumer group.

Belongs here: the time of commits, changes of assigned partitions, and an orderly stop. Not here:
the contents of a commit (target.py).

Kafka's consumer group assigns the partitions. The offset from which a partition is read always
comes from the raw table, never from the group. So a partition can be reassigned at any time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from meshhouse.errors import MeshError
from meshhouse.events.errors import SourceAway
from meshhouse.events.source import Client, EventBatch, Rebalance, Source, Topic
from meshhouse.landing.land import Landing
from meshhouse.landing.pending import Committed, Pending
from meshhouse.landing.pipeline import COMMIT_BYTES, Pipeline
from meshhouse.landing.store import RawStore
from meshhouse.landing.target import Accept, Fenced, open_target
from meshhouse.repository import RawTable

_POLL_SECONDS = 0.2
_PATIENCE_SECONDS = 60.0
_LOOK_SECONDS = 5.0
"""Interval of two tasks. The topic is checked, because deleting and creating it again does not
always cause a rebalance. And offsets are committed to the group again, because a commit during a
rebalance may be lost. Kafka's consumers commit at the same interval by default."""


@dataclass(frozen=True)
class Pace:
    """A commit is due after so many seconds or events, whichever comes first."""

    seconds: float = 5.0
    events: int = 1_000_000


OnLanded = Callable[[Landing], None]
"""Is called after each commit with the totals of the landing so far."""


def follow(
    source: Source,
    store: RawStore,
    raw: RawTable,
    group: str,
    stop: threading.Event,
    pace: Pace = Pace(),
    on_landed: OnLanded = lambda landing: None,
    accept: Accept = (),
    commit_bytes: int = COMMIT_BYTES,
) -> Landing:
    """Lands new events of a topic until `stop` is set.

    Args:
        source: holds the topic.
        store: holds the raw table.
        raw: the raw table to land.
        group: the consumer group whose members share the partitions.
        stop: ends the landing when the caller sets it; events that were read are committed first.
        pace: when a commit is due.
        on_landed: is called after each commit.
        accept: see `meshhouse.landing.target.Accept`.
        commit_bytes: size of decoded rows that makes a commit due earlier.

    Raises:
        UsageError: the topic does not exist, or the declared columns do not fit.
        Fenced: another lander outside the group lands the same partitions.
        MeshError: see `land`.
    """
    follower = _Follower(source, store, raw, pace, on_landed, accept, commit_bytes)
    client = source.follow(raw.topic, group)
    try:
        follower.run(client, group, stop)
    finally:
        follower.is_over = True
        client.close()
    return follower.landing


class _Follower:
    def __init__(
        self,
        source: Source,
        store: RawStore,
        raw: RawTable,
        pace: Pace,
        on_landed: OnLanded,
        accept: Accept,
        commit_bytes: int,
    ) -> None:
        self._source, self._raw, self._pace, self._accept = source, raw, pace, accept
        self._on_landed = on_landed
        self._target = open_target(store, raw, source.describe(raw.topic), accept)
        # Described again after the table was read: other landers may have landed meanwhile.
        self._target.starts(source.describe(raw.topic), accept)
        self.landing = Landing(raw, offsets=self._target.offsets)
        self._pipeline = Pipeline(raw, self._target, self._committed, commit_bytes)
        self._client: Client | None = None
        self._mine: set[int] = set()
        self._fresh: set[int] = set()
        """Partitions that were assigned and not committed since. Until then, a late commit of the
        previous owner may still change their offsets."""
        self._is_stale = False
        """Whether events that were read must be dropped and read again from the table's offsets."""
        self.is_over = False
        """Whether nothing is left to commit, so that revoked partitions need no action."""

    def run(self, client: Client, group: str, stop: threading.Event) -> None:
        self._client = client
        client.subscribe(group, Rebalance(self._assigned, self._revoked, self._lost))
        due = time.monotonic() + self._pace.seconds
        with self._pipeline as pipeline:
            if not self._target.exists:
                self._target.commit(Pending())  # models can be built before the first event
            look_at = time.monotonic() + _LOOK_SECONDS
            while not stop.is_set():
                wait = min(_POLL_SECONDS, max(0.0, due - time.monotonic()))
                self._guarded(lambda wait=wait: self._take(client, wait))
                is_due = time.monotonic() >= due
                if time.monotonic() >= look_at:
                    self._recognise()
                    self._tell(client)
                    look_at = time.monotonic() + _LOOK_SECONDS
                if is_due or pipeline.waiting_events >= self._pace.events:
                    self._guarded(pipeline.flush)
                    due = time.monotonic() + self._pace.seconds
                self._guarded(pipeline.settle)
            self._guarded(pipeline.drain)

    def _recognise(self) -> None:
        try:
            topic = self._source.describe(self._raw.topic)
        except SourceAway:
            return  # the client retries, and the next check comes soon
        try:
            self._target.recognise(topic)
        except MeshError:
            self._guarded(self._pipeline.drain)  # keeps the events that were read of the old topic
            raise

    def _tell(self, client: Client) -> None:
        """Commits the table's offsets to the group, so that tools can report the lag."""
        offsets = self._target.offsets
        client.commit({each: offsets[each] for each in self._mine if each in offsets})

    def _take(self, client: Client, seconds: float) -> None:
        if self._is_stale:
            self._resume(client)
        batches = self._polled(client, seconds)
        if self._is_stale:  # the assigned partitions changed during the poll
            self._resume(client)
            return
        for batch in batches:
            if batch.partition in self._mine:
                self._pipeline.add(batch)

    def _polled(self, client: Client, seconds: float) -> list[EventBatch]:
        """Returns new events; if the topic cannot be read, finds the reason.

        Raises:
            MeshError: events are gone, or the topic was deleted or created again.
        """
        try:
            return client.poll(seconds)
        except SourceAway:
            time.sleep(min(seconds, _POLL_SECONDS))  # the client retries by itself
            return []
        except MeshError:
            self._guarded(self._pipeline.drain)
            self._target.starts(self._described(), self._accept)
            if not self._target.has_news:
                raise  # the topic has not changed
        self._is_stale = True  # events are gone, and `accept` allows that
        return []

    def _assigned(self, partitions: Sequence[int]) -> dict[int, int]:
        self._mine.update(partitions)
        self._fresh.update(partitions)
        starts = self._positions(partitions)
        self._pipeline.begin(starts)
        return starts

    def _revoked(self, partitions: Sequence[int]) -> None:
        if self.is_over:
            return
        self._guarded(self._pipeline.drain)
        self._forget(partitions)

    def _lost(self, partitions: Sequence[int]) -> None:
        if self.is_over:
            return
        # Another lander already owns them and reads them again from the table's offsets.
        self._pipeline.abandon()
        self._is_stale = True
        self._forget(partitions)

    def _forget(self, partitions: Sequence[int]) -> None:
        self._mine.difference_update(partitions)
        self._fresh.difference_update(partitions)

    def _resume(self, client: Client) -> None:
        """Continues the partitions that are still assigned, from the table's offsets."""
        self._is_stale = False
        self._pipeline.abandon()
        starts = self._positions(sorted(self._mine))
        self._pipeline.begin(starts)
        if starts:
            client.seek(starts)

    def _positions(self, partitions: Sequence[int]) -> dict[int, int]:
        self._target.refresh()
        topic = self._described()
        starts = self._target.starts(topic, self._accept)
        unknown = [each for each in partitions if each not in starts]
        if unknown:
            raise MeshError(
                f"Kafka has just assigned partition {unknown[0]} of topic `{self._raw.topic}`, but "
                "does not describe it yet. Run the same command again."
            )
        return {each: starts[each] for each in partitions}

    def _described(self) -> Topic:
        """Describes the topic; waits if the cluster is unavailable just after a rebalance."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return self._source.describe(self._raw.topic)
            except SourceAway:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(_POLL_SECONDS)

    def _guarded(self, step: Callable[[], None]) -> None:
        """Runs a step; a fence caused by the late commit of a previous owner is not an error."""
        try:
            step()
        except Fenced as fenced:
            if not set(fenced.partitions) <= self._fresh:
                raise
            self._fresh.difference_update(fenced.partitions)
            self._pipeline.abandon()
            self._is_stale = True

    def _committed(self, pending: Pending, committed: Committed) -> None:
        self._fresh.difference_update(committed.offsets)
        self.landing.count(committed)
        self.landing.total_rows = self._target.total_rows
        if self._client is not None:
            self._client.commit(committed.offsets)
        self._on_landed(self.landing)
