"""Whether somebody has pressed Ctrl-C, whatever a library made of it.

Belongs here: the one fact. Not here: what becomes of it (main.py).

Dagster replaces Python's handler and forgets an interruption that comes between two steps;
DuckDB and Arrow turn it into errors of their own. Python writes the number of each signal to
a file descriptor before any handler runs, so that is what is asked.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

_state = {"reads": -1, "arrived": False}


def watch() -> None:
    """Begins to notice Ctrl-C; forgets an earlier one."""
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
    """Prints what a finalizer raised, unless it is Ctrl-C that came at that moment."""
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
    """Ends a command at a moment of its choice.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    if arrived():
        raise KeyboardInterrupt
