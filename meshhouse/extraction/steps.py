"""Extraction of the new files of one raw table into its topic.

Belongs here: what is new, what changed, the order of the steps, and whether the topic agrees with
what was kept. Not here: files (files.py), parcels (parcel.py), or the state on disk (kept.py).

For each file: write a parcel, keep that it is being sent, send it, keep that it was taken. A kill
between any two steps leaves a state from which the next run goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import uuid4

from meshhouse.errors import MeshError, UsageError
from meshhouse.events import open_writer, uses_kafka
from meshhouse.events.batches import Event
from meshhouse.events.files import EventFile, form_of, key_of
from meshhouse.events.kafka.writer import KafkaLines
from meshhouse.events.tail.tail import LogProducer
from meshhouse.extraction.files import Found, copied, found_files, unpacked_name
from meshhouse.extraction.kept import Kept, Sending, Taken
from meshhouse.extraction.parcel import send_parcel, write_parcel
from meshhouse.locks import lock
from meshhouse.repository import RawTable, Repository
from meshhouse.repository.model import Extraction

SETTLED_SECONDS = 2.0
"""A file in a folder that was written later than this may be incomplete."""


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

    def refusal(self) -> str | None:
        """What a person has to do about changed files."""
        if not self.changed:
            return None
        shown = ", ".join(self.changed[:5]) + (", ..." if len(self.changed) > 5 else "")
        return (
            f"{self.raw.relation}: changed after they were taken, so their new content was not "
            f"sent: {shown}. Restore each file, or give the new content another name."
        )


def extract(
    repository: Repository,
    raw: RawTable,
    *,
    stopped: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = lambda line: None,
) -> Extracted:
    """Sends the events of new files of a raw table, exactly once, file by file in order of names.

    Args:
        repository: the repository.
        raw: a raw table that declares `extract`.
        stopped: called between files and batches; True stops, and the next run goes on there.
        say: called with messages of one line.

    Raises:
        UsageError: the folder or the topic cannot be used.
        MeshError: a file holds something that is not an event, another process extracts the
            table, or the topic does not hold what was sent. Files before it are taken.
    """
    _check_alone(repository, raw)
    spec = raw.extraction
    assert spec is not None, f"{raw.relation} declares no extraction"
    folder = repository.home / "extract"
    kept = Kept(folder, raw.relation, raw.topic)

    def refuse(holder: str) -> None:
        raise MeshError(
            f"{raw.relation} is being extracted by another process ({holder}). Wait until it ends."
        )

    with lock(folder / f"{kept.stem}.lock", refuse), kept:
        return _Run(repository, raw, spec, kept, stopped, say).all()


def _check_alone(repository: Repository, raw: RawTable) -> None:
    """Two tables with the same files and topic would send each event twice."""
    for domain in repository.domains:
        for other in domain.raw_tables:
            is_same = other.relation == raw.relation
            if other.extraction and other.topic == raw.topic and not is_same:
                raise UsageError(
                    f"{raw.relation} and {other.relation} both extract to topic {raw.topic}. Keep "
                    "`extract` at one of them: both land what the topic holds."
                )


class _Run:
    """One run for one raw table."""

    def __init__(
        self,
        repository: Repository,
        raw: RawTable,
        spec: Extraction,
        kept: Kept,
        stopped: Callable[[], bool],
        say: Callable[[str], None],
    ) -> None:
        self._raw = raw
        self._spec = spec
        self._kept = kept
        self._stopped = stopped
        self._say = say
        self._folder = repository.root / "domains" / raw.domain
        self._target = open_writer(repository.root, repository.home)
        is_kafka = uses_kafka(repository.root)
        self._longest = KafkaLines.max_event_bytes if is_kafka else LogProducer.max_event_bytes
        self._producer = f"extract:{raw.relation}"
        self._files = self._events = 0

    def all(self) -> Extracted:
        topic = self._raw.topic
        if topic not in self._target.topics():
            self._target.create_topic(topic, 1)
        sending = self._kept.sending()
        self._agree(sending)
        self._sweep(sending)
        complete = sending is None or self._send(sending)
        known = self._kept.taken()
        found = found_files(self._spec.files, self._folder) if complete else []
        changed = self._changed(found, known)
        new, unsettled = self._settled([each for each in found if each.name not in known])
        for file in new:
            if not complete or self._stopped():
                complete = False
                break
            complete = self._take(file)
        return Extracted(
            self._raw, self._files, self._events, len(known.keys() & {each.name for each in found}),
            unsettled, changed, complete,
        )  # fmt: skip

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
                    "Restore the missing one. To extract all files again, delete the topic and "
                    "that file, and land with `--accept new-topic`."
                )

    def _sweep(self, sending: Sending | None) -> None:
        """Removes parcels of runs that ended before they kept them."""
        for path in self._kept.folder.glob(f"{self._kept.stem}.*.arrow"):
            if sending is None or path.name != sending.parcel:
                path.unlink()

    def _changed(self, found: list[Found], known: dict[str, Taken]) -> tuple[str, ...]:
        changed: list[str] = []
        touched: dict[str, str] = {}
        for each in found:
            before = known.get(each.name)
            if before is None or (before.size, before.stamp) == (each.size, each.stamp):
                continue
            if before.size == each.size and self._content_of(each) in (None, before.sha256):
                touched[each.name] = each.stamp
            else:
                changed.append(each.name)
        self._kept.touched(touched)
        return tuple(changed)

    def _content_of(self, file: Found) -> str | None:
        try:
            content, identity = copied(file)
        except FileNotFoundError:
            return None
        content.close()
        return identity

    def _settled(self, new: list[Found]) -> tuple[list[Found], tuple[str, ...]]:
        """Files that are complete, and names of those that are being written."""
        now = time.time()
        youngest = max((each.modified for each in new), default=0.0)
        wait = min(SETTLED_SECONDS, youngest + SETTLED_SECONDS - now)
        if wait <= 0:
            return new, ()
        time.sleep(wait)
        again = {each.name: each for each in found_files(self._spec.files, self._folder)}
        settled = [each for each in new if again.get(each.name) == each]
        # Later files wait, too: the order of names is the order of events.
        unsettled = [each.name for each in new if each.name in again and each not in settled]
        first = min(unsettled, default=None)
        if first is None:
            return settled, ()
        return [each for each in settled if each.name < first], tuple(unsettled)

    def _take(self, file: Found) -> bool:
        try:
            content, identity = copied(file)
        except FileNotFoundError:
            self._say(f"{file.name} is gone; it was not taken")
            return True
        path = self._kept.folder / f"{self._kept.stem}.{uuid4().hex}.arrow"
        partitions = len(self._target.describe(self._raw.topic).partitions)
        with EventFile(content, file.name, self._form(file)) as events:
            try:
                pieces = write_parcel(path, self._rows(events), partitions)
            except (UsageError, OSError) as error:
                path.unlink(missing_ok=True)
                raise MeshError(
                    f"{self._raw.relation}: {str(error).rstrip('.')}. Nothing of this file was "
                    "sent, and no file after it. Correct the file, or move it away; then run this "
                    "again."
                ) from error
        taken = Taken(file.name, file.size, file.stamp, identity, sum(each[1] for each in pieces))
        sending = Sending(taken, path.name, pieces)
        self._kept.begin(sending)
        return self._send(sending)

    def _send(self, sending: Sending) -> bool:
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
        self._files += 1
        self._events += sending.taken.events
        self._say(f"{sending.taken.name}, events: {sending.taken.events:,}")
        return True

    def _form(self, file: Found) -> str:
        form = self._spec.format or form_of(unpacked_name(file.name))
        if form is None:
            raise UsageError(
                f"The name of {file.name} does not say what it holds. Add `format` to `extract` "
                f"of {self._raw.relation}, or narrow the pattern."
            )
        return form

    def _rows(self, content: EventFile) -> Iterator[Event]:
        key, now = self._spec.key, int(time.time() * 1000)
        for event in content.events():
            where = content.where(event.place)
            found = None if key is None else key_of(event, key, where)
            if len(event.value) + len(found or b"") > self._longest:
                raise UsageError(f"{where} is longer than the {self._longest:,} bytes of an event")
            yield found, event.value, now, None
