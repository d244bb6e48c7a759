"""Topics and where their events come from."""

from __future__ import annotations

from pathlib import Path

from meshhouse.events.log import EventLog


def event_log(home: Path) -> EventLog:
    """The embedded event log of a mesh."""
    return EventLog(home / "events")


__all__ = ["EventLog", "event_log"]
