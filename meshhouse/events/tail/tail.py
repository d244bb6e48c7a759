"""Shipping a growing log file to a topic.

Belongs here: sending lines in order, storing the position, and retrying while the topic is
unreachable. Not here: finding lines (lines.py), storing events (log/, kafka/), or signals and
printing (cli/).
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from meshhouse import files
from meshhouse.errors import MeshError, UsageError
from meshhouse.events.batches import from_rows
from meshhouse.events.errors import LogUnavailable, explained
from meshhouse.events.log.log import EventLog
from meshhouse.events.log.partitioner import partition_of
from meshhouse.events.source import Outgoing, Producer
from meshhouse.events.tail.lines import Batch, LineReader, Place, fingerprint
from meshhouse.locks import lock

POLL_SECONDS = 0.2
_LONGEST_WAIT = 30.0

Result = TypeVar("Result")


@dataclass(frozen=True)
class Tailed:
    """The result of one run."""

    file: Path
    topic: str
    lines: int
    bytes: int
    skipped: int = 0
    """Lines that are too long for an event; a notice was shipped for each."""


class PositionFile:
    """The position of one file and one topic, on disk.

    It is saved before a batch is sent, with the start and the end of the batch. After a kill, a
    topic that counts a producer's events tells which of the two is right.
    """

    def __init__(self, folder: Path, file: Path, topic: str) -> None:
        name = re.sub(r"[^A-Za-z0-9._-]", "_", f"{topic}.{file.name}")[:100]
        self.path = folder / f"{name}.{fingerprint(f'{topic} {file}'.encode())[:12]}.json"
        self._facts = {"file": str(file), "topic": topic}

    def save(self, done: Place, sending: Place | None) -> None:
        """Writes a position to the disk.

        Raises:
            LogUnavailable: the disk refuses.
        """
        facts = {**self._facts, "done": asdict(done), "sending": sending and asdict(sending)}
        with explained("write", self.path, "Make room or make its folder writable."):
            files.replace(self.path, json.dumps(facts, indent=2) + "\n")

    def load(self) -> tuple[Place, Place | None] | None:
        """The last saved places: where all before is shipped, and the end of a batch in flight.

        Raises:
            MeshError: the file is damaged.
        """
        if not self.path.exists():
            return None
        with explained("read", self.path, "Make it readable."):
            data = self.path.read_bytes()
        try:
            facts = json.loads(data)
            return _place(facts["done"]), facts["sending"] and _place(facts["sending"])
        except (ValueError, KeyError, TypeError) as error:
            raise MeshError(
                f"{self.path} is damaged, so the position of the shipped lines is unknown. "
                f"{self.remedy}"
            ) from error

    @property
    def remedy(self) -> str:
        """The remedy when a position cannot be used."""
        return (
            "Delete it, then start with --from-start (lines shipped before come twice) or "
            "--from-end (lines since then are skipped)."
        )


def _place(facts: dict) -> Place:
    place = Place(**facts)
    for name, wanted in Place.__annotations__.items():
        if type(getattr(place, name)).__name__ != wanted:
            raise TypeError(name)
    return place


class LogProducer:
    """The embedded event log as a `Producer`."""

    max_event_bytes = 16 << 20

    def __init__(self, log: EventLog) -> None:
        self._log = log

    def ensure_topic(self, topic: str, partitions: int | None) -> None:
        """See `Producer`."""
        if partitions is not None or topic not in self._log.topics():
            self._log.create_topic(topic, partitions or 1)

    def next_sequence(self, topic: str, producer: str) -> int:
        """See `Producer`."""
        partitions = self._log.describe(topic).partitions
        return sum(self._log.next_sequence(topic, number, producer) for number in partitions)

    def append(self, topic: str, events: list[Outgoing], producer: str, sequence: int) -> None:
        """See `Producer`."""
        partition = partition_of(events[0][0] or b"", len(self._log.describe(topic).partitions))
        self._log.append(topic, partition, from_rows(events), producer, sequence)


def tail(
    file: Path,
    topic: str,
    sink: Producer,
    home: Path,
    *,
    partitions: int | None = None,
    once: bool = False,
    from_end: bool = False,
    stopped: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = lambda line: None,
) -> Tailed:
    """Ships a file's lines until `stopped`; with `once`, only the present lines.

    Args:
        file: the log file; unless `once`, it need not exist yet.
        topic: the topic, which is created if it is missing.
        sink: the log or cluster of the topic.
        home: the mesh's data folder; positions are in `home/tail`.
        partitions: the number of the topic's partitions; by default 1 for a new topic.
        once: stop when no line waits; an unreachable sink is then an error.
        from_end: at the first run, skip the lines that the file already holds.
        stopped: called before each batch and in each wait; True stops.
        say: called with messages of one line for the user.

    Raises:
        UsageError: `file` is not a file, or the topic has another number of partitions.
        MeshError: another process ships the file to this topic, or the position cannot be used.
            Nothing is lost: the next run ships the remaining lines.
    """
    # Links in the folder's path are resolved, but not a link at the file: some programs rotate by
    # changing that link.
    file = file.absolute().parent.resolve() / file.name
    if file.exists() and not file.is_file():
        raise UsageError(f"{file} is not a regular file. Name the log file itself.")
    position = PositionFile(home / "tail", file, topic)

    def refuse(holder: str) -> None:
        raise MeshError(
            f"{file} is being shipped to topic {topic} by another `mesh tail` (process {holder}). "
            "Stop it first, or let it go on."
        )

    with lock(position.path.with_suffix(".lock"), refuse):
        shipper = _Shipper(file, topic, sink, position, once, stopped, say)
        with suppress(_Stopped):
            shipper.run(partitions, from_end)
        return Tailed(file, topic, shipper.lines, shipper.bytes, shipper.skipped)


class _Stopped(Exception):
    """`stopped` returned True while the sink was unreachable."""


class _Shipper:
    """One run of `tail`."""

    def __init__(
        self,
        file: Path,
        topic: str,
        sink: Producer,
        position: PositionFile,
        once: bool,
        stopped: Callable[[], bool],
        say: Callable[[str], None],
    ) -> None:
        self._file = file
        self._topic = topic
        self._sink = sink
        self._position = position
        self._once = once
        self._stopped = stopped
        self._say = say
        self._producer = f"tail:{file}"
        self._key = os.fsencode(file)
        self._saved: Place | None = None
        self.lines = 0
        self.bytes = 0
        self.skipped = 0

    def run(self, partitions: int | None, from_end: bool) -> None:
        self._patiently(lambda: self._sink.ensure_topic(self._topic, partitions))
        stored = self._patiently(lambda: self._sink.next_sequence(self._topic, self._producer))
        self._saved = self._resume(stored)
        reader = LineReader(
            self._file, self._saved, self._sink.max_event_bytes, self._say,
            sequence=stored or 0, from_end=from_end and self._file.exists(),
        )  # fmt: skip
        try:
            self._follow(reader)
        finally:
            reader.close()

    def _resume(self, stored: int | None) -> Place | None:
        saved = self._position.load()
        if saved is None:
            return None
        done, sending = saved
        if stored is None or stored == done.sequence:
            return done
        if sending and stored == sending.sequence:
            return sending
        raise MeshError(
            f"Topic {self._topic} holds {stored} lines of {self._file}, but {self._position.path} "
            f"says {done.sequence}: the topic was created again, or one of the two was restored "
            f"from a copy. {self._position.remedy}"
        )

    def _follow(self, reader: LineReader) -> None:
        waits = False
        while not self._stopped():
            try:
                batch = reader.next()
            except MeshError:  # the file can no longer be read
                self._save(reader.place)
                raise
            if batch:
                self._ship(batch)
                continue
            self._save(reader.place)
            if not self._file.exists() and reader.place is None:
                if self._once:
                    raise UsageError(
                        f"There is no file {self._file}. Correct its name, or omit --once to wait "
                        "for it."
                    )
                if not waits:
                    self._say(f"waiting for {self._file}, which does not exist yet")
                waits = True
            if self._once:
                return
            time.sleep(POLL_SECONDS)
        self._save(reader.place)

    def _ship(self, batch: Batch) -> None:
        self._patiently(lambda: self._position.save(batch.begin, batch.end))
        events = list(self._events(batch))
        self._patiently(
            lambda: self._sink.append(self._topic, events, self._producer, batch.begin.sequence)
        )
        if batch.is_notice:
            self.skipped += 1
        else:
            self.lines += len(batch.lines)
        self.bytes += batch.end.offset - batch.begin.offset

    def _save(self, place: Place | None) -> None:
        """Saves that everything before `place` is shipped."""
        if place is not None and place != self._saved:
            self._patiently(lambda: self._position.save(place, None))
            self._saved = place

    def _events(self, batch: Batch) -> Iterator[Outgoing]:
        now, offset = time.time_ns() // 1_000_000, batch.begin.offset
        for line in batch.lines:
            headers = {
                "tail.file": self._key,
                "tail.generation": batch.begin.generation.encode(),
                "tail.offset": str(offset).encode(),
            }
            # One key per file: its lines stay in one partition and in order.
            yield self._key, line.removesuffix(b"\n"), now, headers
            offset += len(line)

    def _patiently(self, act: Callable[[], Result]) -> Result:
        """Retries while the sink or the disk refuses, until it succeeds or `stopped` is True."""
        wait, said = POLL_SECONDS, False
        while True:
            try:
                result = act()
            except LogUnavailable as error:
                if self._once:
                    raise
                if not said:
                    self._say(f"{error} Trying again until it works; no line is lost.")
                said = True
                self._sleep(wait)
                wait = min(wait * 2, _LONGEST_WAIT)
                continue
            if said:
                self._say("it works again; going on")
            return result

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._stopped():
                raise _Stopped
            time.sleep(min(left, POLL_SECONDS))
