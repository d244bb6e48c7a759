"""Recording a read beside the query: one line at the end of a file.

Belongs here: what happens in the process that runs the query, which must not wait or fail for it.
Not here: what is made of the lines later (store.py).

A line takes 0.03 ms: it is appended with one call of the operating system, without a lock and
without waiting for the disk. If the folder cannot be written, the read is not recorded.

All readers can write to a shared folder, so a line is only written to a regular file: a link there
could lead to any file of the reader, and a named pipe would never answer.
"""

from __future__ import annotations

import os
import platform
import re
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from meshhouse import settings
from meshhouse.ledger import user
from meshhouse.repository import Repository
from meshhouse.usage.reads import UNKNOWN, as_line, clean

LINES = ".jsonl"
OFF = "off"
MOST_BYTES = 64 * 1024 * 1024
"""Of one user's file of a day: 300,000 queries. Those after it are not recorded, and the file's
size says so."""
_NOT_OF_HOST = re.compile(r"[^a-z0-9-]+")
_LONGEST_HOST = 63


@dataclass(frozen=True)
class Recorder:
    """Appends the reads of one process."""

    folder: Path | None
    """Where the files are; None if reads are not recorded."""
    via: str
    consumer: str = ""

    def record(self, products: Mapping[str, Sequence[str] | None]) -> None:
        """Appends one query; does nothing if that is impossible.

        Args:
            products: product -> names of the columns that are read; None if they are unknown.
        """
        if self.folder is None or not products:
            return
        with suppress(Exception):  # whatever goes wrong, the query counts
            now = datetime.now(UTC)
            line = as_line(now, user(), self.consumer, self.via, products)
            path = self.folder / file_name(now)
            try:
                _append(path, line)
            except FileNotFoundError:
                self.folder.mkdir(parents=True, exist_ok=True)
                _append(path, line)

    def record_unknown(self) -> None:
        """Appends that products may be read without the mesh seeing it."""
        self.record({UNKNOWN: None})


def recorder_of(repository: Repository, via: str, consumer: str | None = None) -> Recorder:
    """The recorder of a process.

    Args:
        repository: whose products are read.
        via: how they are read.
        consumer: who it is for; by default the setting `MESH_CONSUMER`.
    """
    name = settings.value("MESH_CONSUMER") if consumer is None else consumer
    return Recorder(folder_of(repository), via, clean(name))


def file_name(now: datetime) -> str:
    """The file of this user and host for a day: hosts that share a folder share no file.

    Appending is only safe between processes of one host: on NFS, two hosts overwrite each other.
    """
    host = _NOT_OF_HOST.sub("-", platform.node().lower()).strip("-")[:_LONGEST_HOST]
    return f"{now:%Y-%m-%d}-{os.getuid()}-{host or 'host'}{LINES}"


def folder_of(repository: Repository) -> Path | None:
    """Where reads are recorded; None if they are not. An environment has its own folder."""
    chosen = settings.value("MESH_READS")
    if chosen == OFF:
        return None
    if chosen and not repository.environment:
        return Path(chosen).expanduser().absolute()
    return repository.workspace / "reads"


def _append(path: Path, line: bytes) -> None:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    file = os.open(path, flags, 0o666)
    try:
        about = os.fstat(file)
        if stat.S_ISREG(about.st_mode) and about.st_size < MOST_BYTES:
            os.write(file, line)
    finally:
        os.close(file)
