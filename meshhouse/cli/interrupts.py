"""Detection of Ctrl-C, even if a library hides it.

Belongs here: whether Ctrl-C was pressed, and a flag for commands that finish their batch first. Not
here: the reaction (main.py).

Dagster replaces Python's signal handler and loses an interruption between two steps; DuckDB and
Arrow turn it into other errors. Python writes the number of each signal to a file descriptor before
any handler runs, so this module reads that descriptor.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_state = {"reads": -1, "arrived": False}


def watch() -> None:
    """Starts to detect Ctrl-C; forgets an earlier one."""
    _state["arrived"] = False
    if threading.current_thread() is not threading.main_thread():
        return
    if _state["reads"] == -1:
        reads, writes = os.pipe()
        os.set_blocking(reads, False)
        os.set_blocking(writes, False)
        signal.set_wakeup_fd(writes, warn_on_full_buffer=False)
        sys.unraisablehook = _quiet_after_ctrl_c
        _state["reads"] = reads
    arrived()
    _state["arrived"] = False


def _quiet_after_ctrl_c(raised: Any) -> None:
    """Prints an error of a finalizer, unless Ctrl-C was pressed."""
    if not arrived():
        sys.__unraisablehook__(raised)


def arrived() -> bool:
    """Whether Ctrl-C was pressed since `watch`."""
    if _state["reads"] != -1:
        try:
            if signal.SIGINT in os.read(_state["reads"], 4096):
                _state["arrived"] = True
        except BlockingIOError:
            pass
    return bool(_state["arrived"])


def stop_if_arrived() -> None:
    """Lets a command stop at a safe point.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    if arrived():
        raise KeyboardInterrupt


@contextmanager
def until_signalled() -> Iterator[Callable[[], bool]]:
    """Makes Ctrl-C and SIGTERM only set a flag, so that the current batch is finished."""
    received: list[int] = []
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [
        signal.signal(each, lambda number, frame: received.append(number)) for each in signals
    ]
    try:
        yield lambda: bool(received)
    finally:
        for each, handler in zip(signals, before, strict=True):
            signal.signal(each, handler)
