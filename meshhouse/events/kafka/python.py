"""kafka-python as a client library of the mesh.

Belongs here: all code that uses kafka-python. Not here: topics as landing sees them (source.py,
writer.py), or code for all libraries (library.py).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from typing import Any

import pyarrow as pa

from meshhouse.errors import MeshError
from meshhouse.events.errors import LogUnavailable, SourceAway
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
from meshhouse.events.kafka.oauth import ClientCredentials
from meshhouse.events.kafka.settings import KafkaSettings
from meshhouse.events.source import EventBatch, Partition, Rebalance, Topic

_RENAMED = {
    "client.id": "client_id",
    "client.rack": "client_rack",
    "security.protocol": "security_protocol",
    "sasl.mechanism": "sasl_mechanism",
    "sasl.username": "sasl_plain_username",
    "sasl.password": "sasl_plain_password",
    "sasl.kerberos.service.name": "sasl_kerberos_service_name",
    "ssl.ca.location": "ssl_cafile",
    "ssl.certificate.location": "ssl_certfile",
    "ssl.key.location": "ssl_keyfile",
    "ssl.key.password": "ssl_password",
}
"""Kafka's property -> kafka-python's argument with the same values."""
_JOIN_SECONDS = 5.0
"""How long a poll waits while the group assigns partitions. Longer than a heartbeat interval (3 s),
after which the other members know of the change."""
_JOIN_POLL_MILLIS = 1_000
_EARLIEST, _LATEST = -2, -1
"""Special timestamps of Kafka's protocol: the first offset, and the end."""
_UNKNOWN_TOPIC = 3
"""Kafka's error code UNKNOWN_TOPIC_OR_PARTITION."""
_REPLICA_NOT_AVAILABLE = 9
_SEND_SECONDS = 60


def arguments(settings: KafkaSettings, consumer: bool = False) -> dict[str, Any]:
    """Arguments of kafka-python's clients."""
    properties = settings.of_client(consumer)
    # Long enough for the election of a leader, short enough if the address has a typing error.
    timeout = int(properties.get("request.timeout.ms", 15_000))
    found: dict[str, Any] = {"client_id": "meshhouse", "bootstrap_timeout_ms": timeout}
    servers = properties["bootstrap.servers"].split(",")
    found["bootstrap_servers"] = [each.strip() for each in servers]
    found |= {_RENAMED[name]: value for name, value in properties.items() if name in _RENAMED}
    if "request.timeout.ms" in properties:
        found["request_timeout_ms"] = timeout
    if "session.timeout.ms" in properties:
        found["session_timeout_ms"] = int(properties["session.timeout.ms"])
        found["heartbeat_interval_ms"] = found["session_timeout_ms"] // 3
    if properties.get("ssl.endpoint.identification.algorithm", "https") != "https":
        found["ssl_check_hostname"] = False
    if properties.get("sasl.mechanism") == "OAUTHBEARER":
        found["sasl_oauth_token_provider"] = _token_provider(settings)
    return found


class explained(Explained):  # noqa: N801
    """Turns kafka-python's errors in the block into a message of one line without secrets."""

    modules = frozenset({"kafka"})

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        # kafka-python wraps exceptions of the callbacks in `Rebalance`.
        if error is not None and error.__cause__ and "rebalance callback" in str(error):
            raise error.__cause__
        # The leader of a partition is unknown for a while after a broker started. kafka-python
        # does not count this error among those that pass.
        if error is not None and _has_no_leader(error):
            raise failed(self._settings, "a partition has no leader now", SourceAway) from error
        super().__exit__(kind, error, trace)


def _has_no_leader(error: BaseException) -> bool:
    from kafka.errors import UnknownBrokerIdError

    return isinstance(error, UnknownBrokerIdError)


class PythonClient:
    """See `Client`."""

    def __init__(self, settings: KafkaSettings, topic: str, group: str | None = None) -> None:
        from kafka import KafkaConsumer
        from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor

        self._topic = topic
        self._settings = settings
        with explained(settings):
            self._consumer = KafkaConsumer(
                **{"session_timeout_ms": SESSION_MILLIS, **arguments(settings, consumer=True)},
                group_id=group,
                enable_auto_commit=False,
                auto_offset_reset="none",
                isolation_level="read_committed",
                metadata_max_age_ms=METADATA_MILLIS,
                max_poll_records=POLL_RECORDS,
                max_partition_fetch_bytes=PARTITION_FETCH_BYTES,
                fetch_max_bytes=4 * PARTITION_FETCH_BYTES,
                partition_assignment_strategy=[CooperativeStickyAssignor],
            )
        self._positions: dict[int, int] = {}

    def assign(self, offsets: Mapping[int, int]) -> None:
        """See `Client`."""
        self._consumer.assign([_place(self._topic, partition) for partition in offsets])
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
            # Fetches the partitions first. A leader of the group that does not know them assigns
            # none and does not try again (kafka-python 3.0.12; 2 of 60 starts).
            self._consumer.partitions_for_topic(self._topic)
        self._consumer.subscribe([self._topic], listener=Listener())

    def seek(self, offsets: Mapping[int, int]) -> None:
        """See `Client`."""
        for partition, offset in offsets.items():
            self._consumer.seek(_place(self._topic, partition), offset)
            self._positions[partition] = offset

    def poll(self, seconds: float) -> list[EventBatch]:
        """See `Client`."""
        with explained(self._settings):
            polled = self._polled(int(seconds * 1000))
            # A join that ends between two polls is dropped and starts again (kafka-python 3.0.12).
            # A member with short polls and work between them would never finish joining.
            deadline = time.monotonic() + _JOIN_SECONDS
            while not polled and self._is_joining() and time.monotonic() < deadline:
                polled = self._polled(_JOIN_POLL_MILLIS)
        batches = []
        for place, records in polled.items():
            if not records:
                continue
            next_offset = records[-1].offset + 1
            self._positions[place.partition] = next_offset
            batches.append(EventBatch(place.partition, events_of(records), next_offset))
        # The consumer skips offsets without events silently, so compare positions.
        for partition, known in self._positions.items():
            if _place(self._topic, partition) not in polled:
                position = self._position(partition)
                if position is not None and position > known:
                    self._positions[partition] = position
                    batches.append(EventBatch(partition, NO_EVENTS, position))
        return batches

    def commit(self, offsets: Mapping[int, int]) -> None:
        """See `Client`."""
        from kafka import OffsetAndMetadata
        from kafka.errors import KafkaError

        wanted = {
            _place(self._topic, each): OffsetAndMetadata(end, "", -1)
            for each, end in offsets.items()
        }
        try:
            self._consumer.commit_async(wanted)
        except (KafkaError, AssertionError):
            return  # affects only the lag in Kafka's tools: the raw table holds the offsets

    def close(self) -> None:
        """See `Client`."""
        from kafka.errors import KafkaError

        # If the broker is unreachable, the group takes the partitions after the session's 10 s.
        with suppress(KafkaError):
            self._consumer.close(autocommit=False)

    def _polled(self, millis: int) -> dict[Any, list[Any]]:
        if self._is_joining():
            # A change of partitions starts a join. If that ends between two polls, the member
            # sends no more heartbeats and is expelled from the group, unless it rejoins
            # (kafka-python 3.0.12, 2 of 5 times when a partition was added).
            self._consumer._coordinator.request_rejoin()
        return self._consumer.poll(timeout_ms=millis)

    def _is_joining(self) -> bool:
        from kafka.structs import MemberState

        return self._consumer.group_metadata().state is MemberState.REBALANCING

    def _position(self, partition: int) -> int | None:
        if _place(self._topic, partition) not in self._consumer.assignment():
            return None
        with explained(self._settings):
            return self._consumer.position(_place(self._topic, partition))

    def _forget(self, places: Iterable[Any]) -> list[int]:
        partitions = sorted(each.partition for each in places)
        for partition in partitions:
            self._positions.pop(partition, None)
        return partitions


def events_of(records: Sequence[Any]) -> pa.RecordBatch:
    """Records of one partition from a kafka-python consumer, as Arrow."""
    headers = None
    if any(record.headers for record in records):
        headers = [
            [{"key": key, "value": value} for key, value in record.headers] for record in records
        ]
    return event_batch(
        [record.offset for record in records],
        [record.timestamp for record in records],
        [record.key for record in records],
        [record.value for record in records],
        headers,
    )


class PythonSender:
    """See `Sender`."""

    def __init__(self, settings: KafkaSettings) -> None:
        from kafka import KafkaProducer

        self._settings = settings
        self._sent: list[Any] = []
        with explained(settings):
            self._producer = KafkaProducer(
                **arguments(settings),
                enable_idempotence=True,
                acks="all",
                linger_ms=20,
                max_request_size=MAX_REQUEST_BYTES,
            )

    def send(
        self, topic: str, partition: int, event: tuple[Any, Any, int], headers: Headers
    ) -> None:
        """See `Sender`."""
        key, value, millis = event
        with explained(self._settings):
            self._sent.append(
                self._producer.send(
                    topic, value, key, headers, partition=partition, timestamp_ms=millis
                )
            )

    def flush(self) -> None:
        """See `Sender`."""
        sent, self._sent = self._sent, []
        try:
            with explained(self._settings):
                self._producer.flush(timeout=_SEND_SECONDS)
                for each in sent:
                    each.get(timeout=_SEND_SECONDS)
        except MeshError as error:
            raise LogUnavailable(str(error)) from error


class PythonAdmin:
    """See `Admin`."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        # kafka-python's admin client is not thread-safe.
        self._asking = threading.RLock()

    @cached_property
    def _admin(self) -> Any:
        from kafka import KafkaAdminClient

        return KafkaAdminClient(**arguments(self._settings))

    def topics(self) -> list[str]:
        """See `Admin`."""
        with self._asking, explained(self._settings):
            return list(self._admin.list_topics())

    def describe(self, topic: str) -> Topic | None:
        """See `Admin`."""
        with self._asking, explained(self._settings):
            [described] = self._admin.describe_topics([topic])
            if described["error_code"] == _UNKNOWN_TOPIC:
                return None
            self._refuse(topic, [described, *described["partitions"]])
            places = [_place(topic, each["partition_index"]) for each in described["partitions"]]
            begins = self._offsets(dict.fromkeys(places, _EARLIEST))
            ends = self._offsets(dict.fromkeys(places, _LATEST))
            cluster = self._admin.describe_cluster()["cluster_id"]
        return Topic(
            name=topic,
            cluster_id=str(cluster),
            topic_id=str(described["topic_id"]),
            partitions={each: Partition(begins[each], ends[each]) for each in sorted(begins)},
        )

    def offsets_at(self, topic: str, moments: Mapping[int, datetime]) -> dict[int, int]:
        """See `Admin`."""
        wanted = {_place(topic, partition): int(moment.timestamp() * 1000)
                  for partition, moment in moments.items()}  # fmt: skip
        with self._asking, explained(self._settings):
            return self._offsets(wanted)

    def mirror(self, topic: str, group: str, offsets: Mapping[int, int]) -> None:
        """See `Admin`."""
        from kafka import OffsetAndMetadata
        from kafka.errors import KafkaError

        wanted = {_place(topic, each): OffsetAndMetadata(end, "", -1)
                  for each, end in offsets.items()}  # fmt: skip
        # Refused if the group has members, which commit by themselves, or fails without a cluster.
        with self._asking, suppress(KafkaError):
            self._admin.alter_group_offsets(group, wanted)

    def create_topic(self, name: str, partitions: int) -> None:
        """See `Admin`."""
        from kafka.admin import NewTopic
        from kafka.errors import TopicAlreadyExistsError

        with self._asking, explained(self._settings), suppress(TopicAlreadyExistsError):
            # Kafka removes events by their own timestamps: the demo's, of 2017, would go within
            # minutes under the default retention of seven days.
            kept = {"retention.ms": "-1"}
            self._admin.create_topics([NewTopic(name, partitions, -1, topic_configs=kept)])
            self._admin.wait_for_topics([name])

    def close(self) -> None:
        """See `Admin`."""
        if "_admin" in self.__dict__:
            self.__dict__.pop("_admin").close()

    def _offsets(self, timestamps: Mapping[Any, int]) -> dict[int, int]:
        """Partition -> offset at a timestamp, counting only committed transactions."""
        # A consumer would use its cached list of partitions, which may lack added ones.
        found = self._admin.list_partition_offsets(dict(timestamps), "read_committed")
        return {place.partition: at.offset for place, at in found.items()}

    def _refuse(self, topic: str, answers: Sequence[Mapping[str, Any]]) -> None:
        """Raises the cluster's error about a topic or one of its partitions, if any."""
        from kafka.errors import for_code

        for answer in answers:
            # A partition can be read even if some of its replicas are not available.
            if answer["error_code"] not in (0, _REPLICA_NOT_AVAILABLE):
                reason = for_code(answer["error_code"])
                # Retriable: for example, the partition's leader is being elected.
                kind = SourceAway if getattr(reason, "retriable", False) else MeshError
                raise kind(
                    f"Kafka at {self._settings.bootstrap_servers} refuses topic `{topic}`: "
                    f"{reason.__name__} ({getattr(reason, 'description', '')}). Nothing was "
                    "landed. Ask the cluster's administrator, or run the command again later."
                )


def _place(topic: str, partition: int) -> Any:
    from kafka import TopicPartition

    return TopicPartition(topic, partition)


def _token_provider(settings: KafkaSettings) -> Any:
    from kafka.net.sasl.oauth import AbstractTokenProvider

    credentials = ClientCredentials(settings)

    class Provider(AbstractTokenProvider):
        def token(self) -> str:
            return credentials.token()

    return Provider()
