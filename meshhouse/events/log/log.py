"""The embedded event log: a replacement for Kafka, in files.

Belongs here: topics, and the log as producers and landing use it. Not here: one partition
(partition.py), or the bytes on disk (frames.py).

    <root>/cluster.json                              {"cluster_id": ...}
    <root>/lock                                      held while topics are created or deleted
    <root>/<topic>/topic.json                        {"topic_id", "partitions", "created"}
    <root>/<topic>/<partition>/lock                  held by the producer that appends
    <root>/<topic>/<partition>/<base offset>.seg     frames, a new file about every 64 MiB

As in Kafka: events with the same key keep their order, a producer that repeats events stores none
of them twice, and a reader sees only complete events. When `append` returns, its events are on the
disk. Any number of processes may read and write.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc

from meshhouse.errors import MeshError, UsageError
from meshhouse.events.batches import Event, from_rows, stored_batches
from meshhouse.events.errors import UnknownTopic, explained
from meshhouse.events.log.follow import LogClient
from meshhouse.events.log.frames import Position
from meshhouse.events.log.partition import PartitionLog
from meshhouse.events.log.partitioner import by_partition
from meshhouse.events.source import Client, EventBatch, Topic
from meshhouse.files import replace, sync
from meshhouse.locks import folder_lock

_SCAN_BYTES = 8 * 1024 * 1024
# Kafka's rule, without names that begin with a dot: hidden folders are not topics.
_LEGAL_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,248}")
_RESERVED = {"cluster.json", "lock"}
_REMEDY = "Make the folder writable and make room, or choose another folder for the mesh's data."


class EventLog:
    """Topics in one folder; see `meshhouse.events.source.Source` for reading them."""

    def __init__(self, root: Path) -> None:
        """`root` need not exist: `create_topic` creates it."""
        self._root = root
        self._partitions: dict[tuple[str, int], PartitionLog] = {}

    def topics(self) -> list[str]:
        """Names of all topics, sorted."""
        names = (path.parent.name for path in self._root.glob("*/topic.json"))
        return sorted(name for name in names if _LEGAL_NAME.fullmatch(name))

    def create_topic(self, name: str, partitions: int = 1) -> None:
        """Creates an empty topic; does nothing if it exists with as many partitions.

        Raises:
            UsageError: the name cannot name a topic, or the topic exists with another number of
                partitions.
        """
        if not _LEGAL_NAME.fullmatch(name) or name in _RESERVED:
            raise UsageError(
                f"`{name}` cannot be the name of a topic. Use up to 249 letters, digits, dots, "
                "underscores and hyphens; the first must not be a dot."
            )
        if partitions < 1:
            raise UsageError(f"Topic {name} needs at least one partition, not {partitions}.")
        with explained("create a topic in", self._root, _REMEDY):
            self._root.mkdir(parents=True, exist_ok=True)
            with folder_lock(self._root / "lock"):
                self._sweep()
                if not (self._root / "cluster.json").exists():
                    replace(self._root / "cluster.json", json.dumps({"cluster_id": uuid4().hex}))
                if name in self.topics():
                    self._check_partitions(name, partitions)
                else:
                    self._make(name, partitions)

    def _check_partitions(self, name: str, wanted: int) -> None:
        held = self._facts(name)["partitions"]
        if held != wanted:
            raise UsageError(
                f"Topic {name} exists with {held} partitions and cannot get {wanted}: keys would "
                "change their partition. Keep the number, or delete the topic first."
            )

    def _make(self, name: str, partitions: int) -> None:
        # The topic is made in a draft folder and becomes visible by one rename, complete.
        draft = self._root / f"~{uuid4().hex}"
        for partition in range(partitions):
            (draft / str(partition)).mkdir(parents=True)
        facts = {
            "topic_id": uuid4().hex,
            "partitions": partitions,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        replace(draft / "topic.json", json.dumps(facts))
        draft.rename(self._root / name)
        sync(self._root)

    def delete_topic(self, name: str) -> None:
        """Deletes a topic and its events; a later topic of this name gets another id.

        Raises:
            UnknownTopic: there is no such topic.
        """
        facts = self._facts(name)
        folder = self._root / name
        with (
            explained("delete", folder, _REMEDY),
            folder_lock(self._root / "lock"),
            ExitStack() as held,
        ):
            for partition in range(facts["partitions"]):
                held.enter_context(folder_lock(folder / str(partition) / "lock"))
            folder.rename(self._root / f"~{uuid4().hex}")
            sync(self._root)
            self._sweep()

    def _sweep(self) -> None:
        # Drafts and deletions that did not finish; no topic's name holds `~`.
        for leftover in self._root.glob("~*"):
            if leftover.is_dir():
                shutil.rmtree(leftover)

    def describe(self, topic: str) -> Topic:
        """Partitions and offsets of a topic now.

        Raises:
            UnknownTopic: there is no such topic.
        """
        facts = self._facts(topic)
        return Topic(
            name=topic,
            cluster_id=_json(self._root / "cluster.json", "cluster_id")["cluster_id"],
            topic_id=facts["topic_id"],
            partitions={
                number: self._open(topic, number, facts).bounds()
                for number in range(facts["partitions"])
            },
        )

    def read(
        self, topic: str, ranges: Mapping[int, tuple[int, int]], max_bytes: int
    ) -> Iterator[EventBatch]:
        """Events of `ranges`, one partition after another; see `Source.read`.

        Raises:
            UnknownTopic: there is no such topic.
            OffsetOutOfRange: a partition does not hold its range.
            CorruptSegment: stored events are damaged.
        """
        facts = self._facts(topic)
        for number, (begin, end) in sorted(ranges.items()):
            for events in self._open(topic, number, facts).read(begin, end, max_bytes):
                yield EventBatch(number, events, events["offset"][-1].as_py() + 1)

    def offsets_at(self, topic: str, moment: datetime) -> dict[int, int]:
        """Per partition, the first offset whose event is not older than a timestamp."""
        held = self.describe(topic).partitions
        found = {number: each.end for number, each in held.items()}
        for number, each in held.items():
            if each.begin == each.end:
                continue
            for batch in self.read(topic, {number: (each.begin, each.end)}, _SCAN_BYTES):
                events = batch.events
                late = pc.index(pc.greater_equal(events["timestamp"], pa.scalar(moment)), True)
                if late.as_py() >= 0:
                    found[number] = events["offset"][late.as_py()].as_py()
                    break
        return found

    def follow(self, topic: str, group: str) -> Client:
        """A reader of new events without an end; the group has no effect here."""
        return LogClient(self, topic)

    def mirror(self, topic: str, group: str, offsets: Mapping[int, int]) -> None:
        """Does nothing: no tool but the mesh shows the lag of the log."""

    def append(
        self,
        topic: str,
        partition: int,
        events: pa.RecordBatch | pa.Table,
        producer: str,
        sequence: int,
    ) -> int:
        """Stores events exactly once and durably.

        Args:
            topic: a topic that exists.
            partition: the partition's number.
            events: columns `timestamp` and `value`, optionally `key` and `headers`.
            producer: the producer's name; the events of each producer are counted separately.
            sequence: how many events this producer wrote to this partition before these. Events
                that the log already holds are skipped.

        Returns:
            How many of the events were new.

        Raises:
            SequenceGap: the log lacks events of this producer before `sequence`.
            LogUnavailable: the disk is full or read-only. Frames that are complete stay; the same
                call stores the rest.
        """
        target = self._open(topic, partition, self._facts(topic))
        return target.append(list(stored_batches(events)), producer, sequence)

    def append_events(
        self,
        topic: str,
        events: Iterable[Event] | pa.RecordBatch | pa.Table,
        producer: str,
        partition: int | None = None,
    ) -> int:
        """Stores new events, each in the partition that Kafka would choose for its key.

        A repeated call stores the events twice. With `partition`, all go to that one.
        """
        facts = self._facts(topic)
        if not isinstance(events, pa.RecordBatch | pa.Table):
            events = from_rows(events)
        if partition is not None:
            target = self._open(topic, partition, facts)
            return target.append(list(stored_batches(events)), producer, None)
        targets = [self._open(topic, n, facts) for n in range(facts["partitions"])]
        written = 0
        for batch in list(stored_batches(events)):
            turn = sum(target.bounds().end for target in targets)
            for number, part in by_partition(batch, len(targets), nulls_from=turn):
                written += targets[number].append([part], producer, None)
        return written

    def next_sequence(self, topic: str, partition: int, producer: str) -> int:
        """How many events of a producer a partition holds: its next `sequence`."""
        return self.producer_position(topic, partition, producer).next_sequence

    def producer_position(self, topic: str, partition: int, producer: str) -> Position:
        """A producer's position in a partition, with the timestamp of its last event."""
        return self._open(topic, partition, self._facts(topic)).producer(producer)

    def _facts(self, topic: str) -> dict:
        if topic not in _RESERVED and _LEGAL_NAME.fullmatch(topic):
            path = self._root / topic / "topic.json"
            if path.exists():
                return _json(path, "topic_id", "partitions")
        raise UnknownTopic(topic, self.topics(), f"the event log {self._root}")

    def _open(self, topic: str, partition: int, facts: dict) -> PartitionLog:
        if partition not in range(facts["partitions"]):
            raise UsageError(
                f"Topic {topic} has no partition {partition}; it has {facts['partitions']}, "
                "counted from 0."
            )
        # By topic id, not by name: a topic that was created again must not use the old index.
        return self._partitions.setdefault(
            (facts["topic_id"], partition), PartitionLog(self._root / topic / str(partition))
        )


def _json(path: Path, *required: str) -> dict:
    with explained("read", path, "Make it readable."):
        text = path.read_text(encoding="utf-8")
    try:
        facts = json.loads(text)
    except ValueError:
        facts = {}
    if not isinstance(facts, dict) or set(required) - set(facts):
        raise MeshError(
            f"{path} is damaged: it must be JSON with {', '.join(required)}. Restore it from a "
            "copy, or delete its folder and write the events again (`mesh replay`)."
        )
    return facts
