"""A parcel: events of a file, a table or a stream, on disk until all of them are in the topic.

Belongs here: writing and sending a parcel. Not here: which parcel is being sent (kept.py).

A parcel is written before its first event is sent. So the same events go to the same partitions in
the same order after a kill, whatever has happened to their origin since. Each partition counts a
producer's events and skips those that it holds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from meshhouse.events.batches import STORED_SCHEMA, Event, from_rows
from meshhouse.events.log.partitioner import by_partition
from meshhouse.extraction.kept import Sending
from meshhouse.files import sync

_BYTES = 4 << 20
_EVENTS = 10_000


class Target(Protocol):
    """What a parcel needs of the log or the cluster."""

    def append(
        self, topic: str, partition: int, events: pa.RecordBatch, producer: str, sequence: int
    ) -> int:
        """Stores the events that the partition does not hold yet; returns how many."""
        ...


def write_parcel(
    path: Path, events: Iterable[Event], partitions: int
) -> tuple[tuple[int, int], ...]:
    """Writes events to the disk; returns partition and number of events of each piece."""
    pieces: list[tuple[int, int]] = []
    turn = 0
    with path.open("wb") as file:
        with pa.ipc.new_file(file, STORED_SCHEMA) as writer:
            for batch in _batches(events):
                for partition, part in by_partition(batch, partitions, nulls_from=turn):
                    pieces.append((partition, part.num_rows))
                    writer.write_batch(part)
                turn += batch.column("key").null_count
        file.flush()
        os.fsync(file.fileno())
    sync(path.parent)
    return tuple(pieces)


def send_parcel(
    path: Path,
    sending: Sending,
    target: Target,
    topic: str,
    producer: str,
    sent: Mapping[int, int],
    stopped: Callable[[], bool],
) -> bool:
    """Sends what the topic does not hold yet; returns False if `stopped` came before the end."""
    following = dict(sent)
    with pa.memory_map(str(path)) as file:
        content = pa.ipc.open_file(file)
        for number, (partition, events) in enumerate(sending.pieces):
            if stopped():
                return False
            sequence = following.get(partition, 0)
            target.append(topic, partition, content.get_batch(number), producer, sequence)
            following[partition] = sequence + events
    return True


def _batches(events: Iterable[Event]) -> Iterator[pa.RecordBatch]:
    waiting: list[Event] = []
    size = 0
    for event in events:
        waiting.append(event)
        size += len(event[1] or b"")
        if size >= _BYTES or len(waiting) >= _EVENTS:
            yield from_rows(waiting)
            waiting, size = [], 0
    if waiting:
        yield from_rows(waiting)
