"""One writer at a time, across processes.

Belongs here: a lock file that the kernel frees when its process dies, and who holds one.
Not here: what is protected by it.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_LOOK_SECONDS = 0.01


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


@contextmanager
def folder_lock(path: Path, exclusive: bool = True) -> Iterator[None]:
    """Holds the lock file of a folder that may be moved away or deleted meanwhile.

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


@contextmanager
def turn(path: Path, patience: float = 5.0) -> Iterator[None]:
    """Takes turns with others: a courtesy that nothing depends on.

    Whoever keeps its turn for longer than `patience` seconds (it was paused, or its disk
    is slow) loses it, so this protects nothing by itself.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    holder, deadline = None, 0.0
    while True:
        with path.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                seen = os.fstat(file.fileno()).st_ino
                if seen != holder:
                    holder, deadline = seen, time.monotonic() + patience
                elif time.monotonic() >= deadline and _is_at(path, file.fileno()):
                    path.unlink(missing_ok=True)
                    continue
            else:
                if _is_at(path, file.fileno()):
                    yield
                    return
                continue  # the turn was taken from whoever had it, with its file
        time.sleep(_LOOK_SECONDS)


def holders(path: Path) -> list[int] | None:
    """The processes that hold a lock file, by what Linux lists; None on other systems.

    To try the lock would be wrong: who takes it for a moment stops a landing that comes just
    then. Processes of other containers and hosts are not listed.
    """
    listing = Path("/proc/locks")
    if not listing.exists():
        return None
    try:
        found, noted = path.stat(), path.read_text().strip()
    except FileNotFoundError:  # some locks are removed by who held them
        return []
    place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    held = []
    for line in listing.read_text().splitlines():
        # `1: FLOCK  ADVISORY  WRITE 4711 fe:00:1048 0 EOF`; whoever waits has `->` before FLOCK.
        _, kind, _, _, process, at, *_ = line.split()
        # Btrfs lists another device than `stat` gives, so the process counts there.
        same = at == place or (at.endswith(f":{found.st_ino}") and process == noted)
        if kind == "FLOCK" and same:
            held.append(int(process))
    return held


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
