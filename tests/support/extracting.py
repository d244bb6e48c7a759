"""Extractions that end at any of their steps.

Belongs here: ending a process at a call. Not here: what must hold afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from meshhouse.events import open_writer
from meshhouse.extraction import steps
from meshhouse.repository import Repository


class _Killed:
    """Ends the process at the n-th call of a method, before or after it."""

    def __init__(self, method: Callable, number: int, is_after: bool) -> None:
        self._method = method
        self._left = number
        self._is_after = is_after

    def __call__(self, *arguments, **named):
        self._left -= 1
        if self._left == 0 and not self._is_after:
            os._exit(9)
        result = self._method(*arguments, **named)
        if self._left == 0:
            os._exit(9)
        return result


def extract_and_die(
    repository: Repository, table: str, place: object, name: str, number: int, is_after: bool
) -> None:
    """Extracts in a forked process, which ends at a call, or with 1 if that call never comes."""
    try:
        target = open_writer(repository.root, repository.home)
        holder = type(target) if place == "target" else place
        wrapped = _Killed(getattr(holder, name), number, is_after)
        # A plain function becomes a method; an object with `__call__` would not.
        setattr(holder, name, lambda *a, **k: wrapped(*a, **k))
        steps.extract(repository, repository.raw_table(table))
    finally:
        os._exit(1)
