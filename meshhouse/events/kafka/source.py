"""Topics of a Kafka cluster, as landing sees them.

Belongs here: what a topic is and holds, and reading ranges of it. Does not: the clients
themselves (clients.py), settings (settings.py).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

import pyarrow as pa

from meshhouse.errors import MeshError
from meshhouse.events.errors import SourceAway, UnknownTopic
from meshhouse.events.kafka.clients import MakeClient, explained, fastest
from meshhouse.events.kafka.settings import KafkaSettings
from meshhouse.events.source import Client, EventBatch, Partition, Topic

_SILENCE_SECONDS = 60.0
"""A broker that sends nothing for so long, although it holds more, is away."""
_POLL_SECONDS = 0.5
_GATHERED_BATCHES = 4


class KafkaSource:
    """A Kafka cluster."""

    def __init__(self, settings: KafkaSettings, client: MakeClient | None = None) -> None:
        """`client` reads events; by default the fastest that is installed."""
        self._settings = settings
        self._client = client or fastest()
        # kafka-python's admin client is for one thread at a time.
        self._asking = threading.RLock()

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return f"Kafka at {self._settings.bootstrap_servers}"

    def topics(self) -> list[str]:
        """Names of all topics, sorted, without Kafka's own."""
        with self._asking, explained(self._settings):
            return sorted(each for each in self.admin.list_topics() if not each.startswith("__"))

    def describe(self, topic: str) -> Topic:
        """Partitions and offsets of a topic now; ends are those of committed transactions.

        Raises:
            UnknownTopic: the cluster has no such topic.
            MeshError: it cannot be reached.
        """
        with self._asking, explained(self._settings):
            [described] = self.admin.describe_topics([topic])
            if described["error_code"] == _UNKNOWN_TOPIC:
                raise UnknownTopic(topic, self.topics(), self.place)
            self._refuse(topic, [described, *described["partitions"]])
            partitions = [each["partition_index"] for each in described["partitions"]]
            places = [_place(topic, number) for number in partitions]
            begins = self._offsets(dict.fromkeys(places, _EARLIEST))
            ends = self._offsets(dict.fromkeys(places, _LATEST))
            cluster = self.admin.describe_cluster()["cluster_id"]
        return Topic(
            name=topic,
            cluster_id=str(cluster),
            topic_id=str(described["topic_id"]),
            partitions={
                place.partition: Partition(begins[place], ends[place])
                for place in sorted(places, key=lambda each: each.partition)
            },
        )

    def offsets_at(self, topic: str, moment: datetime) -> dict[int, int]:
        """The first offset of each partition whose event is not older than a moment."""
        described = self.describe(topic)
        wanted = {_place(topic, each): int(moment.timestamp() * 1000) for each in
                  described.partitions}  # fmt: skip
        with self._asking, explained(self._settings):
            found = self._offsets(wanted)
        return {
            place.partition: described.partitions[place.partition].end if at < 0 else at
            for place, at in found.items()
        }

    def read(
        self, topic: str, ranges: Mapping[int, tuple[int, int]], max_bytes: int
    ) -> Iterator[EventBatch]:
        """Events of `ranges`; see `meshhouse.events.source.Source.read`.

        Raises:
            MeshError: the cluster cannot be reached, or has fallen silent.
        """
        client = self._client(self._settings, topic, None)
        try:
            client.assign({partition: start for partition, (start, _) in ranges.items()})
            yield from self._until_ends(client, topic, ranges, max_bytes)
        finally:
            client.close()

    def follow(self, topic: str, group: str) -> Client:
        """A consumer in a group; `subscribe` is the caller's to call."""
        return self._client(self._settings, topic, group)

    def mirror(self, topic: str, group: str, offsets: Mapping[int, int]) -> None:
        """Tells a group's committed offsets, so that its lag shows in every Kafka tool.

        What fails here is left for the next time: the table knows where landing stands.
        """
        from kafka import OffsetAndMetadata
        from kafka.errors import KafkaError

        wanted = {_place(topic, each): OffsetAndMetadata(end, "", -1)
                  for each, end in offsets.items()}  # fmt: skip
        try:
            with self._asking:
                self.admin.alter_group_offsets(group, wanted)
        except KafkaError:
            return  # the group has members, who tell it themselves; or Kafka is away

    def close(self) -> None:
        """Closes the connections."""
        if "admin" in self.__dict__:
            self.__dict__.pop("admin").close()

    def _refuse(self, topic: str, answers: Sequence[Mapping[str, Any]]) -> None:
        """Raises what the cluster said about a topic or one of its partitions."""
        from kafka.errors import for_code

        for answer in answers:
            # A partition without some of its replicas can be read all the same.
            if answer["error_code"] not in (0, _REPLICA_NOT_AVAILABLE):
                reason = for_code(answer["error_code"])
                # A partition whose leader is being elected, for instance.
                kind = SourceAway if getattr(reason, "retriable", False) else MeshError
                raise kind(
                    f"{self.place} does not show topic `{topic}`: {reason.__name__} "
                    f"({getattr(reason, 'description', '')}). Nothing was landed. Ask who runs "
                    "the cluster, or run the command again when it is well."
                )

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
                # However many partitions there are, what waits for more of its own is bounded.
                is_much = sum(held.values()) >= _GATHERED_BATCHES * max_bytes
                if is_last or is_enough or is_much:
                    number = batch.partition if is_last or is_enough else max(held, key=held.get)
                    yield joined(gathered[number])
                    gathered[number], held[number] = [], 0
            if time.monotonic() - silent_since > _SILENCE_SECONDS:
                raise MeshError(
                    f"{self.place} has sent nothing of topic `{topic}` for "
                    f"{_SILENCE_SECONDS:.0f} seconds, although it holds more. What was committed "
                    "stays; run the same command again when the cluster answers."
                )

    @cached_property
    def admin(self) -> Any:
        """kafka-python's admin client."""
        from kafka import KafkaAdminClient

        with explained(self._settings):
            return KafkaAdminClient(**self._settings.python())

    def _offsets(self, moments: Mapping[Any, int]) -> dict[Any, int]:
        """Partition -> offset at its moment, as consumers of committed events see it."""
        # A consumer would ask from memory and not know partitions that were added since.
        found = self.admin.list_partition_offsets(dict(moments), "read_committed")
        return {place: at.offset for place, at in found.items()}


def joined(batches: Sequence[EventBatch]) -> EventBatch:
    """Consecutive batches of one partition as one."""
    if len(batches) == 1:
        return batches[0]
    events = pa.concat_batches([each.events for each in batches])
    return EventBatch(batches[0].partition, events, batches[-1].next_offset)


def _clipped(batch: EventBatch, end: int) -> EventBatch:
    """The batch without events from `end` on."""
    if batch.next_offset <= end:
        return batch
    offsets = batch.events["offset"].to_pylist()
    count = sum(offset < end for offset in offsets)
    return EventBatch(batch.partition, batch.events.slice(0, count), end)


def _place(topic: str, partition: int) -> Any:
    from kafka import TopicPartition

    return TopicPartition(topic, partition)


_EARLIEST, _LATEST = -2, -1
"""Moments that Kafka takes for the first offset and for the end."""
_REPLICA_NOT_AVAILABLE = 9
_UNKNOWN_TOPIC = 3
"""Kafka's error code UNKNOWN_TOPIC_OR_PARTITION."""
