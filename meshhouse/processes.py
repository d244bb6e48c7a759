"""Python processes that work beside this one.

Belongs here: how many, how they get work, and their end. Not here: the work (runs/parse.py,
dagster/run.py).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path

from meshhouse import settings
from meshhouse.errors import UsageError

MIB = 2**20
_CGROUP = Path("/sys/fs/cgroup")


def jobs_by_default(mib_each: int) -> int:
    """How many processes may work at once: `MESH_JOBS`, or as many as cores and memory allow.

    Args:
        mib_each: memory that one process may need.

    Raises:
        UsageError: the setting is not a positive number.
    """
    chosen = settings.value("MESH_JOBS")
    if not chosen:
        return max(1, min(cores(), free_mib() // mib_each))
    if not chosen.isdecimal() or not int(chosen):
        raise UsageError(f"MESH_JOBS is `{chosen}`. Write a number of processes, such as 2.")
    return int(chosen)


def cores() -> int:
    """The cores that this process may use, a container's limit included."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota, _, period = _limit("cpu.max").partition(" ")
    if quota.isdecimal() and period.isdecimal():
        return max(1, min(usable or 1, round(int(quota) / int(period))))
    return usable or 1


def free_mib() -> int:
    """The memory that may still be used, in MiB, a container's limit included."""
    with suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
        limit, used = _limit("memory.max"), _limit("memory.current")
        if limit.isdecimal() and used.isdecimal():
            free = min(free, (int(limit) - int(used)) // 1024)
        return max(0, free // 1024)
    # Not Linux: half of the memory.
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // MIB // 2


def _limit(name: str) -> str:
    try:
        return (_CGROUP / name).read_text().strip()
    except OSError:
        return ""


def in_processes(command: Sequence[str], inputs: Iterable[str], jobs: int) -> None:
    """Gives each input to one of several processes; returns when all of them are done.

    A process gets one input a line, and answers each with a line. What it leaves is in files.
    If one ends early, as for want of memory, the inputs of the others are still worked on.

    Args:
        command: a Python module and its arguments.
        inputs: texts without line breaks.
        jobs: how many processes.
    """
    waiting = deque(inputs)
    workers: list[subprocess.Popen[str]] = []

    def feed(worker: subprocess.Popen[str]) -> None:
        assert worker.stdin is not None
        assert worker.stdout is not None
        with suppress(BrokenPipeError):
            while True:
                try:
                    line = waiting.popleft()
                except IndexError:
                    return
                print(line, file=worker.stdin, flush=True)
                if not worker.stdout.readline():
                    return

    try:
        # In a process group without a terminal: Ctrl-C ends this process, which ends them.
        for _ in range(jobs):
            workers.append(  # noqa: PERF401 - those that started end, even if one does not start
                subprocess.Popen(  # noqa: S603 - this Python
                    [sys.executable, "-m", *command], text=True, process_group=0,
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                )
            )  # fmt: skip
        with ThreadPoolExecutor(jobs) as threads:
            try:
                list(threads.map(feed, workers))
            except BaseException:  # the threads are waited for, so their work must end first
                waiting.clear()
                for worker in workers:
                    worker.kill()
                raise
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


def end_with_parent() -> None:
    """Lets this process end when the one that asked for it ends, however that ends."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="end with parent", daemon=True).start()
