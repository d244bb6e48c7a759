"""Landing that goes on until it is stopped, sharing a topic's partitions with other landers.

Belongs here: when to commit, what a change of partitions means, and stopping well. Not
here: what goes into a commit (target.py).

Kafka's group hands out the partitions; where each of them goes on is always what the
table says, never what the group says. So a partition may change hands at any moment.
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
"""How often the topic is looked at, as one that is deleted and created again may cause no
rebalance, and the group told again where the table stands, as what it is told during a
rebalance may be lost. Kafka's own consumers commit as often."""


@dataclass(frozen=True)
class Pace:
    """When a commit is due: after so many seconds or events, whichever comes first."""

    seconds: float = 5.0
    events: int = 1_000_000


OnLanded = Callable[[Landing], None]
"""Called after each commit with what is landed so far."""


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
    """Lands what comes into a topic until it is told to stop.

    Args:
        source: where the topic is.
        store: where the raw table is.
        raw: what to land.
        group: whose members share the partitions.
        stop: set by whoever wants it to stop; what was read is committed first.
        pace: when to commit.
        on_landed: is told after each commit.
        accept: see `meshhouse.landing.target.Accept`.
        commit_bytes: commit sooner if decoded rows grow to this.

    Raises:
        UsageError: the topic does not exist, or the declared columns do not fit.
        Fenced: another lander, outside the group, lands the same partitions.
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
        # Asked after the table was read: others may have landed meanwhile.
        self._target.starts(source.describe(raw.topic), accept)
        self.landing = Landing(raw, offsets=self._target.offsets)
        self._pipeline = Pipeline(raw, self._target, self._committed, commit_bytes)
        self._client: Client | None = None
        self._mine: set[int] = set()
        self._fresh: set[int] = set()
        """Partitions that were assigned and not committed since: until then, what their
        last owner committed at the last moment may move them."""
        self._is_stale = False
        """What was read must be forgotten and read again from where the table stands."""
        self.is_over = False
        """The group may take its partitions back: nothing is left to commit."""

    def run(self, client: Client, group: str, stop: threading.Event) -> None:
        self._client = client
        client.subscribe(group, Rebalance(self._assigned, self._revoked, self._lost))
        due = time.monotonic() + self._pace.seconds
        with self._pipeline as pipeline:
            if not self._target.exists:
                self._target.commit(Pending())  # something to build on before the first event
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
            return  # the client goes on trying; so do we, at the next look
        try:
            self._target.recognise(topic)
        except MeshError:
            self._guarded(self._pipeline.drain)  # what was read of the old topic is not lost
            raise

    def _tell(self, client: Client) -> None:
        """Tells the group where the table stands, for those who watch the lag."""
        offsets = self._target.offsets
        client.commit({each: offsets[each] for each in self._mine if each in offsets})

    def _take(self, client: Client, seconds: float) -> None:
        if self._is_stale:
            self._resume(client)
        batches = self._polled(client, seconds)
        if self._is_stale:  # a change of partitions came in between
            self._resume(client)
            return
        for batch in batches:
            if batch.partition in self._mine:
                self._pipeline.add(batch)

    def _polled(self, client: Client, seconds: float) -> list[EventBatch]:
        """What came in; if the topic cannot be read, says what became of it.

        Raises:
            MeshError: events are gone, or the topic was deleted or created again.
        """
        try:
            return client.poll(seconds)
        except SourceAway:
            time.sleep(min(seconds, _POLL_SECONDS))  # the client goes on trying by itself
            return []
        except MeshError:
            self._guarded(self._pipeline.drain)
            self._target.starts(self._described(), self._accept)
            if not self._target.has_news:
                raise  # the topic is as it was
        self._is_stale = True  # a person accepted that events are gone
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
        # They belong to somebody else already, who reads them again from the table's offsets.
        self._pipeline.abandon()
        self._is_stale = True
        self._forget(partitions)

    def _forget(self, partitions: Sequence[int]) -> None:
        self._mine.difference_update(partitions)
        self._fresh.difference_update(partitions)

    def _resume(self, client: Client) -> None:
        """Goes on with what is still ours where the table stands."""
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
                f"Kafka does not describe partition {unknown[0]} of topic `{self._raw.topic}` "
                "yet, which it has just handed out. Run the same command again."
            )
        return {each: starts[each] for each in partitions}

    def _described(self) -> Topic:
        """The topic; waits for a cluster that just handed out partitions and is not well yet."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return self._source.describe(self._raw.topic)
            except SourceAway:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(_POLL_SECONDS)

    def _guarded(self, step: Callable[[], None]) -> None:
        """Takes a step; what a partition's last owner committed behind our back is no rival."""
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
