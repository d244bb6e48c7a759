"""A growing log file, read line by line through rotation and truncation.

Belongs here: which files hold the lines, in which order, and reading each line once. Not
here: where lines go and how far they went (tail.py).

Both modes of logrotate leave lines that nobody read yet beside the file:

    create         app.log becomes app.log.1, a new app.log appears: follow the inode
    copytruncate   app.log.1 is a new copy, app.log shrinks: find the copy by its first bytes

What lies between two such moments is a *generation* of the file.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from uuid import uuid4

from meshhouse.events.errors import explained
from meshhouse.events.source import SKIPPED

BATCH_BYTES = 1 << 20
BATCH_LINES = 1_000
HEAD_BYTES = 1024
"""The first bytes of a file tell it from another one that was given its inode."""
_QUOTED_BYTES = 500
"""Of a line that is too long, so that a person finds out what wrote it."""
SETTLED_SECONDS = 5.0
"""After so long without a write, the last line of a file that was rotated away is whole."""
# Names that end in a count or a date, as logrotate and the loggers of most languages give.
_ROTATED = r"[.-](?:(?P<count>\d{1,4})|\d[\d._T:-]*|old)"


@dataclass(frozen=True)
class Place:
    """A place between two lines of one generation of a file."""

    generation: str
    device: int
    inode: int
    head_size: int
    head_sha256: str
    """Of the first `head_size` bytes."""
    modified_ns: int
    """When the file had last been written: later rotated files are later generations."""
    offset: int
    sequence: int
    """How many lines were shipped before this place, in all generations."""


@dataclass(frozen=True)
class Batch:
    """Consecutive lines of one generation, each with its newline if it has one."""

    lines: tuple[bytes, ...]
    begin: Place
    end: Place
    is_notice: bool = False
    """`lines` is one line that says why the line between `begin` and `end` was skipped."""


_Age = tuple[bool, int, int, str]


@dataclass(frozen=True)
class _Found:
    path: Path
    info: os.stat_result
    is_live: bool
    is_rotated: bool
    count: int
    """7 of app.log.7: the higher, the older."""

    @property
    def age(self) -> _Age:
        """Sorts generations, the oldest first; times may be equal, their ticks are coarse."""
        return self.is_live, self.info.st_mtime_ns, -self.count, self.path.name


class _Moved(Exception):
    """A file was renamed between being found and being opened: one has to look again."""


class LineReader:
    """Reads the lines of a file, generation after generation."""

    def __init__(
        self,
        path: Path,
        place: Place | None,
        longest: int,
        say: Callable[[str], None],
        *,
        sequence: int = 0,
        from_end: bool = False,
    ) -> None:
        """`place` is where to go on; None for the first time, with `sequence` and `from_end`."""
        self.place = place
        self._path = path
        self._longest = longest
        self._say = say
        self._sequence = sequence
        self._from_end = from_end
        self._descriptor: int | None = None
        self._gone: Place | None = None
        self._head = b""
        self._modified_ns = 0
        self._searched = ("", 0, 0)
        """Generation, where a line begins, and up to where it has no newline."""

    def close(self) -> None:
        """Lets go of the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def next(self) -> Batch | None:
        """The next lines, at most 1,000 and 1 MiB of them; None if there is none now.

        A line that is longer than an event may be is skipped: in its place comes a notice
        that no format accepts, so that landing keeps it among the rejected events.

        Raises:
            LogUnavailable: the file may not be read.
        """
        with explained("read", self._path, "Make it readable, then start again: no line is lost."):
            while self._is_open():
                # First who comes next, then the lines: once its successor is written to,
                # nothing is added to this one.
                successor, is_whole = self._outlook()
                data = self._read()
                too_long = self._too_long(data, is_whole)
                # Checked after reading: what was read before a truncation is still right.
                if not self._is_same():
                    self.close()
                elif too_long:
                    begin, self.place = self.place, self._after(too_long, 1)
                    return Batch((self._notice(data, begin, too_long),), begin, self.place, True)
                elif lines := self._lines(data, is_whole):
                    begin, self.place = self.place, self._after(sum(map(len, lines)), len(lines))
                    return Batch(lines, begin, self.place)
                elif successor is None:
                    return None
                else:
                    with suppress(_Moved):
                        self._enter(*successor)
        return None

    def _is_open(self) -> bool:
        while self._descriptor is None:
            try:
                if not self._open():
                    return False
            except _Moved:
                continue
        return True

    def _open(self) -> bool:
        """Opens the file that holds the place, or the generation after it."""
        if self.place is None:
            found = _generations(self._path)
            if not found or not found[-1].is_live:
                return False
            self._enter(found[-1])
            return True
        # Twice: a copy may have been made, and the file truncated, after the first listing.
        if self._locate(self.place) or self._locate(self.place):
            return True
        if self._gone != self.place:
            self._gone = self.place
            self._say(
                f"{self._path} was truncated or replaced, and what it held is not beside it: lines "
                f"after byte {self.place.offset} that were not shipped, if any, are gone. Going on "
                "with what comes next; keep rotated files uncompressed until they are shipped."
            )
        since = (False, self.place.modified_ns, 1, "")
        later = _first_after(since, _generations(self._path))
        if later is None or not _is_known_again(later):
            return False
        self._enter(later, since)
        return True

    def _locate(self, place: Place) -> bool:
        for each in _candidates(place, _generations(self._path)):
            self._take(each)
            if self._is_same():
                return True
            self.close()
        return False

    def _take(self, found: _Found) -> None:
        try:
            descriptor = os.open(found.path, os.O_RDONLY)
        except FileNotFoundError as error:
            raise _Moved from error
        if not os.path.samestat(os.fstat(descriptor), found.info):
            os.close(descriptor)
            raise _Moved
        self.close()
        self._descriptor = descriptor

    def _enter(self, found: _Found, since: _Age | None = None) -> None:
        """Begins with a generation: the first after `since`, or the first of all."""
        self._take(found)
        info = os.fstat(self._descriptor)
        head = os.pread(self._descriptor, HEAD_BYTES, 0)
        if since is not None:
            # It may have been copied and truncated a moment ago: then the copy comes first.
            first = _first_after(since, _generations(self._path))
            if first is None or not os.path.samestat(first.info, info):
                self.close()
                raise _Moved
        at_end = self._from_end and self.place is None
        self.place = Place(
            generation=uuid4().hex,
            device=info.st_dev,
            inode=info.st_ino,
            head_size=len(head),
            head_sha256=fingerprint(head),
            modified_ns=info.st_mtime_ns,
            offset=self._end_of_lines(info.st_size) if at_end else 0,
            sequence=self.place.sequence if self.place else self._sequence,
        )

    def _end_of_lines(self, size: int) -> int:
        """One past the last newline: a line that has begun is still to come."""
        while size:
            begin = max(size - BATCH_BYTES, 0)
            newline = os.pread(self._descriptor, size - begin, begin).rfind(b"\n")
            if newline >= 0:
                return begin + newline + 1
            size = begin
        return 0

    def _outlook(self) -> tuple[tuple[_Found, _Age] | None, bool]:
        """What to `_enter` after this generation, if it is there, and whether this one is whole."""
        mine = os.fstat(self._descriptor)
        with suppress(FileNotFoundError):
            if os.path.samestat(self._path.stat(), mine):
                return None, False
        found = _generations(self._path)
        ages = [each.age for each in found if os.path.samestat(each.info, mine)]
        age = ages[0] if ages else (False, mine.st_mtime_ns, 1, "")
        later = _first_after(age, found)
        is_whole = later is not None or time.time() - mine.st_mtime > SETTLED_SECONDS
        return ((later, age) if later and _is_known_again(later) else None), is_whole

    def _read(self) -> bytes:
        # Before reading: asked later, it might already be that of the next content.
        self._modified_ns = os.fstat(self._descriptor).st_mtime_ns
        data = os.pread(self._descriptor, BATCH_BYTES, self.place.offset)
        if len(data) == BATCH_BYTES and b"\n" not in data:
            return os.pread(self._descriptor, self._longest + 1, self.place.offset)
        return data

    def _is_same(self) -> bool:
        """Whether the open file still holds what was read of it."""
        self._head = os.pread(self._descriptor, HEAD_BYTES, 0)
        known = fingerprint(self._head[: self.place.head_size])
        mine = os.fstat(self._descriptor)
        if not self.place.head_size and self._head:
            # Known by nothing yet: what it held first may have been copied away.
            likeliest = _candidates(self.place, _generations(self._path))
            return bool(likeliest) and os.path.samestat(likeliest[0].info, mine)
        return mine.st_size >= self.place.offset and known == self.place.head_sha256

    def _lines(self, data: bytes, is_whole: bool) -> tuple[bytes, ...]:
        """Lines with their newlines; `is_whole` says that the last one may lack it."""
        *lines, rest = data.split(b"\n", BATCH_LINES)
        lines = [line + b"\n" for line in lines]
        if not lines and rest and is_whole:
            lines = [rest]
        return tuple(takewhile(self._fits, lines))

    def _fits(self, line: bytes) -> bool:
        return len(line.removesuffix(b"\n")) <= self._longest

    def _too_long(self, data: bytes, is_whole: bool) -> int:
        """Bytes of the next line if it is longer than an event may be and has ended, else 0."""
        newline = data.find(b"\n")
        if newline > self._longest:
            return newline + 1
        if newline >= 0 or len(data) <= self._longest:
            return 0
        return self._size_of_line(len(data), is_whole)

    def _size_of_line(self, size: int, is_whole: bool) -> int:
        """Bytes of the line at the place, of which `size` hold no newline; 0 until it ends."""
        begin = self.place.offset
        generation, line, searched = self._searched
        if (generation, line) == (self.place.generation, begin):
            size = max(size, searched - begin)
        while data := os.pread(self._descriptor, BATCH_BYTES, begin + size):
            newline = data.find(b"\n")
            if newline >= 0:
                return size + newline + 1
            size += len(data)
        self._searched = (self.place.generation, begin, begin + size)
        return size if is_whole else 0

    def _notice(self, data: bytes, begin: Place, size: int) -> bytes:
        said = (
            f"the line at bytes {begin.offset} to {begin.offset + size} of {self._path} is longer "
            f"than the {self._longest:,} bytes that an event may have"
        )
        self._say(f"Skipped: {said}. A notice was shipped in its place.")
        start = data[:_QUOTED_BYTES].decode(errors="backslashreplace")
        return (SKIPPED + f"{said}. It begins: {start}".encode(errors="replace"))[: self._longest]

    def _after(self, size: int, lines: int) -> Place:
        return replace(
            self.place,
            head_size=len(self._head),
            head_sha256=fingerprint(self._head),
            modified_ns=self._modified_ns,
            offset=self.place.offset + size,
            sequence=self.place.sequence + lines,
        )


def fingerprint(data: bytes) -> str:
    """Text that stands for bytes."""
    return hashlib.sha256(data).hexdigest()


def _generations(path: Path) -> list[_Found]:
    """The files of a folder, the oldest first, the one at `path` last."""
    stem, suffix = re.escape(path.stem), re.escape(path.suffix)
    inside = _ROTATED.replace("?P<count>", "")
    rotated = re.compile(f"{stem}{suffix}{_ROTATED}|{stem}{inside}{suffix}")
    listed = None
    # A listing during renames can miss a file: only two that agree are believed.
    while True:
        found = list(_listed(path, rotated))
        names = {(each.path, each.info.st_dev, each.info.st_ino) for each in found}
        if names == listed:
            return sorted(found, key=lambda each: each.age)
        listed = names


def _listed(path: Path, rotated: re.Pattern[str]) -> Iterator[_Found]:
    with suppress(FileNotFoundError):
        for each in path.parent.iterdir():
            with suppress(FileNotFoundError):
                is_live = each == path
                info = each.stat() if is_live else each.lstat()
                if stat.S_ISREG(info.st_mode):
                    match = rotated.fullmatch(each.name)
                    count = int(match["count"] or 0) if match else 0
                    yield _Found(each, info, is_live, match is not None, count)


def _candidates(place: Place, found: Sequence[_Found]) -> list[_Found]:
    """Files that may hold a place, the likeliest first."""
    identity = place.device, place.inode
    same = [each for each in found if (each.info.st_dev, each.info.st_ino) == identity]
    # A copy is younger than what was read, which an older file that begins alike is not.
    copies = [
        each
        for each in found
        if each.is_rotated and each.info.st_mtime_ns >= place.modified_ns and each not in same
    ]
    if place.head_size:
        return [*same, *reversed(copies)]
    # It was empty: what was copied away since then comes before what it holds now.
    copied = [each for each in copies if each.info.st_mtime_ns > place.modified_ns]
    return sorted([*copied, *same], key=lambda each: each.age)


def _first_after(age: _Age, found: Sequence[_Found]) -> _Found | None:
    """The oldest generation with bytes in it that is younger than `age`."""
    known = (each for each in found if each.is_live or each.is_rotated)
    return next((each for each in known if each.age > age and each.info.st_size), None)


def _is_known_again(found: _Found) -> bool:
    """Whether a generation holds enough to be told from the next one, should it be copied away.

    The first line does; fewer bytes may be the same in both.
    """
    if not found.is_live:
        return True
    with suppress(FileNotFoundError), found.path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        return b"\n" in head or len(head) == HEAD_BYTES
    return False
