"""Reading a growing log file line by line, through rotation and truncation.

Belongs here: which files hold the lines, in which order, and reading each line once. Not here:
sending lines, and storing the position (tail.py).

Both modes of logrotate can leave unread lines in another file:

    create         app.log becomes app.log.1, a new app.log appears: follow the inode
    copytruncate   app.log.1 is a new copy, app.log shrinks: find the copy by its first bytes

The content of the file between two rotations is a *generation*.
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
"""How many first bytes identify a file; another file may get the same inode later."""
_QUOTED_BYTES = 500
"""How much of a line that is too long is quoted, so that its program can be found."""
SETTLED_SECONDS = 5.0
"""After this time without a write, the last line of a rotated file counts as complete."""
# The ends of rotated names: a count, a date or `old`, as logrotate and most loggers write them.
_ROTATED = r"[.-](?:(?P<count>\d{1,4})|\d[\d._T:-]*|old)"


@dataclass(frozen=True)
class Place:
    """A position between two lines of a generation of a file."""

    generation: str
    device: int
    inode: int
    head_size: int
    head_sha256: str
    """SHA-256 of the first `head_size` bytes."""
    modified_ns: int
    """Time of the file's last write: rotated files with a later one are later generations."""
    offset: int
    sequence: int
    """How many lines were shipped before this place, in all generations."""


@dataclass(frozen=True)
class Batch:
    """Consecutive lines of one generation, each with its newline, if it has one."""

    lines: tuple[bytes, ...]
    begin: Place
    end: Place
    is_notice: bool = False
    """Whether `lines` is a notice that the line between `begin` and `end` was skipped."""


_Age = tuple[bool, int, int, str]


@dataclass(frozen=True)
class _Found:
    path: Path
    info: os.stat_result
    is_live: bool
    is_rotated: bool
    count: int
    """7 for app.log.7: a higher count means an older file."""

    @property
    def age(self) -> _Age:
        """Key that sorts generations by age, oldest first; file times alone may be equal."""
        return self.is_live, self.info.st_mtime_ns, -self.count, self.path.name


class _Moved(Exception):
    """A file was renamed after it was found and before it was opened; list the files again."""


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
        """Reads from `place`; if it is None, from the start or, with `from_end`, from the end."""
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
        """Generation, start of a line, and the position up to which it has no newline."""

    def close(self) -> None:
        """Closes the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def next(self) -> Batch | None:
        """The next lines, at most 1,000 lines and 1 MiB; None if there is no line now.

        A line that is longer than an event may be is skipped. In its place comes a notice that no
        format accepts, so landing stores it as a rejected event.

        Raises:
            LogUnavailable: the file cannot be read.
        """
        with explained("read", self._path, "Make it readable, then start again: no line is lost."):
            while self._is_open():
                # Look for the successor before reading: after the successor has bytes, nothing is
                # added to this file.
                successor, is_whole = self._outlook()
                data = self._read()
                too_long = self._too_long(data, is_whole)
                # Check after reading: data that was read before a truncation is right.
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
        """Opens the file that holds the place, or the next generation; False if there is none."""
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
                f"{self._path} was truncated or replaced, and no copy of its old content is beside "
                f"it: lines after byte {self.place.offset} that were not shipped, if any, are "
                "gone. Going on with the next lines. Keep rotated files uncompressed until they "
                "are shipped."
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
        """Opens a generation at its start: the first after `since`, or the first of all."""
        self._take(found)
        info = os.fstat(self._descriptor)
        head = os.pread(self._descriptor, HEAD_BYTES, 0)
        if since is not None:
            # The file may just have been copied and truncated; then the copy comes first.
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
        """The position after the last newline: a line without one is not complete."""
        while size:
            begin = max(size - BATCH_BYTES, 0)
            newline = os.pread(self._descriptor, size - begin, begin).rfind(b"\n")
            if newline >= 0:
                return begin + newline + 1
            size = begin
        return 0

    def _outlook(self) -> tuple[tuple[_Found, _Age] | None, bool]:
        """Arguments of `_enter` for the next generation, and whether this one is complete."""
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
        # Before reading: afterwards, the time might be that of newer content.
        self._modified_ns = os.fstat(self._descriptor).st_mtime_ns
        data = os.pread(self._descriptor, BATCH_BYTES, self.place.offset)
        if len(data) == BATCH_BYTES and b"\n" not in data:
            return os.pread(self._descriptor, self._longest + 1, self.place.offset)
        return data

    def _is_same(self) -> bool:
        """Whether the open file still holds the content that was read from it."""
        self._head = os.pread(self._descriptor, HEAD_BYTES, 0)
        known = fingerprint(self._head[: self.place.head_size])
        mine = os.fstat(self._descriptor)
        if not self.place.head_size and self._head:
            # The file was empty, so no bytes identify it. Its first content may have been copied.
            likeliest = _candidates(self.place, _generations(self._path))
            return bool(likeliest) and os.path.samestat(likeliest[0].info, mine)
        return mine.st_size >= self.place.offset and known == self.place.head_sha256

    def _lines(self, data: bytes, is_whole: bool) -> tuple[bytes, ...]:
        """Lines with their newlines; if the file `is_whole`, the last line may lack one."""
        *lines, rest = data.split(b"\n", BATCH_LINES)
        lines = [line + b"\n" for line in lines]
        if not lines and rest and is_whole:
            lines = [rest]
        return tuple(takewhile(self._fits, lines))

    def _fits(self, line: bytes) -> bool:
        return len(line.removesuffix(b"\n")) <= self._longest

    def _too_long(self, data: bytes, is_whole: bool) -> int:
        """Bytes of the next line if it is complete and too long for an event, else 0."""
        newline = data.find(b"\n")
        if newline > self._longest:
            return newline + 1
        if newline >= 0 or len(data) <= self._longest:
            return 0
        return self._size_of_line(len(data), is_whole)

    def _size_of_line(self, size: int, is_whole: bool) -> int:
        """Bytes of the line at the place, 0 if it is incomplete; `size` bytes were searched."""
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
    """The SHA-256 of bytes, as text."""
    return hashlib.sha256(data).hexdigest()


def _generations(path: Path) -> list[_Found]:
    """The files of a folder, oldest first; the file at `path` is the last one."""
    stem, suffix = re.escape(path.stem), re.escape(path.suffix)
    inside = _ROTATED.replace("?P<count>", "")
    rotated = re.compile(f"{stem}{suffix}{_ROTATED}|{stem}{inside}{suffix}")
    listed = None
    # A listing during renames can miss a file, so two in a row must agree.
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
    """Files that may hold a place, the most likely first."""
    identity = place.device, place.inode
    same = [each for each in found if (each.info.st_dev, each.info.st_ino) == identity]
    # A copy is newer than the last read. An older file with the same first bytes is not.
    copies = [
        each
        for each in found
        if each.is_rotated and each.info.st_mtime_ns >= place.modified_ns and each not in same
    ]
    if place.head_size:
        return [*same, *reversed(copies)]
    # The file was empty. Content that was copied since then comes before its present content.
    copied = [each for each in copies if each.info.st_mtime_ns > place.modified_ns]
    return sorted([*copied, *same], key=lambda each: each.age)


def _first_after(age: _Age, found: Sequence[_Found]) -> _Found | None:
    """The oldest generation that is newer than `age` and not empty."""
    known = (each for each in found if each.is_live or each.is_rotated)
    return next((each for each in known if each.age > age and each.info.st_size), None)


def _is_known_again(found: _Found) -> bool:
    """Whether the first bytes of a generation identify it, in case it is copied and truncated.

    A complete first line does. Fewer bytes may be the same in the next generation.
    """
    if not found.is_live:
        return True
    with suppress(FileNotFoundError), found.path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        return b"\n" in head or len(head) == HEAD_BYTES
    return False
