"""New files of one raw table.

Belongs here: what is new, and what changed. Not here: listing files (files.py), or what tables of
databases share (run.py).
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from meshhouse.errors import MeshError, UsageError
from meshhouse.events.batches import Event
from meshhouse.events.files import EventFile, form_of, key_of
from meshhouse.extraction.files import Found, copied, found_files, unpacked_name
from meshhouse.extraction.kept import Kept, Sending, Taken
from meshhouse.extraction.parcel import write_parcel
from meshhouse.extraction.run import Extracted, Run, Task

SETTLED_SECONDS = 2.0
"""A file in a folder that was written later than this may be incomplete."""


class FileRun(Run[Kept]):
    """One run for one raw table with files."""

    def __init__(self, task: Task[Kept]) -> None:
        super().__init__(task)
        self._folder = task.repository.root / "domains" / task.raw.domain

    def all(self) -> Extracted:
        """Sends the events of new files, file by file in order of names."""
        self._create_topic()
        complete = self._finish_begun()
        known = self._kept.taken()
        found = found_files(self._spec.files, self._folder) if complete else []
        changed = self._changed(found, known)
        new, unsettled = self._settled([each for each in found if each.name not in known])
        for file in new:
            if not complete or self._stopped():
                complete = False
                break
            complete = self._take(file)
        earlier = len(known.keys() & {each.name for each in found})
        return Extracted(
            self._raw, self._parcels, self._events, earlier, unsettled, changed, complete
        )

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
        path = self._new_parcel()
        with EventFile(content, file.name, self._form(file)) as events:
            try:
                pieces = write_parcel(path, self._rows(events), self._partitions())
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
