"""Files that several processes share and that survive a crash.

Belongs here: locks between processes and writes that are on the disk when they return.
Does not: what is in the files.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path, exclusive: bool = True) -> Iterator[None]:
    """Holds the lock file `path` against other processes and threads.

    Exclusive for writers, who make the file; shared for readers, who need no lock where
    no writer ever made one.

    Raises:
        FileNotFoundError: the folder was moved away while this writer waited, so the lock
            guards nothing any more.
    """
    flags = os.O_RDWR | os.O_CREAT if exclusive else os.O_RDONLY
    try:
        descriptor = os.open(path, flags, 0o644)
    except FileNotFoundError:
        if exclusive:
            raise
        yield
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        if exclusive and not os.path.samestat(os.fstat(descriptor), path.stat()):
            raise FileNotFoundError(2, "it was replaced by another while this one waited")
        yield
    finally:
        os.close(descriptor)


def sync(path: Path) -> None:
    """Puts a file's content, or a folder's names, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create(path: Path) -> None:
    """Makes an empty file whose name is on the disk."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644))
    sync(path.parent)


def write_at(descriptor: int, data: bytes, position: int) -> None:
    """Writes all of `data`, in as many steps as the system needs."""
    view = memoryview(data)
    while view:
        count = os.pwrite(descriptor, view, position)
        view, position = view[count:], position + count


def replace(path: Path, content: str) -> None:
    """Gives `path` a new content: a reader or a crash sees the old one or the new one."""
    draft = path.with_name(f"~{path.name}")
    draft.write_text(content, encoding="utf-8")
    sync(draft)
    draft.replace(path)
    sync(path.parent)
