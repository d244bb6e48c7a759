"""What formats cannot read: a declaration, or an event.

Belongs here: the two failures that callers tell apart. Not here: a registry that does
not answer, which is a plain `MeshError` (schema_registry.py).
"""

from __future__ import annotations

from pathlib import Path

from meshhouse.repository import DeclarationError


class BadDeclaration(DeclarationError):
    """A topic's declaration does not say how to read its events."""

    def __init__(self, path: Path, line: int, problem: str, remedy: str) -> None:
        super().__init__(path, line, f"{problem} {remedy}")
        self.problem = problem
        self.remedy = remedy


class Unreadable(Exception):
    """An event has no JSON; the message is the reason of its rejection."""
