"""Files that survive a crash.

Belongs here: writes that are on the disk when they return, and replacing a file at once.
Not here: what is in the files, or who may write them (locks.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4


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
    """Gives `path` new content: a reader or a crash sees the old content or the new one."""
    with replacing(path) as file:
        file.write(content.encode())
    sync(path.parent)


@contextmanager
def replacing(path: Path, mode: int | None = None) -> Iterator[BinaryIO]:
    """Opens a file that takes the place of `path` if the block ends without an exception.

    Several writers may replace one file at the same time: the last one wins.

    Args:
        path: the file; its folder must exist.
        mode: of the new file; None for what the umask says.
    """
    # `~` in front marks a draft: backups and the event log pass over such files.
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
        with suppress(OSError):  # it took its place, was never made, or the disk is gone
            draft.unlink()
