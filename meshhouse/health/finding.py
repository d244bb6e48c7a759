"""What a check found.

Belongs here: the shape of a finding. Not here: the checks.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing; nothing is lost."""
    DAMAGED = "damaged"
    """Something cannot be read, or says something wrong."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    area: str
    """`catalog`, `tables`, `events`, `ledger`, `locks`, `disk`, `clock` or `versions`."""
    subject: str
    """A table, a topic, a file."""
    level: Level
    what: str
    remedy: str = ""
    file: str = ""
