"""A limit on how long Python code of others may take, such as Jinja that loops.

Belongs here: ending a call that takes too long, in any thread. Not here: how long is too
long.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class TooLong(BaseException):
    """The time is over. Like Ctrl-C it is not an `Exception`: what runs must not catch it."""


class Limit:
    """What became of a call with a limit."""

    is_over: bool = False
    frames: tuple[FrameType, ...] = ()
    """Where the call was when the time was over, innermost first."""


@contextmanager
def time_limit(seconds: float) -> Iterator[Limit]:
    """Raises `TooLong` in the body when it has taken so long.

    The exception comes between two steps of Python: a single call of C code, such as a
    query, ends by itself first. (A signal would only reach the main thread; Dagster's
    sensors and code locations run in others.)
    """
    limit, lock, done = Limit(), threading.Lock(), threading.Event()
    thread = threading.get_ident()

    def watch() -> None:
        if done.wait(seconds):
            return
        with lock:
            if done.is_set():
                return
            limit.is_over = True
            limit.frames = tuple(_frames(sys._current_frames().get(thread)))
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(thread), ctypes.py_object(TooLong)
            )

    watcher = threading.Thread(target=watch, name="time limit", daemon=True)
    watcher.start()
    try:
        yield limit
    finally:
        with lock:
            done.set()
        if limit.is_over:  # it may be on its way still
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), None)


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
