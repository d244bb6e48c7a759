"""The interface of a Kafka client library, and code for all of them.

Belongs here: the protocols of a reader, a sender and an administrator of a cluster, the limits of
every reader, and messages for errors. Not here: a library (python.py, confluent.py), or the choice
of one (choice.py).

Every reader reads only events of committed transactions, checks checksums, and never commits an
offset by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar, Protocol

import pyarrow as pa

from meshhouse.errors import MeshError
from meshhouse.events.errors import SourceAway
from meshhouse.events.kafka.settings import KafkaSettings
from meshhouse.events.source import EVENT_SCHEMA, Client, Topic

POLL_RECORDS = 10_000
PARTITION_FETCH_BYTES = 4 * 1024 * 1024
METADATA_MILLIS = 3_000
"""Most age of a client's list of partitions. With Kafka's default of 300 s, an added partition
could be unread for so long."""
SESSION_MILLIS = 10_000
"""How long a killed lander keeps its partitions. Kafka's default of 45 s avoids repeated work after
short failures. A lander repeats no work, because the raw table holds the offsets."""
MAX_REQUEST_BYTES = 64 * 1024 * 1024
"""Higher than usual limits of a cluster, so the cluster's limit decides."""

_HEADERS = EVENT_SCHEMA.field("headers").type
NO_EVENTS = pa.RecordBatch.from_pylist([], schema=EVENT_SCHEMA)

MakeClient = Callable[[KafkaSettings, str, str | None], Client]
"""Makes a reader from settings, a topic, and a group or None."""
Headers = list[tuple[str, bytes | None]]


class Sender(Protocol):
    """Writes events."""

    def send(
        self, topic: str, partition: int, event: tuple[Any, Any, int], headers: Headers
    ) -> None:
        """Queues one event (key, value, milliseconds); waits while the queue is full."""
        ...

    def flush(self) -> None:
        """Waits until the cluster has stored all queued events.

        Raises:
            LogUnavailable: events were refused or not acknowledged in time.
        """
        ...


class Admin(Protocol):
    """Answers questions about a cluster and changes its topics; any thread may call it.

    Each method raises `MeshError` if the cluster refuses, `SourceAway` if it does not answer.
    """

    def topics(self) -> list[str]:
        """Names of all topics."""
        ...

    def describe(self, topic: str) -> Topic | None:
        """Partitions and offsets of a topic now; None if there is no such topic.

        The end of a partition is that of its last committed transaction.
        """
        ...

    def offsets_at(self, topic: str, moments: Mapping[int, datetime]) -> dict[int, int]:
        """Partition -> its first offset whose event is not older than the timestamp, or -1."""
        ...

    def mirror(self, topic: str, group: str, offsets: Mapping[int, int]) -> None:
        """Sets a group's committed offsets; does nothing if the cluster does not accept them."""
        ...

    def create_topic(self, name: str, partitions: int) -> None:
        """Creates a topic that keeps its events without a limit of time, unless it exists.

        It has the cluster's default number of replicas.
        """
        ...

    def close(self) -> None:
        """Closes the connections."""
        ...


def event_batch(
    offsets: list[int],
    timestamps: list[int],
    keys: list[bytes | None],
    values: list[bytes | None],
    headers: list[list[dict[str, Any]]] | None,
) -> pa.RecordBatch:
    """Events in `EVENT_SCHEMA`; timestamps are milliseconds, UTC."""
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


class Explained:
    """Turns a library's errors in the block into a message of one line without secrets."""

    modules: ClassVar[frozenset[str]]
    """The top-level modules that define the library's exceptions."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, MeshError):
            return
        names = {each.__module__.partition(".")[0] for each in type(error).__mro__}
        if names & self.modules:
            kind = SourceAway if getattr(error, "retriable", False) else MeshError
            raise failed(self._settings, str(error) or type(error).__name__, kind) from error


def failed(settings: KafkaSettings, reason: str, kind: type[MeshError] = MeshError) -> MeshError:
    """An error of a cluster, with a message of one line without secrets."""
    return kind(
        f"Kafka at {settings.bootstrap_servers}: "
        f"{settings.without_secrets(reason).strip().rstrip('.')}. "
        "No event is lost; run the same command again when the cluster answers."
    )
