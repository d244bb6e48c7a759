"""Landing what a topic holds now: each event becomes a row of its raw table exactly once.

Belongs here: from where to where, and what a landing did. Does not: what goes into one
commit (target.py), what makes an event a row (decode.py), going on for ever (follow.py).
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
    """What landing one raw table did."""

    raw: RawTable
    rows: int = 0
    rejected: int = 0
    commits: int = 0
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    finished_at: datetime | None = None
    offsets: dict[int, int] = field(default_factory=dict)
    """Next offset of each partition."""
    ends: dict[int, int] = field(default_factory=dict)
    """Where each partition of the topic ended when landing began."""
    snapshot_id: int | None = None
    total_rows: int = 0
    """Rows that the raw table holds now."""
    new_fields: tuple[str, ...] = ()
    """Fields of events that are no columns and were not reported before."""
    followed_by: str = ""
    """Process that lands this table continuously, so that this one did nothing."""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return ((self.finished_at or datetime.now(UTC)) - self.started_at).total_seconds()

    @property
    def lag(self) -> int:
        """Events that the topic held and the table does not."""
        return sum(max(0, end - self.offsets.get(each, 0)) for each, end in self.ends.items())

    def count(self, committed: Committed) -> None:
        """Adds what a commit did."""
        self.rows += committed.rows
        self.rejected += committed.rejected
        self.commits += 1
        self.offsets.update(committed.offsets)
        self.snapshot_id = committed.snapshot_id
        self.new_fields += committed.new_fields


Progress = Callable[[int], None]
"""Called with the number of events done since the last call."""


def land(
    source: Source,
    store: RawStore,
    raw: RawTable,
    progress: Progress = lambda events: None,
    commit_bytes: int = COMMIT_BYTES,
    accept: Accept = (),
    mirror: Callable[[Mapping[int, int]], None] | None = None,
) -> Landing:
    """Lands every event that the topic holds now and the raw table does not.

    Args:
        source: where the topic is.
        store: where the raw table is.
        raw: what to land.
        progress: is told how many events were committed.
        commit_bytes: decoded bytes per commit.
        accept: see `meshhouse.landing.target.Accept`.
        mirror: is told the offsets after each commit, for those who watch the lag.

    Raises:
        UsageError: the topic does not exist, or the declared columns no longer fit.
        MeshError: the topic is not the one that was landed before, events that were not
            landed are gone, or a rival lander moved the table.
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
    if target.has_news:  # an empty raw table is something to build on, too
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
