"""One writer at a time, across processes.

Belongs here: lock files that the kernel releases when their process dies, and the processes
that hold one. Not here: what a lock protects.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_LOOK_SECONDS = 0.01
_TRY_SECONDS = 0.2


@contextmanager
def lock(path: Path, on_wait: Callable[[str], None] = lambda holder: None) -> Iterator[None]:
    """Holds a lock file; waits while another process holds it.

    Args:
        path: the file; its folder is created.
        on_wait: called once before a wait, with the process id of the holder.
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
def lock_unless_stopped(
    path: Path, stopped: Callable[[], bool], on_wait: Callable[[str], None]
) -> Iterator[bool]:
    """Holds a lock file; waits while another process holds it, until the wait is stopped.

    A waiting `flock` cannot be stopped by a flag, so this tries again and again. Holders in shared
    mode that overlap without a gap keep it waiting.

    Args:
        path: the file; its folder is created.
        stopped: called between attempts; True ends the wait.
        on_wait: called once before a wait, with the process id of the holder.

    Yields:
        Whether the lock is held; False if the wait was stopped.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    is_waiting = False
    with path.open("a+") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not is_waiting:
                    file.seek(0)
                    on_wait(file.read().strip() or "unknown")
                    is_waiting = True
            if stopped():
                yield False
                return
            time.sleep(_TRY_SECONDS)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield True


@contextmanager
def shared_lock(path: Path) -> Iterator[None]:
    """Holds a lock file in shared mode; waits while another process holds it exclusively."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextmanager
def lock_if_free(path: Path, shared: bool = False) -> Iterator[str]:
    """Holds a lock file if it is free.

    Args:
        path: the file; its folder is created.
        shared: others may hold it in shared mode at the same time.

    Yields:
        "", or the process id of the other holder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            yield file.read().strip() or "unknown"
            return
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield ""


def hold_until_the_end(path: Path) -> str:
    """Takes a lock file for the life of this process, and of a program that replaces it.

    Returns:
        "", or the process id of another holder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode().strip()
        os.close(descriptor)
        return holder or "unknown"
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    os.set_inheritable(descriptor, True)
    return ""


@contextmanager
def folder_lock(path: Path, exclusive: bool = True) -> Iterator[None]:
    """Holds the lock file of a folder that another process may move or delete meanwhile.

    Args:
        path: the lock file, in the folder.
        exclusive: true for writers, which create the file; false for readers. If no writer has
            created the file, readers need no lock.

    Raises:
        FileNotFoundError: the folder was moved or deleted while this writer waited, so the lock
            does not protect it any more.
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
def advisory_lock(path: Path, patience: float = 5.0) -> Iterator[None]:
    """Holds an advisory lock, which avoids conflicts but does not prevent them.

    A process that holds the lock for longer than `patience` seconds (it was paused, or its disk
    is slow) loses it. So the code inside must be correct without the lock.
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
                continue  # another process removed this lock file after its patience ended
        time.sleep(_LOOK_SECONDS)


def holders(path: Path) -> list[int] | None:
    """The processes that hold a lock file, from Linux's list of locks; None on other systems.

    Trying the lock instead would be wrong: a landing that starts at that time would find the
    lock taken and stop. Processes of other containers and hosts are not listed.
    """
    listing = Path("/proc/locks")
    if not listing.exists():
        return None
    try:
        found, noted = path.stat(), path.read_text().strip()
    except FileNotFoundError:  # some holders remove their lock file
        return []
    place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    held = []
    for line in listing.read_text().splitlines():
        # `1: FLOCK  ADVISORY  WRITE 4711 fe:00:1048 0 EOF`; a waiting one has `->` before FLOCK.
        _, kind, _, _, process, at, *_ = line.split()
        # On Btrfs the listed device differs from that of `stat`, so compare the process too.
        same = at == place or (at.endswith(f":{found.st_ino}") and process == noted)
        if kind == "FLOCK" and same:
            held.append(int(process))
    return held


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
