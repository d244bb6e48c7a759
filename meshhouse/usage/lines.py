"""New lines of a file of reads.

Belongs here: which lines of a file are new, whether some are lost, and when they can have been
written. Not here: what a line says (reads.py), or the table that keeps it (store.py).

A line says when it was written, by a clock that may be wrong. Nobody could have written it before
the last time that the folder was folded, or after now, so its time is moved into between.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from meshhouse.usage.reads import Read, from_line, unknown
from meshhouse.usage.record import MOST_BYTES

KEPT = timedelta(days=400)
"""How long rows are kept: a year, and a month to compare it with the year before."""
_AT_ONCE = 10_000
"""Lines whose reads are in memory at once: a full file of 300,000 takes 400 MiB otherwise."""


@dataclass(frozen=True)
class Lines:
    """What is new in a file."""

    lines: list[bytes]
    """Whole lines."""
    end: int
    """The position after them."""
    lost: str = ""
    """Why others may be lost; empty if none are."""

    def batches(self) -> Iterator[list[Read]]:
        """The reads of the lines, some at a time."""
        for first in range(0, len(self.lines), _AT_ONCE):
            some = self.lines[first : first + _AT_ONCE]
            yield [read for line in some for read in from_line(line)]
        if self.lost:
            yield [unknown(self.lost)]

    def reads(self) -> Iterator[Read]:
        """The reads of the lines."""
        return (each for some in self.batches() for each in some)


def new_lines(path: Path, position: int) -> Lines | None:
    """What a file has after a position; None if it has more, which cannot be read."""
    try:
        about = path.lstat()
        if stat.S_ISREG(about.st_mode) and about.st_size == position:
            return Lines([], position)  # also of another user's file
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with open(os.open(path, flags), "rb") as file:  # noqa: PTH123 - it has no flags
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                return None
            is_shorter = about.st_size < position
            begin = 0 if is_shorter else position
            file.seek(begin)
            content = file.read(max(2 * MOST_BYTES - begin, 0))  # nobody records more
    except FileNotFoundError:  # another process has folded and removed it
        return Lines([], position)
    except OSError:
        return None
    if len(content) > MOST_BYTES and b"\n" not in content:
        return None
    end = begin + content.rfind(b"\n") + 1
    lost = "file that became shorter" if is_shorter else ""
    if begin < MOST_BYTES <= end:
        lost = "full file"
    return Lines(content[: end - begin].splitlines(), end, lost)


def dated(reads: Iterable[Read], folded: datetime | None, now: datetime) -> list[Read]:
    """Reads of new lines, at a time when they can have been written."""
    return [
        each if each.at == (at := _possible(each.at, folded, now)) else replace(each, at=at)
        for each in reads
    ]


def _possible(at: datetime, folded: datetime | None, now: datetime) -> datetime:
    if folded is None:  # before the first time, any day of those that are kept is possible
        folded = at if at >= now - KEPT else now
    return min(max(at, folded), now)
