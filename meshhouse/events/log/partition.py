"""One partition on disk: segments in order, one producer at a time, any number of readers.

Belongs here: appending exactly once and durably, and reading by offset. Not here: the bytes of a
frame (frames.py), or topics (log.py).
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import RLock

import pyarrow as pa

from meshhouse.events.batches import joined, split, with_offsets
from meshhouse.events.errors import CorruptSegment, OffsetOutOfRange, SequenceGap, explained
from meshhouse.events.log.frames import Position, encode
from meshhouse.events.log.segment import SUFFIX, Segment, segment_path
from meshhouse.events.source import Partition
from meshhouse.files import create, sync, write_at
from meshhouse.locks import folder_lock

SEGMENT_BYTES = 64 << 20
FRAME_BYTES = 4 << 20
"""Most bytes of values in a frame, before compression. A reader decodes a frame at once."""

_READ_REMEDY = "Make it readable, or check that its topic still exists."
_WRITE_REMEDY = (
    "Make room or make the folder writable, then run the same command again: it continues "
    "after the last event that was stored."
)


class PartitionLog:
    """The events of one partition, in the segment files of `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock_path = folder / "lock"
        self._known: dict[int, Segment] = {}
        self._recovered = False
        self._writing = False
        self._guard = RLock()  # one instance may serve a reading and a writing thread

    def bounds(self) -> Partition:
        """The offsets that can be read now."""
        segments = self._segments()
        if not segments:
            return Partition(0, 0)
        self._follow(segments[-1])
        return Partition(segments[0].base_offset, segments[-1].end_offset)

    def producer(self, name: str) -> Position:
        """A producer's position."""
        return self._producers().get(name, Position())

    def read(self, begin: int, end: int, max_bytes: int) -> Iterator[pa.RecordBatch]:
        """Events `begin` to before `end` in `EVENT_SCHEMA`, see `Source.read`.

        Raises:
            OffsetOutOfRange: the partition does not hold all of them.
            CorruptSegment: one of them is damaged.
        """
        if begin >= end:
            return iter(())
        held = self.bounds()
        if begin < held.begin or end > held.end:
            raise OffsetOutOfRange(str(self._folder), (begin, end), (held.begin, held.end))
        return joined(self._stored(begin, end), max_bytes)

    def _stored(self, begin: int, end: int) -> Iterator[pa.RecordBatch]:
        segments = self._segments()
        first = bisect_right(segments, begin, key=lambda segment: segment.base_offset) - 1
        for place, segment in enumerate(segments[first:], start=first):
            if segment.base_offset >= end:
                return
            self._follow(segment)
            if place + 1 < len(segments):
                _check_seam(segment, segments[place + 1])
            with explained("read", segment.path, _READ_REMEDY):
                for offset, events in segment.events(begin, end):
                    yield with_offsets(events, offset)

    def append(self, batches: Iterable[pa.RecordBatch], producer: str, sequence: int | None) -> int:
        """Stores the events of `batches` that are not stored yet; returns how many.

        With `sequence` None, all of them are new.

        Raises:
            SequenceGap: events before `sequence` are missing.
            LogUnavailable: the disk refuses; complete frames stay.
        """
        with (
            self._guard,
            explained("write to", self._folder, _WRITE_REMEDY),
            folder_lock(self._lock_path),
        ):
            self._writing = True
            try:
                self._recover()
                reached = self.producer(producer).next_sequence
                sequence = reached if sequence is None else sequence
                if sequence > reached:
                    raise SequenceGap(str(self._folder), producer, reached, sequence)
                return self._write(_after(batches, reached - sequence), producer, reached)
            finally:
                self._writing = False

    def _recover(self) -> None:
        # The last frame of a producer that was killed might not be on the disk. Appending after a
        # damaged frame would hide the damage, and counting an unsynced frame as stored would
        # promise durability that it does not have.
        segments = self._segments()
        if segments and not self._recovered:
            self._follow(segments[-1])
            segments[-1].verify_last_frame()
            sync(segments[-1].path)
        self._recovered = True

    def _write(self, batches: Iterable[pa.RecordBatch], producer: str, sequence: int) -> int:
        written = 0
        for batch in batches:
            for events in split(batch, FRAME_BYTES):
                self._write_frame(events, producer, sequence + written)
                written += events.num_rows
        if written:
            sync(self._segments()[-1].path)
        return written

    def _write_frame(self, events: pa.RecordBatch, producer: str, sequence: int) -> None:
        segment = self._writable_segment()
        earlier = None if segment.frames else self._producers()
        frame = encode(events, segment.end_offset, producer, sequence, earlier)
        descriptor = os.open(segment.path, os.O_WRONLY)
        try:
            os.ftruncate(descriptor, segment.end_position)  # removes a torn frame, if there is one
            write_at(descriptor, frame, segment.end_position)
        except OSError:
            with suppress(OSError):  # readers skip a torn frame anyway
                os.ftruncate(descriptor, segment.end_position)
            raise
        finally:
            os.close(descriptor)
        segment.refresh()

    def _writable_segment(self) -> Segment:
        segments = self._segments()
        if segments:
            self._follow(segments[-1])
            if segments[-1].end_position < SEGMENT_BYTES:
                return segments[-1]
            sync(segments[-1].path)
        create(segment_path(self._folder, segments[-1].end_offset if segments else 0))
        return self._segments()[-1]

    def _segments(self) -> list[Segment]:
        with self._guard, explained("read", self._folder, _READ_REMEDY):
            paths = (path for path in self._folder.iterdir() if path.suffix == SUFFIX)
            bases = sorted(int(path.stem) for path in paths if path.stem.isdecimal())
            for base in bases:
                if base not in self._known:
                    self._known[base] = Segment(segment_path(self._folder, base))
            return [self._known[base] for base in bases]

    def _producers(self) -> dict[str, Position]:
        # The first frame of a segment holds the positions before it. A segment is empty if its
        # producer was killed before it wrote the first frame.
        for segment in reversed(self._segments()):
            self._follow(segment)
            if segment.frames:
                return segment.producers
        return {}

    def _follow(self, segment: Segment) -> None:
        with self._guard, explained("read", segment.path, _READ_REMEDY):
            try:
                segment.refresh()
            except CorruptSegment:
                if self._writing:
                    raise
                # While a producer replaces a torn frame, a reader can see a part of each frame. It
                # is damage only if it is still wrong while no producer writes.
                with folder_lock(self._lock_path, exclusive=False):
                    segment.refresh()


def _check_seam(segment: Segment, following: Segment) -> None:
    if segment.torn:
        problem = "an incomplete frame is followed by another segment"
    elif segment.end_offset != following.base_offset:
        problem = (
            f"the segment ends before offset {segment.end_offset}, the next one begins at "
            f"{following.base_offset}"
        )
    else:
        return
    raise CorruptSegment(segment.path, segment.end_position, problem)


def _after(batches: Iterable[pa.RecordBatch], skipped: int) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if skipped < batch.num_rows:
            yield batch.slice(skipped)
        skipped = max(skipped - batch.num_rows, 0)
