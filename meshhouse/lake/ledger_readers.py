"""Readers of the ledger, whose files must not be removed while they read.

Belongs here: the lock between readers and the removal of files. Not here: which files are removed
(ledger_files.py), or products, whose files stay for a day.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from meshhouse.lake.catalog import Lake

LOCK = "ledger.readers"
"""Name of the lock's file among the locks of a lake. A reader uses nothing but the files."""
_TRIES = 10
_LOOK_SECONDS = 0.01
_kept: dict[Path, int] = {}
"""Lock -> the file descriptor that holds it for the rest of this process."""


@contextmanager
def reading(lake: Lake) -> Iterator[None]:
    """Keeps the present files of the ledger while something reads them."""
    descriptor = _shared(_path(lake))
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def keep_reading(lake: Lake) -> None:
    """Keeps the present files of the ledger for the rest of this process.

    A connection shows the ledger as it was when it was opened, for as long as its owner likes.
    """
    path = _path(lake)
    if path in _kept:
        return
    if lake.locks.is_dir():
        with suppress(OSError):  # a reader that must not write keeps files once a writer has come
            prepare(lake)
    if (descriptor := _shared(path)) is not None:
        _kept[path] = descriptor


def prepare(lake: Lake) -> None:
    """Creates the lock's file. Each writer of the ledger calls it before its first files."""
    path = _path(lake)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@contextmanager
def unread(lake: Lake) -> Iterator[bool]:
    """Whether nobody on this machine reads the ledger; if so, new readers wait meanwhile.

    Most reads take some milliseconds, so they are waited for; connections that stay open are not.
    """
    # NFS takes an exclusive lock only through a descriptor that is open for writing.
    descriptor = os.open(_path(lake), os.O_RDWR)
    try:
        yield any(_is_free(descriptor, attempt) for attempt in range(_TRIES))
    finally:
        os.close(descriptor)


def _path(lake: Lake) -> Path:
    return lake.locks / LOCK


def _shared(path: Path) -> int | None:
    """Locks the file for reading; None if there is none yet, so nothing was ever removed."""
    with suppress(OSError):  # readers must not need to write; `prepare` has made the file
        descriptor = os.open(path, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        return descriptor
    return None


def _is_free(descriptor: int, attempt: int) -> bool:
    if attempt:
        time.sleep(_LOOK_SECONDS)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
