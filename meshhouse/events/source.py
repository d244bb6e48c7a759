"""What a topic looks like to landing, whoever serves it.

Belongs here: the protocol that the embedded event log and the Kafka client both
implement, and the Arrow shape of events. Does not: how events are stored or fetched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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
    """Consecutive events of one partition, in offset order, in the shape of `EVENT_SCHEMA`."""

    partition: int
    events: pa.RecordBatch


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
