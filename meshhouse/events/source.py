"""Topics as landing sees them, in the embedded event log and in Kafka.

Belongs here: the protocols that the event log and Kafka's clients implement, and the Arrow schema
of events. Not here: how events are stored (log/) or fetched (kafka/).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import pyarrow as pa

EVENT_SCHEMA = pa.schema(
    [
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("timestamp", pa.timestamp("ms", tz="UTC"), nullable=False),
        pa.field("key", pa.binary()),
        pa.field("value", pa.binary()),
        pa.field(
            "headers",
            pa.list_(pa.struct([pa.field("key", pa.string()), pa.field("value", pa.binary())])),
        ),
    ]
)
"""One row per event; a null value is a tombstone."""

SKIPPED = b"\xffmesh tail skipped a line: "
"""The first bytes of the event that `mesh tail` ships in place of a line that is too long.

The first of them is not valid UTF-8, so every format rejects the event.
"""
LEFT_OUT = b"\xffmesh extract left out: "
"""As `SKIPPED`: the event that `mesh extract` sends in place of records that it cannot send."""
AGGREGATED = b"\xf3\x89\x9a\xc2"
"""The first bytes of a record in which the Kinesis Producer Library packs several events."""


@dataclass(frozen=True)
class Partition:
    """The offsets that a partition holds: `begin` is the first, `end` is one past the last."""

    begin: int
    end: int


@dataclass(frozen=True)
class Topic:
    """A topic, as its source described it once."""

    name: str
    cluster_id: str
    topic_id: str
    """Changes when a topic is deleted and created again under the same name."""
    partitions: Mapping[int, Partition]


@dataclass(frozen=True)
class EventBatch:
    """Consecutive events of one partition, in offset order, in `EVENT_SCHEMA`.

    A batch may be empty: some of Kafka's offsets hold no event for consumers, such as the marks of
    transactions and events that compaction has removed.
    """

    partition: int
    events: pa.RecordBatch
    next_offset: int
    """The offset after the last one that this batch covers."""


class Source(Protocol):
    """A place that events are read from: the event log, or a Kafka cluster."""

    def topics(self) -> list[str]:
        """Names of all topics, sorted."""
        ...

    def describe(self, topic: str) -> Topic:
        """Partitions and offsets of a topic now.

        Raises:
            UnknownTopic: the source has no such topic.
        """
        ...

    def read(
        self, topic: str, ranges: Mapping[int, tuple[int, int]], max_bytes: int
    ) -> Iterator[EventBatch]:
        """Events of `ranges` (partition -> first offset, one past the last offset).

        Each batch holds at most `max_bytes` of values, but at least one event. Batches of one
        partition come in offset order; partitions may interleave.

        Raises:
            CorruptSegment: stored events are damaged.
        """
        ...

    def offsets_at(self, topic: str, moment: datetime) -> dict[int, int]:
        """Per partition, the first offset whose event is not older than a timestamp."""
        ...

    def follow(self, topic: str, group: str) -> Client:
        """A reader of new events without an end; the caller must call `subscribe` on it."""
        ...

    def mirror(self, topic: str, group: str, offsets: Mapping[int, int]) -> None:
        """Publishes a group's offsets for tools that show its lag; never fails."""
        ...


@dataclass(frozen=True)
class Rebalance:
    """Callbacks of a member of a consumer group for changes of its partitions."""

    assigned: Callable[[Sequence[int]], Mapping[int, int]]
    """Called with new partitions; returns the offset from which to read each of them."""
    revoked: Callable[[Sequence[int]], None]
    """Called before partitions go to another member: the last chance to commit."""
    lost: Callable[[Sequence[int]], None]
    """Called after partitions went to another member."""


class Client(Protocol):
    """A reader of one topic's new events, without an end."""

    def assign(self, offsets: Mapping[int, int]) -> None:
        """Reads partitions from the given offsets, without a group."""
        ...

    def subscribe(self, group: str, rebalance: Rebalance) -> None:
        """Joins a group, whose members share the topic's partitions (cooperative rebalancing)."""
        ...

    def seek(self, offsets: Mapping[int, int]) -> None:
        """Moves the position in assigned partitions."""
        ...

    def poll(self, seconds: float) -> list[EventBatch]:
        """New events; waits at most `seconds` for the first one."""
        ...

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Commits offsets to the group for tools that show its lag; failures are ignored."""
        ...

    def close(self) -> None:
        """Leaves the group and closes the connections."""
        ...


Outgoing = tuple[bytes | None, bytes | None, int, Mapping[str, bytes | None]]
"""Key, value, timestamp in milliseconds since 1970 (UTC), headers."""


class Producer(Protocol):
    """A place that events are written to; the events of one producer keep their order."""

    max_event_bytes: int
    """The longest value that it accepts."""

    def ensure_topic(self, topic: str, partitions: int | None) -> None:
        """Creates a topic unless it exists; None accepts any number of partitions.

        Raises:
            UsageError: the topic exists with another number of partitions.
            LogUnavailable: the topic cannot be created now; the same call may succeed later.
        """
        ...

    def next_sequence(self, topic: str, producer: str) -> int | None:
        """How many events of `producer` a topic holds; None if they are not counted."""
        ...

    def append(self, topic: str, events: list[Outgoing], producer: str, sequence: int) -> None:
        """Stores events; they are durable when this returns.

        Args:
            topic: a topic that exists.
            events: events in order. All events of a producer have the same key, and so the same
                partition.
            producer: the producer's name.
            sequence: how many events the producer wrote before these. If the topic counts events,
                it skips those that it already holds.

        Raises:
            LogUnavailable: events cannot be stored now; the same call stores what is missing.
        """
        ...
