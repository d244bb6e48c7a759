"""The two Kafka clients behind one interface: records in, Arrow batches out.

Belongs here: everything that names kafka-python or confluent-kafka as a consumer. Not
here: what a topic is (source.py), or what happens to its events (landing/).

Both read only what transactions have committed, check checksums, and never commit an
offset by themselves.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa

from meshhouse.errors import MeshError
from meshhouse.events.errors import SourceAway
from meshhouse.events.kafka.settings import KafkaSettings
from meshhouse.events.source import EVENT_SCHEMA, Client, EventBatch, Rebalance

_HEADERS = EVENT_SCHEMA.field("headers").type
_POLL_RECORDS = 10_000
_PARTITION_FETCH_BYTES = 4 * 1024 * 1024
_BUFFER_KIBIBYTES = 16 * 1024
_CLOSE_SECONDS = 10.0
_JOIN_SECONDS = 5.0
"""So long a poll waits for a group that hands out its partitions: somewhat longer than others
take to hear of it, which is with their next heartbeat (3 s)."""
_JOIN_POLL_MILLIS = 1_000
_METADATA_MILLIS = 3_000
"""How old a client's knowledge of partitions may be. Kafka's 300 s would leave an added
partition unread for as long."""
_SESSION_MILLIS = 10_000
"""A lander that was killed keeps its partitions for so long; Kafka's 45 s spare others from
doing work again, which here they do not: where to go on is in the table."""


MakeClient = Callable[[KafkaSettings, str, str | None], Client]
"""From settings, a topic and a group (or none) to a client."""


def fastest() -> MakeClient:
    """The fastest client that is installed; all of them read the same."""
    try:
        import confluent_kafka  # noqa: F401
    except ImportError:
        return PythonClient
    return ConfluentClient


class PythonClient:
    """kafka-python."""

    def __init__(self, settings: KafkaSettings, topic: str, group: str | None = None) -> None:
        from kafka import KafkaConsumer
        from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor

        self._topic = topic
        self._settings = settings
        with explained(settings):
            self._consumer = KafkaConsumer(
                **{"session_timeout_ms": _SESSION_MILLIS, **settings.python(consumer=True)},
                group_id=group,
                enable_auto_commit=False,
                auto_offset_reset="none",
                isolation_level="read_committed",
                metadata_max_age_ms=_METADATA_MILLIS,
                max_poll_records=_POLL_RECORDS,
                max_partition_fetch_bytes=_PARTITION_FETCH_BYTES,
                fetch_max_bytes=4 * _PARTITION_FETCH_BYTES,
                partition_assignment_strategy=[CooperativeStickyAssignor],
            )
        self._positions: dict[int, int] = {}

    def assign(self, offsets: Mapping[int, int]) -> None:
        """See `Client`."""
        self._consumer.assign([self._tp(partition) for partition in offsets])
        self.seek(offsets)

    def subscribe(self, group: str, rebalance: Rebalance) -> None:
        """See `Client`."""
        from kafka import ConsumerRebalanceListener

        client = self

        class Listener(ConsumerRebalanceListener):
            def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
                client.seek(rebalance.assigned(sorted(each.partition for each in assigned)))

            def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:
                rebalance.revoked(client._forget(revoked))

            def on_partitions_lost(self, lost: Iterable[Any]) -> None:
                rebalance.lost(client._forget(lost))

        with explained(self._settings):
            # A member that leads the group before it knows the partitions hands out none of
            # them, and waits for ever (kafka-python 3.0.12; 2 of 60 starts).
            self._consumer.partitions_for_topic(self._topic)
        self._consumer.subscribe([self._topic], listener=Listener())

    def seek(self, offsets: Mapping[int, int]) -> None:
        """See `Client`."""
        for partition, offset in offsets.items():
            self._consumer.seek(self._tp(partition), offset)
            self._positions[partition] = offset

    def poll(self, seconds: float) -> list[EventBatch]:
        """See `Client`."""
        with explained(self._settings):
            polled = self._polled(int(seconds * 1000))
            # A join that ends between two polls is dropped and begun again (kafka-python 3.0.12):
            # a member that polls briefly and works in between would never finish joining.
            deadline = time.monotonic() + _JOIN_SECONDS
            while not polled and self._is_joining() and time.monotonic() < deadline:
                polled = self._polled(_JOIN_POLL_MILLIS)
        batches = []
        for place, records in polled.items():
            if not records:
                continue
            next_offset = records[-1].offset + 1
            self._positions[place.partition] = next_offset
            batches.append(EventBatch(place.partition, _from_python(records), next_offset))
        # The consumer steps over what is no event without a word.
        for partition, known in self._positions.items():
            if self._tp(partition) not in polled:
                position = self._position(partition)
                if position is not None and position > known:
                    self._positions[partition] = position
                    batches.append(EventBatch(partition, _NO_EVENTS, position))
        return batches

    def commit(self, offsets: Mapping[int, int]) -> None:
        """See `Client`."""
        from kafka import OffsetAndMetadata
        from kafka.errors import KafkaError

        wanted = {self._tp(each): OffsetAndMetadata(end, "", -1) for each, end in offsets.items()}
        try:
            self._consumer.commit_async(wanted)
        except (KafkaError, AssertionError):
            return  # only what others see of the lag; the table knows

    def close(self) -> None:
        """See `Client`."""
        from kafka.errors import KafkaError

        # The broker may be away; the group takes the partitions back after the session's 10 s.
        with suppress(KafkaError):
            self._consumer.close(autocommit=False)

    def _tp(self, partition: int) -> Any:
        from kafka import TopicPartition

        return TopicPartition(self._topic, partition)

    def _polled(self, millis: int) -> dict[Any, list[Any]]:
        if self._is_joining():
            # A join that a change of partitions began, and that ended between two polls, is
            # never taken up otherwise: the member sends no more heartbeats and is expelled from
            # the group (kafka-python 3.0.12, 2 of 5 times when a partition was added).
            self._consumer._coordinator.request_rejoin()
        return self._consumer.poll(timeout_ms=millis)

    def _is_joining(self) -> bool:
        from kafka.structs import MemberState

        return self._consumer.group_metadata().state is MemberState.REBALANCING

    def _position(self, partition: int) -> int | None:
        if self._tp(partition) not in self._consumer.assignment():
            return None
        with explained(self._settings):
            return self._consumer.position(self._tp(partition))

    def _forget(self, places: Iterable[Any]) -> list[int]:
        partitions = sorted(each.partition for each in places)
        for partition in partitions:
            self._positions.pop(partition, None)
        return partitions


class ConfluentClient:
    """confluent-kafka, the extra `fast`."""

    def __init__(self, settings: KafkaSettings, topic: str, group: str | None = None) -> None:
        from confluent_kafka import Consumer

        self._topic = topic
        self._settings = settings
        with explained(settings):
            self._consumer = Consumer(
                {
                    "session.timeout.ms": _SESSION_MILLIS,
                    **settings.confluent(consumer=True),
                    "group.id": group or "meshhouse-ungrouped",
                    "enable.auto.commit": False,
                    "enable.auto.offset.store": False,
                    "auto.offset.reset": "error",
                    "isolation.level": "read_committed",
                    "topic.metadata.refresh.interval.ms": _METADATA_MILLIS,
                    "check.crcs": True,
                    "enable.partition.eof": True,
                    "partition.assignment.strategy": "cooperative-sticky",
                    "queued.max.messages.kbytes": _BUFFER_KIBIBYTES,
                    # By default it rests for a second whenever its queue is full: a fifth of
                    # the events a second.
                    "fetch.queue.backoff.ms": 1,
                    "fetch.message.max.bytes": _PARTITION_FETCH_BYTES,
                    "fetch.wait.max.ms": 100,
                },
                logger=quiet_logger(),
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
        # Its own seek is refused for partitions that came a moment ago.
        places = [self._tp(*each) for each in offsets.items()]
        self._consumer.incremental_unassign(places)
        self._consumer.incremental_assign(places)

    def poll(self, seconds: float) -> list[EventBatch]:
        """See `Client`."""
        from confluent_kafka import KafkaError

        with explained(self._settings):
            messages = self._consumer.consume(_POLL_RECORDS, seconds)
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
                raise _failed(self._settings, error.str())
        batches = []
        for partition, records in by_partition.items():
            next_offset = max(records[-1].offset() + 1, ends.pop(partition, 0))
            batches.append(EventBatch(partition, _from_confluent(records), next_offset))
        batches += [EventBatch(each, _NO_EVENTS, end) for each, end in ends.items()]
        return batches

    def commit(self, offsets: Mapping[int, int]) -> None:
        """See `Client`."""
        from confluent_kafka import KafkaException

        try:
            self._consumer.commit(
                offsets=[self._tp(*each) for each in offsets.items()], asynchronous=True
            )
        except KafkaException:
            return  # only what others see of the lag; the table knows

    def close(self) -> None:
        """See `Client`."""
        # It waits for ever for a cluster that is away, which nothing here depends on.
        closing = threading.Thread(target=self._consumer.close, daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)

    def _tp(self, partition: int, offset: int) -> Any:
        from confluent_kafka import TopicPartition

        return TopicPartition(self._topic, partition, offset)

    def _guarded(self, callback: Callable[[Sequence[int]], Any], partitions: list[int]) -> Any:
        """Keeps what a callback raises for `poll` to raise: C code is between them."""
        try:
            return callback(sorted(partitions))
        except BaseException as error:  # noqa: BLE001
            self._failure = error
            return None


def _from_python(records: Sequence[Any]) -> pa.RecordBatch:
    headers = None
    if any(record.headers for record in records):
        headers = [
            [{"key": key, "value": value} for key, value in record.headers] for record in records
        ]
    return _batch(
        [record.offset for record in records],
        [record.timestamp for record in records],
        [record.key for record in records],
        [record.value for record in records],
        headers,
    )


def _from_confluent(messages: Sequence[Any]) -> pa.RecordBatch:
    headers = None
    listed = [message.headers() for message in messages]
    if any(listed):
        headers = [[{"key": key, "value": value} for key, value in each or []] for each in listed]
    return _batch(
        [message.offset() for message in messages],
        [message.timestamp()[1] for message in messages],
        [message.key() for message in messages],
        [message.value() for message in messages],
        headers,
    )


def _batch(
    offsets: list[int],
    timestamps: list[int],
    keys: list[bytes | None],
    values: list[bytes | None],
    headers: list[list[dict[str, Any]]] | None,
) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [
            pa.array(offsets, pa.int64()),
            pa.array(timestamps, pa.int64()).cast(EVENT_SCHEMA.field("timestamp").type),
            pa.array(keys, pa.binary()),
            pa.array(values, pa.binary()),
            pa.nulls(len(offsets), _HEADERS) if headers is None else pa.array(headers, _HEADERS),
        ],
        schema=EVENT_SCHEMA,
    )


_NO_EVENTS = pa.RecordBatch.from_pylist([], schema=EVENT_SCHEMA)


class explained:  # noqa: N801
    """Turns what a client raises inside the block into one line without secrets."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, MeshError):
            return
        if error.__cause__ is not None and "rebalance callback" in str(error):
            raise error.__cause__  # kafka-python's wrapping of what `Rebalance` raised
        names = {each.__module__.partition(".")[0] for each in type(error).__mro__}
        if names & {"kafka", "confluent_kafka", "cimpl"}:
            kind = SourceAway if getattr(error, "retriable", False) else MeshError
            raise _failed(self._settings, str(error) or type(error).__name__, kind) from error


def _failed(settings: KafkaSettings, reason: str, kind: type[MeshError] = MeshError) -> MeshError:
    return kind(
        f"Kafka at {settings.bootstrap_servers}: "
        f"{settings.without_secrets(reason).strip().rstrip('.')}. "
        "Nothing that was not committed is lost; run the same command again when it answers."
    )


def quiet_logger() -> Any:
    """Librdkafka speaks to standard error otherwise."""
    import logging

    logger = logging.getLogger("meshhouse.kafka")
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    return logger


_PASSING_ERRORS = frozenset({-195, -187, -185, -193})
"""Of librdkafka: a broker is away, all are, a request timed out, a name is not resolved.
It goes on trying by itself."""
