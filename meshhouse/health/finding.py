"""The result of a check.

Belongs here: the fields of a finding. Not here: the checks (examine.py, events.py, ledger.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """The severity of a finding."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing; no data is lost."""
    DAMAGED = "damaged"
    """Something cannot be read or is wrong."""


@dataclass(frozen=True)
class Finding:
    """The result of one check of one subject."""

    area: str
    """`declarations`, `catalog`, `tables`, `events`, `ledger`, `sinks`, `streams`, `locks`, `disk`,
    `clock` or `versions`."""
    subject: str
    """A table, a topic, a file."""
    level: Level
    what: str
    remedy: str = ""
    file: str = ""
