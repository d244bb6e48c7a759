"""Renders pages and writes their files, in several processes if there are many.

Belongs here: calling `Page.render`, and one atomic write for each page. Not here: which pages are
written (site.py).
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from meshhouse.catalog.manifest import DRAFTS
from meshhouse.catalog.page import Page
from meshhouse.errors import MeshError
from meshhouse.processes import end_with_parent, jobs_by_default

_WORTH_A_PROCESS = 200
"""Pages from which another process helps: its start costs as much as 20 pages."""
_MIB = 300
"""Memory that a process may need; it shares the documents with this one."""


def render(folder: Path, pages: Sequence[Page], jobs: int | None = None) -> None:
    """Writes pages, the last one when all others are written.

    Args:
        folder: the site.
        pages: to write.
        jobs: processes; by default as many as the machine allows.

    Raises:
        MeshError: a page cannot be made or written; the message names it.
    """
    for above in sorted({(folder / page.path).parent for page in pages}):
        try:
            above.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MeshError(f"{above} cannot be a folder of the site: {error.strerror}.") from error
    first, last = pages[:-1], pages[-1:]
    # Only Linux lets a process with threads continue as two; what they share is not copied.
    count = (jobs or jobs_by_default(_MIB)) if sys.platform == "linux" else 1
    count = min(count, 1 + len(first) // _WORTH_A_PROCESS)
    if count > 1:
        _in_processes(folder, first, count)
    else:
        _each(folder, first)
    _each(folder, last)


def _each(folder: Path, pages: Sequence[Page]) -> None:
    for page in pages:
        try:
            _write(folder, page)
        except MeshError:
            raise
        except OSError as error:
            raise MeshError(f"{folder / page.path} cannot be written: {error.strerror}.") from error
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            raise MeshError(f"The page {page.path} cannot be made: {what}") from error


def _write(folder: Path, page: Page) -> None:
    content = page.render()
    if isinstance(content, str):
        # A lone surrogate, which JSON can bring in, has no form in UTF-8.
        content = content.encode(errors="replace")
    # Not synced one by one, which takes minutes for 10,000 pages: sizes show what a crash cut.
    draft = folder / DRAFTS / f"{os.getpid()}"
    draft.write_bytes(content)
    draft.replace(folder / page.path)


def _in_processes(folder: Path, pages: Sequence[Page], count: int) -> None:
    context = multiprocessing.get_context("fork")
    workers: list[tuple[BaseProcess, Connection]] = []
    gc.collect()
    gc.freeze()  # or each process copies all documents as soon as it collects garbage
    try:
        for at in range(1, count):
            receiver, sender = context.Pipe(duplex=False)
            share = pages[at::count]
            worker = context.Process(target=_work, args=(folder, share, sender), daemon=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # about threads of libraries
                worker.start()
            sender.close()
            workers.append((worker, receiver))
        _each(folder, pages[::count])
        for worker, receiver in workers:
            problem = _problem(receiver)
            worker.join()
            if problem or worker.exitcode:
                raise MeshError(problem or "A process that writes pages ended early. Build again.")
    finally:
        gc.unfreeze()
        for worker, _ in workers:
            worker.kill()
            worker.join()


def _work(folder: Path, pages: Sequence[Page], sender: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the parent, which ends this process
    gc.disable()
    end_with_parent()
    try:
        _each(folder, pages)
    except MeshError as error:
        sender.send(str(error))
    sender.close()


def _problem(receiver: Connection) -> str:
    try:
        return str(receiver.recv())
    except EOFError:
        return ""
