"""Reading new events of the embedded event log, which has no consumer groups.

Belongs here: the `Client` of the event log. Not here: Kafka's clients and groups (kafka/).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Protocol

from meshhouse.errors import MeshError
from meshhouse.events.source import EventBatch, Rebalance, Topic

_LOOK_SECONDS = 0.1
_BATCH_BYTES = 8 * 1024 * 1024


class Readable(Protocol):
    """The methods of `EventLog` that `LogClient` needs."""

    def describe(self, topic: str) -> Topic:
        """Partitions and offsets of a topic now."""
        ...

    def read(
        self, topic: str, ranges: Mapping[int, tuple[int, int]], max_bytes: int
    ) -> Iterator[EventBatch]:
        """Events of `ranges`; see `Source.read`."""
        ...


class LogClient:
    """Reads all partitions of a topic of the event log; there are no other members."""

    def __init__(self, log: Readable, topic: str) -> None:
        self._log = log
        self._topic = topic
        self._offsets: dict[int, int] = {}
        self._rebalance: Rebalance | None = None
        self._topic_id = ""

    def assign(self, offsets: Mapping[int, int]) -> None:
        """See `Client`."""
        self._offsets = dict(offsets)

    def subscribe(self, group: str, rebalance: Rebalance) -> None:
        """See `Client`."""
        self._rebalance = rebalance

    def seek(self, offsets: Mapping[int, int]) -> None:
        """See `Client`."""
        self._offsets.update(offsets)

    def poll(self, seconds: float) -> list[EventBatch]:
        """See `Client`."""
        deadline = time.monotonic() + seconds
        while True:
            described = self._log.describe(self._topic)
            partitions = described.partitions
            if self._topic_id not in ("", described.topic_id):
                raise MeshError(
                    f"Topic `{self._topic}` was deleted and created again while it was landed. "
                    "No event of the new topic was landed. Run the same command again."
                )
            self._topic_id = described.topic_id
            new = [each for each in partitions if each not in self._offsets]
            if new and self._rebalance is not None:
                self._offsets.update(self._rebalance.assigned(new))
            ranges = {
                each: (start, partitions[each].end)
                for each, start in self._offsets.items()
                if start < partitions[each].end
            }
            if ranges:
                batch = next(self._log.read(self._topic, ranges, _BATCH_BYTES))
                self._offsets[batch.partition] = batch.next_offset
                return [batch]
            if time.monotonic() >= deadline:
                return []
            time.sleep(_LOOK_SECONDS)

    def commit(self, offsets: Mapping[int, int]) -> None:
        """See `Client`; does nothing, because the raw table holds the offsets."""

    def close(self) -> None:
        """See `Client`."""
