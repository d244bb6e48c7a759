"""confluent-kafka, the extra `fast`, as a client library of the mesh.

Belongs here: all code that uses confluent-kafka or librdkafka, which it wraps. Not here: topics as
landing sees them (source.py, writer.py), or code for all libraries (library.py).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from meshhouse.events.errors import LogUnavailable
from meshhouse.events.kafka.library import (
    MAX_REQUEST_BYTES,
    METADATA_MILLIS,
    NO_EVENTS,
    PARTITION_FETCH_BYTES,
    POLL_RECORDS,
    SESSION_MILLIS,
    Explained,
    Headers,
    event_batch,
    failed,
)
from meshhouse.events.kafka.settings import KafkaSettings
from meshhouse.events.source import EventBatch, Rebalance

_BUFFER_KIBIBYTES = 16 * 1024
_GATHER_SECONDS = 0.02
"""How long a poll that has an event waits for more: large batches cost less for each event."""
_CLOSE_SECONDS = 10.0
_PASSING_ERRORS = frozenset({-195, -187, -185, -193})
"""Errors after which librdkafka retries by itself: a broker is unreachable, all brokers are
unreachable, a request timed out, a host name is not resolved."""


def configuration(settings: KafkaSettings, consumer: bool = False) -> dict[str, Any]:
    """Configuration of confluent-kafka's clients; most names are Kafka's."""
    found: dict[str, Any] = {"client.id": "meshhouse", **settings.of_client(consumer)}
    if "request.timeout.ms" in found:
        # librdkafka's request.timeout.ms limits only the acknowledgement of produced events.
        found["socket.timeout.ms"] = found.pop("request.timeout.ms")
    if "session.timeout.ms" in found:
        found["heartbeat.interval.ms"] = int(found["session.timeout.ms"]) // 3
    if found.get("sasl.mechanism") == "OAUTHBEARER":
        found["sasl.oauthbearer.method"] = "oidc"
    return found


class explained(Explained):  # noqa: N801
    """Turns confluent-kafka's errors in the block into a message of one line without secrets."""

    modules = frozenset({"confluent_kafka", "cimpl"})


class ConfluentClient:
    """See `Client`."""

    def __init__(self, settings: KafkaSettings, topic: str, group: str | None = None) -> None:
        from confluent_kafka import Consumer

        self._topic = topic
        self._settings = settings
        with explained(settings):
            self._consumer = Consumer(
                {
                    "session.timeout.ms": SESSION_MILLIS,
                    **configuration(settings, consumer=True),
                    "group.id": group or "meshhouse-ungrouped",
                    "enable.auto.commit": False,
                    "enable.auto.offset.store": False,
                    "auto.offset.reset": "error",
                    "isolation.level": "read_committed",
                    "topic.metadata.refresh.interval.ms": METADATA_MILLIS,
                    "check.crcs": True,
                    "enable.partition.eof": True,
                    "partition.assignment.strategy": "cooperative-sticky",
                    "queued.max.messages.kbytes": _BUFFER_KIBIBYTES,
                    # By default, the consumer pauses for a second when its queue is full. That
                    # leaves a fifth of the throughput.
                    "fetch.queue.backoff.ms": 1,
                    "fetch.message.max.bytes": PARTITION_FETCH_BYTES,
                    "fetch.wait.max.ms": 100,
                },
                logger=_quiet_logger(),
            )
        self._failure: BaseException | None = None

    def assign(self, offsets: Mapping[int, int]) -> None:
        """See `Client`."""
        self._consumer.assign([self._tp(*each) for each in offsets.items()])

    def subscribe(self, group: str, rebalance: Rebalance) -> None:
        """See `Client`."""

        def assigned(consumer: Any, places: list[Any]) -> None:
            starts = self._guarded(rebalance.assigned, [each.partition for each in places]) or {}
            consumer.incremental_assign([self._tp(*each) for each in starts.items()])

        def revoked(consumer: Any, places: list[Any]) -> None:
            self._guarded(rebalance.revoked, [each.partition for each in places])
            consumer.incremental_unassign(places)

        def lost(consumer: Any, places: list[Any]) -> None:
            self._guarded(rebalance.lost, [each.partition for each in places])
            consumer.incremental_unassign(places)

        self._consumer.subscribe([self._topic], on_assign=assigned, on_revoke=revoked, on_lost=lost)

    def seek(self, offsets: Mapping[int, int]) -> None:
        """See `Client`."""
        # `Consumer.seek` refuses partitions that were assigned just before.
        places = [self._tp(*each) for each in offsets.items()]
        self._consumer.incremental_unassign(places)
        self._consumer.incremental_assign(places)

    def poll(self, seconds: float) -> list[EventBatch]:
        """See `Client`."""
        from confluent_kafka import KafkaError

        with explained(self._settings):
            # `consume` waits until it has so many messages, however few there are.
            messages = self._consumer.consume(1, seconds)
            if messages:
                messages += self._consumer.consume(POLL_RECORDS - 1, _GATHER_SECONDS)
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        by_partition: dict[int, list[Any]] = {}
        ends: dict[int, int] = {}
        for message in messages:
            error = message.error()
            if error is None:
                by_partition.setdefault(message.partition(), []).append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                ends[message.partition()] = message.offset()
            elif not error.retriable() and error.code() not in _PASSING_ERRORS:
                raise failed(self._settings, error.str())
        batches = []
        for partition, records in by_partition.items():
            next_offset = max(records[-1].offset() + 1, ends.pop(partition, 0))
            batches.append(EventBatch(partition, _events_of(records), next_offset))
        batches += [EventBatch(each, NO_EVENTS, end) for each, end in ends.items()]
        return batches

    def commit(self, offsets: Mapping[int, int]) -> None:
        """See `Client`."""
        from confluent_kafka import KafkaException

        try:
            self._consumer.commit(
                offsets=[self._tp(*each) for each in offsets.items()], asynchronous=True
            )
        except KafkaException:
            return  # affects only the lag in Kafka's tools: the raw table holds the offsets

    def close(self) -> None:
        """See `Client`."""
        # If the cluster is unreachable, `Consumer.close` does not return. The mesh does not need
        # its result, so it waits only 10 s.
        closing = threading.Thread(target=self._consumer.close, daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)

    def _tp(self, partition: int, offset: int) -> Any:
        from confluent_kafka import TopicPartition

        return TopicPartition(self._topic, partition, offset)

    def _guarded(self, callback: Callable[[Sequence[int]], Any], partitions: list[int]) -> Any:
        """Stores a callback's exception for `poll` to raise; librdkafka's C code would drop it."""
        try:
            return callback(sorted(partitions))
        except BaseException as error:  # noqa: BLE001
            self._failure = error
            return None


def _events_of(messages: Sequence[Any]) -> pa.RecordBatch:
    headers = None
    listed = [message.headers() for message in messages]
    if any(listed):
        headers = [[{"key": key, "value": value} for key, value in each or []] for each in listed]
    return event_batch(
        [message.offset() for message in messages],
        [message.timestamp()[1] for message in messages],
        [message.key() for message in messages],
        [message.value() for message in messages],
        headers,
    )


class ConfluentSender:
    """See `Sender`."""

    def __init__(self, settings: KafkaSettings) -> None:
        from confluent_kafka import Producer

        self._settings = settings
        self._refused: list[str] = []
        self._producer = Producer(
            {
                **configuration(settings),
                "enable.idempotence": True,
                "linger.ms": 20,
                "message.timeout.ms": 60_000,
                "queue.buffering.max.kbytes": 65_536,
                "message.max.bytes": MAX_REQUEST_BYTES,
            },
            logger=_quiet_logger(),
        )

    def send(
        self, topic: str, partition: int, event: tuple[Any, Any, int], headers: Headers
    ) -> None:
        """See `Sender`."""
        key, value, millis = event
        while True:
            try:
                self._producer.produce(
                    topic,
                    value,
                    key,
                    partition,
                    on_delivery=self._delivered,
                    timestamp=millis,
                    headers=headers,
                )
                return
            except BufferError:
                self._producer.poll(0.1)

    def flush(self) -> None:
        """See `Sender`."""
        left = self._producer.flush(90)
        refused, self._refused = self._refused, []
        if left and not refused:
            refused = [f"{left} events were not acknowledged in time"]
        if refused:
            self._producer.purge()
            raise LogUnavailable(
                f"Kafka at {self._settings.bootstrap_servers}: "
                f"{self._settings.without_secrets(refused[0])}. "
                "Events that were not stored will be sent again."
            )

    def _delivered(self, error: Any, message: Any) -> None:
        if error is not None:
            self._refused.append(error.str())


def _quiet_logger() -> Any:
    """A logger without output; without it, librdkafka writes to standard error."""
    import logging

    logger = logging.getLogger("meshhouse.kafka")
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    return logger
