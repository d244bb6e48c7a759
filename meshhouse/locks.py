"""One writer at a time, across processes.

Belongs here: a lock file that the kernel frees when its process dies. Does not: what is
protected by it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def lock(path: Path, on_wait: Callable[[str], None] = lambda holder: None) -> Iterator[None]:
    """Holds a lock file; waits for whoever holds it.

    Args:
        path: the file; its folder is made.
        on_wait: called once, with the holder's process id, if there is something to wait for.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            on_wait(file.read().strip() or "unknown")
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextmanager
def shared_lock(path: Path) -> Iterator[None]:
    """Holds a lock file together with others who share it; waits for one who does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextmanager
def lock_if_free(path: Path) -> Iterator[str]:
    """Holds a lock file unless somebody has it; yields the holder's process id, or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            yield file.read().strip() or "unknown"
            return
        yield ""
