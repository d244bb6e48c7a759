"""What all extractions have in common.

Belongs here: the task, the result, whether the topic agrees with what was kept, and sending a
parcel. Not here: what is new (new_files.py, new_rows.py, new_records.py), or the state on disk
(kept.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar
from uuid import uuid4

from meshhouse.errors import MeshError
from meshhouse.events import open_writer, uses_kafka
from meshhouse.events.batches import Event
from meshhouse.events.kafka.writer import KafkaLines
from meshhouse.events.tail.tail import LogProducer
from meshhouse.extraction.kept import Kept, Sending
from meshhouse.extraction.parcel import send_parcel, write_parcel
from meshhouse.repository import RawTable, Repository
from meshhouse.repository.model import Extraction

K = TypeVar("K", bound=Kept)


@dataclass(frozen=True)
class Extracted:
    """The result of one run for one raw table."""

    raw: RawTable
    files: int
    events: int
    known: int
    """Files that earlier runs took."""
    unsettled: tuple[str, ...]
    """Files that are still being written; the next run takes them."""
    changed: tuple[str, ...]
    """Files whose content is not what was taken; nothing of them was sent."""
    complete: bool
    """False if the run was stopped before the end."""
    notes: tuple[str, ...] = ()
    """Sentences about rows or records that were not sent, or cannot land."""
    unusable: str | None = None
    """Rows of a table that can never be sent as they are, and what to do about them."""

    def refusal(self) -> str | None:
        """What a person has to do about files or rows that were not sent."""
        if self.unusable:
            return f"{self.raw.relation}: {self.unusable}"
        if not self.changed:
            return None
        shown = ", ".join(self.changed[:5]) + (", ..." if len(self.changed) > 5 else "")
        return (
            f"{self.raw.relation}: changed after they were taken, so their new content was not "
            f"sent: {shown}. Restore each file, or give the new content another name."
        )


@dataclass(frozen=True)
class Task(Generic[K]):
    """What one run extracts, and whom it asks and answers meanwhile."""

    repository: Repository
    raw: RawTable
    spec: Extraction
    kept: K
    """The state on disk."""
    stopped: Callable[[], bool]
    """Asked between files and batches; True stops the run."""
    say: Callable[[str], None]
    """Called with messages of one line."""
    accept: Collection[str] = ()
    """Losses that the user accepts explicitly: `lost-records`."""


class StoppedError(Exception):
    """The run was asked to stop while a parcel was written."""


class Run(Generic[K]):
    """One run for one raw table."""

    def __init__(self, task: Task[K]) -> None:
        root = task.repository.root
        self._raw, self._spec, self._kept = task.raw, task.spec, task.kept
        self._stopped, self._say = task.stopped, task.say
        self._target = open_writer(root, task.repository.home)
        is_kafka = uses_kafka(root)
        self._longest = KafkaLines.max_event_bytes if is_kafka else LogProducer.max_event_bytes
        self._producer = f"extract:{task.raw.relation}"
        self._parcels = self._events = 0

    def _finish_begun(self) -> bool:
        """Sends the rest of the parcel that an earlier run began; False if it was stopped."""
        sending = self._kept.sending()
        if sending is None and not self._kept.sent() and not self._has_topic():
            return True  # the first parcel creates the topic, if the origin can be read
        self._create_topic()
        self._agree(sending)
        self._sweep(sending)
        return sending is None or self._send(sending)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Begins messages of errors with the raw table."""
        try:
            yield
        except MeshError as error:
            if str(error).startswith(self._raw.relation):
                raise
            raise type(error)(f"{self._raw.relation}: {error}") from error

    def _has_topic(self) -> bool:
        return self._raw.topic in self._target.topics()

    def _create_topic(self) -> None:
        if not self._has_topic():
            self._target.create_topic(self._raw.topic, 1)

    def _partitions(self) -> int:
        self._create_topic()
        return len(self._target.describe(self._raw.topic).partitions)

    def _new_parcel(self) -> Path:
        return self._kept.folder / f"{self._kept.stem}.{uuid4().hex}.arrow"

    def _written(self, path: Path, events: Iterator[Event]) -> tuple[tuple[int, int], ...] | None:
        """Writes a parcel; None if the run was stopped meanwhile."""
        try:
            return write_parcel(path, events, self._partitions())
        except StoppedError:
            path.unlink(missing_ok=True)
            return None
        except (MeshError, OSError) as error:
            path.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise MeshError(f"{path} cannot be written: {error.strerror or error}.") from error
            raise

    def _agree(self, sending: Sending | None) -> None:
        """Refuses to go on if the topic holds other events than those that were sent."""
        topic, sent = self._raw.topic, self._kept.sent()
        begun = sending.events() if sending else {}
        held = self._target.describe(topic).partitions
        for number in sorted(held.keys() | sent.keys() | begun.keys()):
            low = sent.get(number, 0)
            bounds = held.get(number)
            # A cluster has removed all events by their age: nothing is left to compare.
            if bounds and bounds.begin == bounds.end > 0 and sending is None:
                continue
            stored = 0
            if bounds:
                position = self._target.producer_position(topic, number, self._producer)
                stored = position.next_sequence
            if not low <= stored <= low + begun.get(number, 0):
                raise MeshError(
                    f"Partition {number} of topic {topic} holds {stored:,} extracted events of "
                    f"{self._raw.relation}, but {self._kept.path} says {low:,}: the topic was "
                    "created again, or one of the two was restored from a copy or is missing. "
                    "Restore the missing one. To extract everything again, delete the topic and "
                    "that file, and land with `--accept new-topic`."
                )

    def _sweep(self, sending: Sending | None) -> None:
        """Removes parcels of runs that ended before they kept them."""
        for path in self._kept.folder.glob(f"{self._kept.stem}.*.arrow"):
            if sending is None or path.name != sending.parcel:
                path.unlink()

    def _send(self, sending: Sending) -> bool:
        """Sends a parcel that is kept; False if the run was stopped before its end."""
        path = self._kept.folder / sending.parcel
        if not path.exists():
            raise MeshError(
                f"{path} is gone, and it holds events of {sending.taken.name} that might not be in "
                f"topic {self._raw.topic} yet. Restore it from a copy."
            )
        if not send_parcel(
            path, sending, self._target, self._raw.topic, self._producer, self._kept.sent(),
            self._stopped,
        ):  # fmt: skip
            return False
        self._kept.finish(sending)
        path.unlink()
        self._parcels += 1
        self._events += sending.taken.events
        self._say(f"sent      {sending.taken.name}, events: {sending.taken.events:,}")
        return True
