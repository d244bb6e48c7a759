"""What the mesh needs of a Kafka client library, and what all of them share.

Belongs here: the interfaces of a reader, a sender and an administrator of a cluster, the
limits that every reader keeps, and wording of failures. Not here: a library (python.py,
confluent.py), or which one is used (choice.py).

Every reader reads only what transactions have committed, checks checksums, and never commits
an offset by itself.
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
"""How old a client's knowledge of partitions may be. Kafka's 300 s would leave an added
partition unread for as long."""
SESSION_MILLIS = 10_000
"""A lander that was killed keeps its partitions for so long. Kafka's default of 45 s spares
consumers repeated work; a lander repeats none, because the table knows where to go on."""
MAX_REQUEST_BYTES = 64 * 1024 * 1024
"""The cluster's own limit is the one that counts."""

_HEADERS = EVENT_SCHEMA.field("headers").type
NO_EVENTS = pa.RecordBatch.from_pylist([], schema=EVENT_SCHEMA)

MakeClient = Callable[[KafkaSettings, str, str | None], Client]
"""From settings, a topic and a group (or none) to a reader."""
Headers = list[tuple[str, bytes | None]]


class Sender(Protocol):
    """Writes events."""

    def send(
        self, topic: str, partition: int, event: tuple[Any, Any, int], headers: Headers
    ) -> None:
        """Queues one event (key, value, milliseconds); waits while the queue is full."""
        ...

    def flush(self) -> None:
        """Waits until the cluster holds what was sent.

        Raises:
            LogUnavailable: some of it was refused or not acknowledged in time.
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

        Ends are those of committed transactions.
        """
        ...

    def offsets_at(self, topic: str, moments: Mapping[int, datetime]) -> dict[int, int]:
        """Partition -> the first offset whose event is not older than its moment, or -1."""
        ...

    def mirror(self, topic: str, group: str, offsets: Mapping[int, int]) -> None:
        """Sets a group's committed offsets; does nothing if the cluster does not accept them."""
        ...

    def create_topic(self, name: str, partitions: int) -> None:
        """Makes a topic with the cluster's default number of replicas, unless it exists."""
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
    """Events in the shape of `EVENT_SCHEMA`; timestamps are milliseconds, UTC."""
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
    """Turns what a library raises inside the block into one line without secrets."""

    modules: ClassVar[frozenset[str]]
    """The library's top-level modules, which its exceptions come from."""

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
    """What went wrong with a cluster, in one line without secrets."""
    return kind(
        f"Kafka at {settings.bootstrap_servers}: "
        f"{settings.without_secrets(reason).strip().rstrip('.')}. "
        "Nothing that was not committed is lost; run the same command again when it answers."
    )
