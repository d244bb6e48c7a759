"""Replay: writes the demo's year into topics, up to a given date.

Belongs here: how far to write, where an earlier replay stopped, and writing the rest.
Not here: the content of the events (retail.py, support.py).

The events of a partition have a fixed order, and the log knows how many of them it holds. So a
replay that is interrupted, repeated or extended writes only the missing events.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

import duckdb
import pyarrow as pa

from meshhouse.demo import retail, support
from meshhouse.demo.topic import DemoTopic, literal
from meshhouse.errors import UsageError
from meshhouse.events.log.frames import Position
from meshhouse.events.log.partitioner import by_partition, partition_of
from meshhouse.events.source import Topic

PRODUCER = "replay"
TOPICS = retail.TOPICS + support.TOPICS
_PROMOTIONS = "merchandising.promotions"

Progress = Callable[[str, int, int], None]
"""Called with the topic, the number of its events written so far, and their final number."""


class ReplayTarget(Protocol):
    """The event log or the Kafka cluster that the demo's topics are written to."""

    def topics(self) -> list[str]: ...  # noqa: D102
    def describe(self, topic: str) -> Topic: ...  # noqa: D102
    def create_topic(self, name: str, partitions: int = 1) -> object: ...  # noqa: D102
    def producer_position(  # noqa: D102
        self, topic: str, partition: int, producer: str
    ) -> Position: ...
    def append(  # noqa: D102
        self, topic: str, partition: int, events: pa.RecordBatch, producer: str, sequence: int
    ) -> int: ...


@dataclass(frozen=True)
class ReplayReport:
    """The result of a replay for one topic."""

    topic: str
    written: int
    total_in_log: int


def replay(
    log: ReplayTarget,
    until: datetime | date | None = None,
    promotions_weeks: int | None = 2,
    progress: Progress | None = None,
    topics: Collection[str] | None = None,
) -> list[ReplayReport]:
    """Writes the demo's events that `log` does not hold yet, in time order per topic.

    Args:
        log: where the topics are; missing topics are created.
        until: a date includes that day in New York; a timestamp, which needs a time zone, is
            excluded; None means everything.
        promotions_weeks: how many weeks of promotions, 390,000 events each; None means
            all 53.
        progress: called after each written batch.
        topics: only these; all by default.

    Raises:
        UsageError: an argument is invalid, or the package with the data is not installed.
        MeshError: the log cannot be written; the next replay continues.
    """
    chosen = _chosen(topics)
    if promotions_weeks is not None and promotions_weeks < 0:
        raise UsageError(f"{promotions_weeks} weeks of promotions do not exist; give 0 or more.")
    if isinstance(until, datetime) and until.tzinfo is None:
        raise UsageError(
            f"{until} has no time zone. Add one (2017-03-01T00:00:00-05:00), or give a date."
        )
    reports = []
    with retail.open_retail() as connection:
        if any(topic.is_synthetic for topic in chosen):
            support.add_support(connection)
        bound = _bound(connection, until)
        for topic in chosen:
            end = bound
            if topic.name == _PROMOTIONS and promotions_weeks is not None:
                week_ends = _timestamp(connection, f"week_begins({promotions_weeks + 1})")
                end = min(bound, week_ends) if bound else week_ends
            reports.append(_replay_topic(log, connection, topic, end, progress))
    return reports


def _chosen(names: Collection[str] | None) -> list[DemoTopic]:
    known = [topic.name for topic in TOPICS]
    unknown = sorted(set(names or ()) - set(known))
    if unknown:
        raise UsageError(
            f"The demo has no topic {', '.join(unknown)}. It has: {', '.join(sorted(known))}."
        )
    return [topic for topic in TOPICS if names is None or topic.name in names]


def _bound(connection: duckdb.DuckDBPyConnection, until: datetime | date | None) -> datetime | None:
    if until is None or isinstance(until, datetime) or until == date.max:
        return until if isinstance(until, datetime) else None
    return _timestamp(connection, f"day_begins({literal(until + timedelta(days=1))})")


def _timestamp(connection: duckdb.DuckDBPyConnection, sql: str) -> datetime:
    return connection.execute(f"select {sql}").fetchone()[0].replace(tzinfo=UTC)


def _replay_topic(
    log: ReplayTarget,
    connection: duckdb.DuckDBPyConnection,
    topic: DemoTopic,
    until: datetime | None,
    progress: Progress | None,
) -> ReplayReport:
    if topic.name not in log.topics():
        log.create_topic(topic.name, topic.partitions)
    partitions = len(log.describe(topic.name).partitions)
    held = [log.producer_position(topic.name, n, PRODUCER) for n in range(partitions)]
    since = _complete_until([position.last_timestamp for position in held])
    passed, wanted = _counts(topic.keys(connection, since, until), partitions)
    is_complete = all(
        position.next_sequence >= want for position, want in zip(held, wanted, strict=True)
    )
    written, done, total = 0, sum(passed), sum(wanted)
    for events in () if is_complete else topic.events(connection, since, until):
        for number, part in by_partition(events, partitions):
            written += log.append(topic.name, number, part, PRODUCER, passed[number])
            passed[number] += part.num_rows
        done += events.num_rows
        if progress:
            progress(topic.name, done, total)
    if progress and is_complete:
        progress(topic.name, total, total)
    held_now = log.describe(topic.name).partitions.values()
    return ReplayReport(topic.name, written, sum(each.end - each.begin for each in held_now))


def _complete_until(last_timestamps: Sequence[int | None]) -> datetime | None:
    """The time before which no partition lacks an event; None if a partition is empty."""
    known = [timestamp for timestamp in last_timestamps if timestamp is not None]
    if len(known) < len(last_timestamps):
        return None
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=min(known))


def _counts(keys: Sequence[tuple[bytes, int, int]], partitions: int) -> tuple[list[int], list[int]]:
    passed, wanted = [0] * partitions, [0] * partitions
    for key, before_since, before_until in keys:
        partition = partition_of(key, partitions)
        passed[partition] += before_since
        wanted[partition] += before_until
    return passed, wanted
