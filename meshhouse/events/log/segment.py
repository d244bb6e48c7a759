"""The index of one segment file: its frames, without their payloads.

Belongs here: building the index, and extending it when the file grows. Not here: the order of
segments, or writing (partition.py).
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from meshhouse.events.errors import CorruptSegment
from meshhouse.events.log.frames import Frame, Position, load, scan

SUFFIX = ".seg"


def segment_path(folder: Path, base_offset: int) -> Path:
    """The path of the segment that begins at `base_offset`."""
    return folder / f"{base_offset:020d}{SUFFIX}"


class Segment:
    """The complete frames of a file. `refresh` reads those that were added."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.base_offset = int(path.stem)
        self._forget()

    def _forget(self) -> None:
        self.frames: list[Frame] = []
        self.producers: dict[str, Position] = {}
        """Position of each producer at the end of this segment; empty without frames."""
        self.end_offset = self.base_offset
        self.end_position = 0
        self.size = 0

    @property
    def torn(self) -> bool:
        """Whether the file ends with an incomplete frame."""
        return self.size > self.end_position

    def refresh(self) -> None:
        """Reads the frames that were added since the last call.

        Raises:
            CorruptSegment: the file does not consist of frames in their order.
        """
        with self._open() as descriptor:
            size = os.fstat(descriptor).st_size
            if size < self.end_position:  # restored from an older copy
                self._forget()
            if size > self.end_position:
                found = list(scan(descriptor, self.path, self.end_position, size))
                # Since the size was read, a producer may have cut off a torn frame and begun
                # another one. Frames beyond the present size are not complete.
                size = os.fstat(descriptor).st_size
                for frame in found:
                    if frame.end <= size:
                        self._add(frame)
            self.size = size

    def _add(self, frame: Frame) -> None:
        if frame.base_offset != self.end_offset:
            raise CorruptSegment(
                self.path,
                frame.position,
                f"offset {self.end_offset} should follow, but {frame.base_offset} does",
            )
        for name, reached in (frame.producers or {}).items():
            self.producers.setdefault(name, Position(*reached))
        self.producers[frame.producer] = Position(
            frame.sequence + frame.count, frame.last_timestamp
        )
        self.frames.append(frame)
        self.end_offset = frame.base_offset + frame.count
        self.end_position = frame.end

    def events(self, begin: int, end: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Batches of the offsets from `begin` to before `end`, each with its first offset."""
        first = bisect_right(self.frames, begin, key=lambda frame: frame.base_offset) - 1
        with self._open() as descriptor:
            for frame in self.frames[max(first, 0) :]:
                if frame.base_offset >= end:
                    return
                events = load(descriptor, self.path, frame)
                start = max(begin - frame.base_offset, 0)
                stop = min(end - frame.base_offset, frame.count)
                if start < stop:
                    yield frame.base_offset + start, events.slice(start, stop - start)

    def verify_last_frame(self) -> None:
        """Reads the last frame with its payload.

        Raises:
            CorruptSegment: the frame is damaged.
        """
        if self.frames:
            with self._open() as descriptor:
                load(descriptor, self.path, self.frames[-1])

    @contextmanager
    def _open(self) -> Iterator[int]:
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
