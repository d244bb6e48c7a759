"""Topics of a Kafka cluster, as landing sees them.

Belongs here: describing a topic, and reading ranges of it. Not here: client libraries (python.py,
confluent.py), or settings (settings.py).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import pyarrow as pa

from meshhouse.errors import MeshError
from meshhouse.events.errors import UnknownTopic
from meshhouse.events.kafka.choice import admin, fastest
from meshhouse.events.kafka.library import MakeClient
from meshhouse.events.kafka.settings import KafkaSettings
from meshhouse.events.source import Client, EventBatch, Topic

_SILENCE_SECONDS = 60.0
"""A broker that sends nothing for so long, although it holds more events, counts as unreachable."""
_POLL_SECONDS = 0.5
_GATHERED_BATCHES = 4


class KafkaSource:
    """A Kafka cluster."""

    def __init__(self, settings: KafkaSettings, client: MakeClient | None = None) -> None:
        """`client` makes readers; by default, those of the fastest installed library."""
        self._settings = settings
        self._client = client or fastest()
        self.admin = admin(settings)

    @property
    def place(self) -> str:
        """The cluster's address, for messages."""
        return f"Kafka at {self._settings.bootstrap_servers}"

    def topics(self) -> list[str]:
        """Names of all topics, sorted, without Kafka's internal ones."""
        return sorted(each for each in self.admin.topics() if not each.startswith("__"))

    def describe(self, topic: str) -> Topic:
        """Partitions and offsets of a topic now; ends count only committed transactions.

        Raises:
            UnknownTopic: the cluster has no such topic.
            MeshError: the cluster cannot be reached.
        """
        described = self.admin.describe(topic)
        if described is None:
            raise UnknownTopic(topic, self.topics(), self.place)
        return described

    def offsets_at(self, topic: str, moment: datetime) -> dict[int, int]:
        """Per partition, the first offset whose event is not older than a timestamp."""
        held = self.describe(topic).partitions
        found = self.admin.offsets_at(topic, dict.fromkeys(held, moment))
        return {each: held[each].end if at < 0 else at for each, at in found.items()}

    def read(
        self, topic: str, ranges: Mapping[int, tuple[int, int]], max_bytes: int
    ) -> Iterator[EventBatch]:
        """Events of `ranges`; see `meshhouse.events.source.Source.read`.

        Raises:
            MeshError: the cluster cannot be reached, or stopped sending.
        """
        client = self._client(self._settings, topic, None)
        try:
            client.assign({partition: start for partition, (start, _) in ranges.items()})
            yield from self._until_ends(client, topic, ranges, max_bytes)
        finally:
            client.close()

    def follow(self, topic: str, group: str) -> Client:
        """A consumer in a group; the caller must call `subscribe` on it."""
        return self._client(self._settings, topic, group)

    def mirror(self, topic: str, group: str, offsets: Mapping[int, int]) -> None:
        """Sets a group's committed offsets, so that Kafka's tools show its lag.

        Failures are ignored, because the raw table holds the offsets. The next landing sets them.
        """
        self.admin.mirror(topic, group, offsets)

    def close(self) -> None:
        """Closes the connections."""
        self.admin.close()

    def _until_ends(
        self,
        client: Client,
        topic: str,
        ranges: Mapping[int, tuple[int, int]],
        max_bytes: int,
    ) -> Iterator[EventBatch]:
        open_ends = {partition: end for partition, (_, end) in ranges.items()}
        gathered: dict[int, list[EventBatch]] = {partition: [] for partition in ranges}
        held = dict.fromkeys(ranges, 0)
        silent_since = time.monotonic()
        while open_ends:
            for batch in client.poll(_POLL_SECONDS):
                end = open_ends.get(batch.partition)
                if end is None:
                    continue
                silent_since = time.monotonic()
                batch = _clipped(batch, end)
                waiting = gathered[batch.partition]
                waiting.append(batch)
                is_last = batch.next_offset >= end
                if is_last:
                    del open_ends[batch.partition]
                held[batch.partition] += batch.events["value"].nbytes
                is_enough = held[batch.partition] >= max_bytes
                # Bounds the bytes of all unfinished batches, for any number of partitions.
                is_much = sum(held.values()) >= _GATHERED_BATCHES * max_bytes
                if is_last or is_enough or is_much:
                    number = batch.partition if is_last or is_enough else max(held, key=held.get)
                    yield joined(gathered[number])
                    gathered[number], held[number] = [], 0
            if time.monotonic() - silent_since > _SILENCE_SECONDS:
                raise MeshError(
                    f"{self.place} has sent nothing of topic `{topic}` for "
                    f"{_SILENCE_SECONDS:.0f} seconds, although it holds more events. Landed events "
                    "stay; run the same command again when the cluster answers."
                )


def joined(batches: Sequence[EventBatch]) -> EventBatch:
    """Consecutive batches of one partition as one batch."""
    if len(batches) == 1:
        return batches[0]
    events = pa.concat_batches([each.events for each in batches])
    return EventBatch(batches[0].partition, events, batches[-1].next_offset)


def _clipped(batch: EventBatch, end: int) -> EventBatch:
    """The batch without the events at and after offset `end`."""
    if batch.next_offset <= end:
        return batch
    offsets = batch.events["offset"].to_pylist()
    count = sum(offset < end for offset in offsets)
    return EventBatch(batch.partition, batch.events.slice(0, count), end)
