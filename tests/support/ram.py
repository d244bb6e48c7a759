"""Temporary files of tests in memory, where there is enough of it.

Belongs here: the choice of the folder. Not here: who makes files in it (pytest, `tempfile`).

A run of the tiny mesh waits about 100 times until a disk has stored something: 0.13 s on an idle
machine, of 2 s that the run takes. Tests kill processes, but they do not switch off the machine, so
what they prove does not need a disk.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

_MEMORY = Path("/dev/shm")
_FOR_FILES, _FOR_ALL = 6 << 30, 12 << 30
"""Bytes that must be free for the files of all tests, and for these and all processes."""


def use_memory() -> None:
    """Makes temporary files go to memory; does nothing if `TMPDIR` is set or memory is short."""
    if "TMPDIR" not in os.environ and _is_large_enough():
        os.environ["TMPDIR"] = str(_MEMORY)
        tempfile.tempdir = None  # forget an earlier choice


def _is_large_enough() -> bool:
    if not os.access(_MEMORY, os.W_OK | os.X_OK) or shutil.disk_usage(_MEMORY).free < _FOR_FILES:
        return False
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = [int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")]
    return bool(free) and free[0] >= _FOR_ALL
