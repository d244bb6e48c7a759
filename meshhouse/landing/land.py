"""Bounded landing: all events that a topic holds now, each exactly once.

Belongs here: the offsets to read, and the result of a landing. Not here: the contents of a commit
(target.py), decoding events (decode.py), or continuous landing (follow.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from meshhouse.events.source import Source, Topic
from meshhouse.landing.pending import Committed, Pending
from meshhouse.landing.pipeline import BATCH_BYTES, COMMIT_BYTES, Pipeline
from meshhouse.landing.store import RawStore
from meshhouse.landing.target import Accept, open_target
from meshhouse.repository import RawTable


@dataclass
class Landing:
    """The result of landing one raw table."""

    raw: RawTable
    rows: int = 0
    rejected: int = 0
    commits: int = 0
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    finished_at: datetime | None = None
    offsets: dict[int, int] = field(default_factory=dict)
    """Next offset of each partition."""
    ends: dict[int, int] = field(default_factory=dict)
    """End offset of each partition of the topic when landing began."""
    snapshot_id: int | None = None
    total_rows: int = 0
    """Rows in the raw table after the landing."""
    new_fields: tuple[str, ...] = ()
    """Undeclared fields of events that were not reported before."""
    followed_by: str = ""
    """The process that lands this table continuously; if set, this landing did nothing."""

    @property
    def seconds(self) -> float:
        """Duration so far, or of the whole landing once it has finished."""
        return ((self.finished_at or datetime.now(UTC)) - self.started_at).total_seconds()

    @property
    def lag(self) -> int:
        """Number of events that the topic held at the start and the table does not have."""
        return sum(max(0, end - self.offsets.get(each, 0)) for each, end in self.ends.items())

    def count(self, committed: Committed) -> None:
        """Adds the counts of a commit."""
        self.rows += committed.rows
        self.rejected += committed.rejected
        self.commits += 1
        self.offsets.update(committed.offsets)
        self.snapshot_id = committed.snapshot_id
        self.new_fields += committed.new_fields


Progress = Callable[[int], None]
"""Is called with the number of events landed since the previous call."""


def land(
    source: Source,
    store: RawStore,
    raw: RawTable,
    progress: Progress = lambda events: None,
    commit_bytes: int = COMMIT_BYTES,
    accept: Accept = (),
    mirror: Callable[[Mapping[int, int]], None] | None = None,
) -> Landing:
    """Lands every event that the topic holds now and the raw table does not have.

    Args:
        source: holds the topic.
        store: holds the raw table.
        raw: the raw table to land.
        progress: is called with the number of events after each commit.
        commit_bytes: size of decoded rows per commit.
        accept: see `meshhouse.landing.target.Accept`.
        mirror: is called with the offsets after each commit, so that tools can report the lag.

    Raises:
        UsageError: the topic does not exist, or the declared columns no longer fit.
        MeshError: the topic is not the one that was landed before, events are gone that were not
            landed, or another lander changed the table.
    """
    topic = source.describe(raw.topic)
    target = open_target(store, raw, topic, accept)
    starts = target.starts(topic, accept)
    landing = Landing(raw, offsets=target.offsets, snapshot_id=target.snapshot_id)
    landing.ends = {number: each.end for number, each in topic.partitions.items()}

    def committed(pending: Pending, done: Committed) -> None:
        landing.count(done)
        if mirror is not None:
            mirror(done.offsets)
        progress(pending.events)

    with Pipeline(raw, target, committed, commit_bytes) as pipeline:
        pipeline.begin(starts)
        ranges = _ranges(topic, starts)
        for batch in source.read(raw.topic, ranges, BATCH_BYTES) if ranges else ():
            pipeline.add(batch)
        pipeline.drain()
    if target.has_news:  # also creates an empty raw table, so that models can be built
        landing.count(target.commit(Pending()))
    landing.total_rows = target.total_rows
    landing.finished_at = datetime.now(UTC)
    return landing


def _ranges(topic: Topic, starts: Mapping[int, int]) -> dict[int, tuple[int, int]]:
    return {
        number: (starts[number], partition.end)
        for number, partition in topic.partitions.items()
        if starts[number] < partition.end
    }
