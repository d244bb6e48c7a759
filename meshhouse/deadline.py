"""A time limit for Python code that the mesh does not control, such as Jinja that loops.

Belongs here: ending a call that takes too long, in any thread. Not here: the limits themselves
(meshhouse/dbt/, lint/columns.py).
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class TooLong(BaseException):
    """The time is over. Not an `Exception`, so that the called code does not catch it."""


class Limit:
    """The state of a call with a time limit."""

    is_over: bool = False
    frames: tuple[FrameType, ...] = ()
    """The stack of the call when the time was over, innermost frame first."""


@contextmanager
def time_limit(seconds: float) -> Iterator[Limit]:
    """Raises `TooLong` in the body after the given time.

    Python raises the exception between two bytecode instructions, so a running call of C code,
    such as a query, finishes first. A signal would not work: it reaches the main thread only,
    and Dagster's sensors and code locations run in other threads.
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
        if limit.is_over:  # the exception may be pending: cancel it
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), None)


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
