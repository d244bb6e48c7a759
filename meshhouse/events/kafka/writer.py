"""Writing events to Kafka, for `mesh replay`, `mesh tail` and `mesh topic`.

Belongs here: creating topics, and appending events. Not here: reading (source.py), or client
libraries (python.py, confluent.py).

The headers of an event hold the name of its producer and its number among that producer's events.
A producer that starts again reads the last event of a partition to find its position. That is
safe because the client is idempotent: the cluster holds a producer's first events, without gaps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
from meshhouse.events.log.partitioner import by_partition, partition_of
from meshhouse.events.source import Outgoing, Topic

PRODUCER_HEADER = "meshhouse.producer"
SEQUENCE_HEADER = "meshhouse.sequence"


class KafkaWriter:
    """Writes to the topics of a cluster."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._source = KafkaSource(settings)
        self._turn = 0
        """How many events without a key `append_events` has distributed."""

    def topics(self) -> list[str]:
        """Names of all topics, sorted."""
        return self._source.topics()

    def describe(self, topic: str) -> Topic:
        """See `Source`."""
        return self._source.describe(topic)

    def create_topic(self, name: str, partitions: int = 1) -> None:
        """Creates a topic that keeps its events without a limit of time, unless it exists.

        It has the cluster's default number of replicas.

        Raises:
            UsageError: the topic exists with another number of partitions.
        """
        self._source.admin.create_topic(name, partitions)
        found = len(self.describe(name).partitions)
        if found != partitions:
            raise UsageError(
                f"Topic {name} exists with {found} partitions, not {partitions}. Use it with "
                f"{found}, or choose another name."
            )

    def producer_position(self, topic: str, partition: int, producer: str) -> Position:
        """A producer's position in a partition, with the timestamp of its last event.

        Raises:
            MeshError: the last event of the partition is another producer's.
        """
        held = self.describe(topic).partitions[partition]
        if held.begin == held.end:
            return Position(0, None)
        last: dict[str, Any] | None = None
        # The last offsets may be marks of transactions, so read 16 offsets.
        ranges = {partition: (max(held.begin, held.end - 16), held.end)}
        for batch in self._source.read(topic, ranges, 1 << 30):
            for event in batch.events.to_pylist():
                last = event
        found = {each["key"]: each["value"] for each in (last or {}).get("headers") or ()}
        if last is None or found.get(PRODUCER_HEADER) != producer.encode():
            raise MeshError(
                f"Partition {partition} of topic {topic} ends with an event that `{producer}` "
                "did not write, so its position is unknown. Write to a topic without other "
                "producers."
            )
        millis = int(last["timestamp"].timestamp() * 1000)
        return Position(int(found[SEQUENCE_HEADER]) + 1, millis)

    def append(
        self, topic: str, partition: int, events: pa.RecordBatch, producer: str, sequence: int
    ) -> int:
        """Appends the events that the partition does not hold yet; returns how many.

        Args:
            topic: a topic that exists.
            partition: the partition's number.
            events: key, value, timestamp and headers, as in `EVENT_SCHEMA`.
            producer: the producer's name.
            sequence: how many events the producer wrote to this partition before these.
        """
        place = (topic, partition)
        if place not in self._sequences:
            position = self.producer_position(topic, partition, producer)
            self._sequences[place] = position.next_sequence
        known = self._sequences[place]
        skip = min(events.num_rows, max(0, known - sequence))
        rest = events.slice(skip)
        own = zip(_rows(rest), _headers(rest), strict=True)
        for number, (event, headers) in enumerate(own, sequence + skip):
            place_of = [(PRODUCER_HEADER, producer.encode()), (SEQUENCE_HEADER, b"%d" % number)]
            self._sender.send(topic, partition, event, [*headers, *place_of])
        del self._sequences[place]  # after a failure, ask the cluster again
        self._sender.flush()
        self._sequences[place] = max(known, sequence + events.num_rows)
        return events.num_rows - skip

    def append_events(
        self,
        topic: str,
        events: pa.RecordBatch,
        producer: str,
        partition: int | None = None,
    ) -> int:
        """Appends new events, each to the partition that Kafka's default partitioner chooses.

        A repeated call stores the events twice. After a failure, a part of them may be stored.

        Args:
            topic: a topic that exists.
            events: key, value, timestamp and headers, as in `EVENT_SCHEMA`.
            producer: the producer's name, which a cluster does not store.
            partition: the partition for all events; None to choose by key, and events without a
                key in rotation.
        """
        parts: Iterable[tuple[int, pa.RecordBatch]] = [(partition or 0, events)]
        if partition is None:
            count = len(self.describe(topic).partitions)
            parts = by_partition(events, count, nulls_from=self._turn)
            self._turn += events["key"].null_count
        for number, part in parts:
            for event, headers in zip(_rows(part), _headers(part), strict=True):
                self._sender.send(topic, number, event, headers)
        self._sender.flush()
        return events.num_rows

    @cached_property
    def _sequences(self) -> dict[tuple[str, int], int]:
        return {}

    @cached_property
    def _sender(self) -> Sender:
        return sender(self._settings)


class KafkaLines:
    """A cluster as a `Producer` for `mesh tail`, with delivery at least once.

    The headers of an event name the file and the position of its line, so repeated events can be
    recognised.
    """

    # Kafka's default limit of 1 MiB includes the key, the headers and the framing.
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
        """See `Producer`; returns None, because a cluster does not count events."""

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
    """Turns a cluster's errors into `LogUnavailable`, after which `tail` retries."""

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


def _headers(events: pa.RecordBatch) -> Iterator[list[tuple[str, bytes | None]]]:
    if "headers" not in events.schema.names:
        return iter([[] for _ in range(events.num_rows)])
    return (
        [(each["key"], each["value"]) for each in given or ()]
        for given in events["headers"].to_pylist()
    )
