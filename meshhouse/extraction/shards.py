"""Reads the shards of a stream in an order that keeps the records of each key in order.

Belongs here: which shard is read next, where reading begins, and whether records were lost. Not
here: calls to Kinesis (kinesis.py), or events (new_records.py).

A split or merge closes shards and opens others. The records of a key before it are in a parent,
those after it in a child, so a child is read after its parents were read to their ends.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from meshhouse.errors import MeshError
from meshhouse.extraction.kept_shards import Position
from meshhouse.extraction.kinesis import (
    Answer,
    ExpiredIteratorError,
    Record,
    Shard,
    Stream,
    UnknownSequenceError,
)

_RECORDS, _BYTES = 100_000, 64 << 20
"""Limits of a portion."""
_MARGIN = 600
"""A record may be gone if its age is more than the retention minus these seconds.

Reading from a position after such a record can give empty answers without end, so reading begins
at the oldest record.
"""


@dataclass(frozen=True)
class Gap:
    """Records that are lost, as a sentence."""

    said: str


@dataclass
class _Open:
    """A shard that is being read in this run."""

    iterator: str
    is_in_doubt: bool
    """Whether records after the position may be lost, until the first record shows it."""
    is_fresh: bool = False
    """Whether it came to records that are far from being too old."""
    is_after_record: bool = False
    """Whether it began after a record, and not at the oldest one."""


class Reading:
    """One reading of a stream: all records that arrived before it began."""

    def __init__(
        self,
        stream: Stream,
        retention: float,
        positions: Mapping[str, Position],
        accepts_loss: bool,
    ) -> None:
        self._stream = stream
        self._retention = retention
        self._positions = dict(positions)
        self._accepts_loss = accepts_loss
        self._begun = time.time()
        self._is_first = not positions
        self._is_listed = False
        self._shards: dict[str, Shard] = {}
        self._queue: deque[str] = deque()
        self._done: set[str] = set()
        """Shards that have nothing more for this reading."""
        self._open: dict[str, _Open] = {}
        self._gaps: list[Gap] = []
        self._changed: set[str] = set()

    def portion(self) -> Iterator[Record | Gap]:
        """The next records, as many as fit into a parcel; nothing at the end.

        Raises:
            MeshError: Kinesis refuses, or records are lost and that is not accepted.
        """
        count = size = 0
        while count < _RECORDS and size < _BYTES and (shard := self._next()) is not None:
            for each in self._read(shard):
                yield each
                count += 1
                size += len(each.value) if isinstance(each, Record) else 0
        yield from self._lost()

    def changed(self) -> list[Position]:
        """The positions that changed since the last call."""
        found = [self._positions[each] for each in sorted(self._changed)]
        self._changed.clear()
        return found

    def _next(self) -> str | None:
        if not self._is_listed:
            self._list()
        if not self._queue:
            ready = _ready(self._shards, self._positions)
            self._queue.extend(each for each in ready if each not in self._done)
        return self._queue[0] if self._queue else None

    def _read(self, shard: str) -> Iterator[Record | Gap]:
        yield from self._lost()
        before = self._positions[shard]
        begun = time.time()
        answer = self._answer(shard)
        new = [each for each in answer.records if _is_after(each.sequence, before.sequence)]
        reading = self._open[shard]
        if not answer.records and answer.behind >= self._retention and reading.is_after_record:
            # The record is gone before its time, as after a shorter retention; see `_MARGIN`.
            iterator = self._stream.iterator(shard, None)
            self._open[shard] = _Open(iterator, self._may_miss(before))
            return
        if reading.is_in_doubt and (answer.records or _is_over(answer)):
            if len(new) == len(answer.records):
                self._lose(self._since(before))
            reading.is_in_doubt = False
        yield from self._lost()
        yield from new
        until = begun - answer.behind
        if not reading.is_in_doubt:
            self._advance(shard, new, until)
            reading.is_fresh = answer.behind < self._retention
        is_closed = self._shards[shard].is_closed
        if answer.following is None:
            self._end(shard)
        elif is_closed and _is_over(answer):
            # AWS documents only a missing iterator as the end: the next run looks at it again.
            self._finish(shard)
        elif not is_closed and (answer.behind == 0 or until >= self._begun):
            self._finish(shard)
        else:
            reading.iterator = answer.following
            self._queue.rotate(-1)

    def _answer(self, shard: str) -> Answer:
        position = self._positions[shard]
        opened = self._open.get(shard)
        if opened is None or (opened.is_fresh and self._may_miss(position)):
            self._open[shard] = self._opened(position)
        try:
            return self._stream.records(shard, self._open[shard].iterator)
        except ExpiredIteratorError:
            self._open[shard] = self._opened(position)
        try:
            return self._stream.records(shard, self._open[shard].iterator)
        except ExpiredIteratorError as error:
            raise MeshError(
                f"Kinesis gives iterators of shard {shard} that have expired already. Run the same "
                "command again."
            ) from error

    def _opened(self, position: Position) -> _Open:
        """Opens a shard at its position, or at the oldest record, whichever is later."""
        shard, sequence = position.shard, position.sequence
        if position.read_until is None and sequence is None:
            if self._may_miss(position):
                self._lose(self._since(position))
            parents = self._shards[shard].parents
            known = [each for each in parents if each in self._positions]
            # Closed shards are listed as long as a record of them may be left. So a listed parent
            # shows that no record of its child is too old.
            if known and not any(each in self._shards for each in parents):
                self._lose(f"the first records of shard {shard}")
            return _Open(self._stream.iterator(shard, None), is_in_doubt=False)
        may_miss = self._may_miss(position)
        if sequence is None or position.arrived is None:
            if may_miss:
                self._lose(self._since(position))
            return _Open(self._stream.iterator(shard, None), is_in_doubt=False)
        is_old = time.time() - position.arrived >= self._retention - _MARGIN
        if not is_old and not may_miss:
            try:
                iterator = self._stream.iterator(shard, sequence)
                return _Open(iterator, is_in_doubt=False, is_after_record=True)
            except UnknownSequenceError:
                pass  # the record is gone before its time: begin at the oldest one
        return _Open(self._stream.iterator(shard, None), may_miss)

    def _may_miss(self, position: Position) -> bool:
        """Whether records that were not read may be too old for the stream."""
        until = position.read_until
        if until is None:
            if position.sequence is not None:
                return True
            until = position.arrived
        return until is not None and time.time() - until >= self._retention

    def _advance(self, shard: str, new: list[Record], until: float) -> None:
        position = self._positions[shard]
        if new:
            position = replace(position, sequence=new[-1].sequence, arrived=new[-1].arrived)
        self._put(replace(position, read_until=max(until, position.read_until or 0.0)))

    def _end(self, shard: str) -> None:
        self._put(replace(self._positions[shard], is_ended=True))
        self._finish(shard)
        self._list()  # shows the shards that came from it

    def _finish(self, shard: str) -> None:
        self._done.add(shard)
        self._open.pop(shard, None)
        self._queue.remove(shard)

    def _list(self) -> None:
        self._shards = self._stream.shards()
        for name in sorted(self._shards):
            if name in self._positions:
                continue
            parents = self._shards[name].parents
            if not self._is_first and not any(each in self._positions for each in parents):
                self._lose(f"shards before shard {name}")
            self._put(Position(name, arrived=self._begun if self._is_first else None))
        for name, position in list(self._positions.items()):
            if name not in self._shards and not position.is_ended:
                self._lose(f"the last records of shard {name}, which is gone")
                self._put(replace(position, is_ended=True))
                if name in self._queue:
                    self._finish(name)
        self._is_first, self._is_listed = False, True

    def _put(self, position: Position) -> None:
        self._positions[position.shard] = position
        self._changed.add(position.shard)

    def _since(self, position: Position) -> str:
        until = datetime.fromtimestamp(position.read_until or position.arrived or 0, UTC)
        return f"records of shard {position.shard} that arrived since {until:%Y-%m-%d %H:%M} UTC"

    def _lose(self, what: str) -> None:
        """Notes that records may be lost.

        Raises:
            MeshError: that is not accepted.
        """
        kept = f"the stream keeps records for {self._retention / 3600:g} hours"
        if not self._accepts_loss:
            raise LostError(f"Kinesis may have removed {what} before they were sent: {kept}.")
        self._gaps.append(Gap(f"Kinesis may have removed {what}: {kept}"))

    def _lost(self) -> Iterator[Gap]:
        while self._gaps:
            yield self._gaps.pop(0)


class LostError(MeshError):
    """Records may be lost; nothing after them was sent."""


def _ready(shards: Mapping[str, Shard], positions: Mapping[str, Position]) -> list[str]:
    """The shards that may be read: parents before children."""
    return [
        name
        for name, shard in sorted(shards.items())
        if not positions[name].is_ended
        and all(positions[each].is_ended for each in shard.parents if each in positions)
    ]


def _is_after(sequence: str, position: str | None) -> bool:
    return position is None or int(sequence) > int(position)


def _is_over(answer: Answer) -> bool:
    """Whether there is no further record now."""
    return answer.following is None or (answer.behind == 0 and not answer.records)
