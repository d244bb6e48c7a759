"""Errors of formats: a bad declaration, or an event that cannot be read.

Belongs here: the two errors that callers catch by name. Not here: an unreachable schema registry,
which is a plain `MeshError` (schema_registry.py).
"""

from __future__ import annotations

from pathlib import Path

from meshhouse.repository import DeclarationError


class BadDeclaration(DeclarationError):
    """A topic's declaration is not enough to read its events."""

    def __init__(self, path: Path, line: int, problem: str, remedy: str) -> None:
        super().__init__(path, line, f"{problem} {remedy}")
        self.problem = problem
        self.remedy = remedy


class Unreadable(Exception):
    """An event cannot be converted to JSON; the message is the reason of its rejection."""
