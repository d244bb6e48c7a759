"""Durable file operations: after a crash, a file has its old content or its new content.

Belongs here: writes that are on the disk when they return, and replacing a file atomically.
Not here: the content of files, or who may write them (locks.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4


def sync(path: Path) -> None:
    """Flushes a file's content, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create(path: Path) -> None:
    """Creates an empty file and flushes its name to the disk."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644))
    sync(path.parent)


def write_at(descriptor: int, data: bytes, position: int) -> None:
    """Writes all of `data`, even if the system takes it in several parts."""
    view = memoryview(data)
    while view:
        count = os.pwrite(descriptor, view, position)
        view, position = view[count:], position + count


def replace(path: Path, content: str) -> None:
    """Replaces the content of `path` atomically, also in a crash."""
    with replacing(path) as file:
        file.write(content.encode())
    sync(path.parent)


@contextmanager
def replacing(path: Path, mode: int | None = None) -> Iterator[BinaryIO]:
    """Opens a new file that replaces `path` if the block ends without an exception.

    Several writers may replace one file at the same time: the last one wins.

    Args:
        path: the file; its folder must exist.
        mode: permissions of the new file; None for those of the umask.
    """
    # A leading `~` marks a draft: backups and the event log skip such files.
    draft = path.with_name(f"~{path.name}.{uuid4().hex[:8]}")
    try:
        with draft.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            draft.chmod(mode)
        draft.replace(path)
    finally:
        with suppress(OSError):  # it was renamed, was never created, or the disk is gone
            draft.unlink()
