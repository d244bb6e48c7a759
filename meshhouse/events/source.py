"""What a topic looks like to landing, whoever serves it.

Belongs here: the protocol that the embedded event log and the Kafka client both
implement, and the Arrow shape of events. Does not: how events are stored or fetched.
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
"""Begins the value of an event that stands for a line that `mesh tail` could not ship.

The first byte is not valid UTF-8, so that every format rejects the event.
"""


@dataclass(frozen=True)
class Partition:
    """The offsets that a partition holds: `begin` is the first, `end` is one past the last."""

    begin: int
    end: int


@dataclass(frozen=True)
class Topic:
    """A topic as its source sees it at one moment."""

    name: str
    cluster_id: str
    topic_id: str
    """Changes when a topic is deleted and created again under the same name."""
    partitions: Mapping[int, Partition]


@dataclass(frozen=True)
class EventBatch:
    """Consecutive events of one partition, in offset order, in the shape of `EVENT_SCHEMA`.

    There may be none of them, where Kafka holds offsets that are no events for consumers:
    the marks of transactions, or what compaction removed.
    """

    partition: int
    events: pa.RecordBatch
    next_offset: int
    """Where the partition goes on after these."""


class Source(Protocol):
    """Where events come from."""

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

        Each batch holds at most `max_bytes` of values (at least one event). Batches of
        one partition come in offset order; partitions may interleave.

        Raises:
            CorruptSegment: stored events cannot be read back as they were written.
        """
        ...

    def offsets_at(self, topic: str, moment: datetime) -> dict[int, int]:
        """The first offset of each partition whose event is not older than a moment."""
        ...

    def follow(self, topic: str, group: str) -> Client:
        """A reader that goes on for ever; `subscribe` is the caller's to call."""
        ...

    def mirror(self, topic: str, group: str, offsets: Mapping[int, int]) -> None:
        """Tells those who watch the lag of a group how far it is; never fails."""
        ...


@dataclass(frozen=True)
class Rebalance:
    """What a member of a consumer group does when its partitions change."""

    assigned: Callable[[Sequence[int]], Mapping[int, int]]
    """Called with new partitions; returns the offset at which each of them goes on."""
    revoked: Callable[[Sequence[int]], None]
    """Called before partitions are given to another member: the last moment to commit."""
    lost: Callable[[Sequence[int]], None]
    """Called when partitions were given to another member already."""


class Client(Protocol):
    """A reader of one topic that goes on for ever."""

    def assign(self, offsets: Mapping[int, int]) -> None:
        """Reads these partitions from these offsets on, outside any group."""
        ...

    def subscribe(self, group: str, rebalance: Rebalance) -> None:
        """Shares the topic's partitions with the other members of a group, cooperatively."""
        ...

    def seek(self, offsets: Mapping[int, int]) -> None:
        """Goes on at other offsets in partitions that it has."""
        ...

    def poll(self, seconds: float) -> list[EventBatch]:
        """What came in; waits at most so long for the first event."""
        ...

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Tells the group how far it is, for those who watch its lag; failures are ignored."""
        ...

    def close(self) -> None:
        """Leaves the group and closes the connections."""
        ...


Outgoing = tuple[bytes | None, bytes | None, int, Mapping[str, bytes | None]]
"""Key, value, timestamp in milliseconds since 1970 (UTC), headers."""


class Producer(Protocol):
    """Where a program that makes events puts them, each producer's in order."""

    max_event_bytes: int
    """The longest value that it takes."""

    def ensure_topic(self, topic: str, partitions: int | None) -> None:
        """Makes a topic unless it exists; None takes whatever number of partitions it has.

        Raises:
            UsageError: it exists with another number of partitions.
            LogUnavailable: not now; the same call may succeed later.
        """
        ...

    def next_sequence(self, topic: str, producer: str) -> int | None:
        """How many events of `producer` a topic holds; None if nobody counts them."""
        ...

    def append(self, topic: str, events: list[Outgoing], producer: str, sequence: int) -> None:
        """Stores events; when this returns they are durable.

        Args:
            topic: a topic that exists.
            events: in order; all of one producer have one key, and so one partition.
            producer: who writes.
            sequence: how many events it wrote before these. Where events are counted, those
                that the topic holds already are passed over.

        Raises:
            LogUnavailable: not now; repeating the call stores what is missing.
        """
        ...
