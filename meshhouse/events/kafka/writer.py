"""Writing events into Kafka.

Belongs here: what `mesh replay` and `mesh tail` need of a cluster. Not here: reading
(source.py), or client libraries (python.py, confluent.py).

Every event carries the name of its producer and its number among that producer's events
in headers, so that a producer that starts again finds out how far it came by reading the
last event of a partition. The client is idempotent: what the cluster holds of a producer
is always a first part of what it sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import pyarrow as pa

from meshhouse.errors import MeshError, UsageError
from meshhouse.events.errors import LogUnavailable
from meshhouse.events.kafka.choice import sender
from meshhouse.events.kafka.library import Sender
from meshhouse.events.kafka.settings import KafkaSettings
from meshhouse.events.kafka.source import KafkaSource
from meshhouse.events.log.frames import Position
from meshhouse.events.log.partitioner import partition_of
from meshhouse.events.source import Outgoing, Topic

PRODUCER_HEADER = "meshhouse.producer"
SEQUENCE_HEADER = "meshhouse.sequence"


class KafkaWriter:
    """Topics of a cluster, to write."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._source = KafkaSource(settings)

    def topics(self) -> list[str]:
        """Names of all topics, sorted."""
        return self._source.topics()

    def describe(self, topic: str) -> Topic:
        """See `Source`."""
        return self._source.describe(topic)

    def create_topic(self, name: str, partitions: int = 1) -> None:
        """Makes a topic, with as many replicas as the cluster makes by default.

        Raises:
            UsageError: it exists with another number of partitions.
        """
        self._source.admin.create_topic(name, partitions)
        found = len(self.describe(name).partitions)
        if found != partitions:
            raise UsageError(
                f"Topic {name} exists with {found} partitions, not {partitions}. Use it with "
                f"{found}, or choose another name."
            )

    def producer_position(self, topic: str, partition: int, producer: str) -> Position:
        """How far a producer came in a partition, with the time of its last event.

        Raises:
            MeshError: the partition ends with somebody else's events, so it cannot be known.
        """
        held = self.describe(topic).partitions[partition]
        if held.begin == held.end:
            return Position(0, None)
        last: dict[str, Any] | None = None
        # The last offsets may be marks of transactions, so look a little before them.
        ranges = {partition: (max(held.begin, held.end - 16), held.end)}
        for batch in self._source.read(topic, ranges, 1 << 30):
            for event in batch.events.to_pylist():
                last = event
        found = {each["key"]: each["value"] for each in (last or {}).get("headers") or ()}
        if last is None or found.get(PRODUCER_HEADER) != producer.encode():
            raise MeshError(
                f"Partition {partition} of topic {topic} ends with an event that `{producer}` "
                "did not write, so nobody knows how far it came. Write to a topic of its own."
            )
        millis = int(last["timestamp"].timestamp() * 1000)
        return Position(int(found[SEQUENCE_HEADER]) + 1, millis)

    def append(
        self, topic: str, partition: int, events: pa.RecordBatch, producer: str, sequence: int
    ) -> int:
        """Appends the events that the partition does not hold yet; returns how many.

        Args:
            topic: a topic that exists.
            partition: of it.
            events: key, value, timestamp and headers, in the shape of `EVENT_SCHEMA`.
            producer: who writes.
            sequence: how many events it wrote into this partition before these.
        """
        place = (topic, partition)
        if place not in self._sequences:
            position = self.producer_position(topic, partition, producer)
            self._sequences[place] = position.next_sequence
        known = self._sequences[place]
        skip = min(events.num_rows, max(0, known - sequence))
        for number, event in enumerate(_rows(events.slice(skip)), sequence + skip):
            headers = [(PRODUCER_HEADER, producer.encode()), (SEQUENCE_HEADER, b"%d" % number)]
            self._sender.send(topic, partition, event, headers)
        del self._sequences[place]  # after a failure only the cluster knows
        self._sender.flush()
        self._sequences[place] = max(known, sequence + events.num_rows)
        return events.num_rows - skip

    @cached_property
    def _sequences(self) -> dict[tuple[str, int], int]:
        return {}

    @cached_property
    def _sender(self) -> Sender:
        return sender(self._settings)


class KafkaLines:
    """A cluster as `mesh tail` writes to it: at least once.

    Each event says in its headers which line of which file it is, so that one that was
    sent twice can be recognised.
    """

    # Kafka's usual limit of 1 MiB counts key, headers and frame, too.
    max_event_bytes = 1_000_000

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._writer = KafkaWriter(settings)

    def ensure_topic(self, topic: str, partitions: int | None) -> None:
        """See `Producer`."""
        with _for_now():
            if partitions is not None or topic not in self._writer.topics():
                self._writer.create_topic(topic, partitions or 1)

    def next_sequence(self, topic: str, producer: str) -> None:
        """See `Producer`: nobody counts."""

    def append(self, topic: str, events: list[Outgoing], producer: str, sequence: int) -> None:
        """See `Producer`."""
        with _for_now():
            partitions = len(self._writer.describe(topic).partitions)
            partition = partition_of(events[0][0] or b"", partitions)
            for key, value, millis, headers in events:
                self._sender.send(topic, partition, (key, value, millis), list(headers.items()))
            self._sender.flush()

    @cached_property
    def _sender(self) -> Sender:
        return sender(self._settings)


class _for_now:  # noqa: N801
    """What a cluster refuses now it may take later."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, MeshError) and not isinstance(error, UsageError | LogUnavailable):
            raise LogUnavailable(str(error)) from error


def _rows(events: pa.RecordBatch) -> Iterator[tuple[bytes | None, bytes | None, int]]:
    millis = events["timestamp"].cast(pa.int64())
    return zip(
        events["key"].to_pylist(), events["value"].to_pylist(), millis.to_pylist(), strict=True
    )
