"""What happened since a build: new entries of the ledger, and tables that changed.

Belongs here: the proof that the ledger only grew, and which tables changed without an entry. Not
here: what entries mean for documents (update.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meshhouse.catalog.remembered.state import State, digest_of
from meshhouse.engines import Engine
from meshhouse.ledger import LEDGERS, Ledger

Entries = Mapping[str, Sequence[Mapping[str, Any]]]
_LEFT_OUT = frozenset({"contracts", "deliveries", "statistics"})
"""Ledgers that documents do not show, or whose content heads have."""
_SHOWN = tuple(sorted(LEDGERS.keys() - _LEFT_OUT))
_BUILD = "_build"
_OWN = "meshhouse"


@dataclass(frozen=True)
class Since:
    """What changed."""

    entries: Entries
    """Table of the ledger -> its new entries, oldest first."""
    marks: dict[str, tuple[int, str]]
    """See `State.marks`."""
    shown: dict[str, str]
    """Table -> its state now."""
    changed: frozenset[str]
    """Tables outside of the ledger whose state changed, also those that came or went."""


def since(state: State, engine: Engine) -> Since | None:
    """What changed since a build; None if the ledger is not a longer form of what it was.

    It is not if a backup was restored, or if entries were removed.
    """
    shown = known_states(engine.states())
    new: dict[str, list[dict[str, Any]]] = {}
    marks: dict[str, tuple[int, str]] = {}
    for name in _SHOWN:
        number, digest = state.marks[name]
        table = f"{_OWN}.{name}"
        if shown.get(table) == state.shown.get(table):
            new[name], marks[name] = [], (number, digest)
            continue
        found = engine.ledger.entries_from(name, number)
        if digest != _digest([each for each in found if each["number"] == number], number):
            return None
        new[name] = [each for each in found if each["number"] > number]
        marks[name] = _mark(found) or (number, digest)
    differing = {name for name, each in shown.items() if state.shown.get(name) != each}
    differing |= state.shown.keys() - shown.keys()
    changed = frozenset(each for each in differing if not each.startswith(f"{_OWN}."))
    return Since(new, marks, shown, changed)


def marks_of(ledger: Ledger) -> dict[str, tuple[int, str]]:
    """The newest number of each table of the ledger, with a digest of its entries.

    Read before documents are gathered: what comes later is new for the next build.
    """
    return {name: _mark(ledger.newest(name)) or (0, _digest([], 0)) for name in _SHOWN}


def known_states(states: Mapping[str, str]) -> dict[str, str]:
    """The states of tables that decide documents: of the ledger, raw tables and published ones."""
    return {
        name: each for name, each in states.items() if not name.partition(".")[0].endswith(_BUILD)
    }


def _mark(entries: Sequence[Mapping[str, Any]]) -> tuple[int, str] | None:
    if not entries:
        return None
    number = int(entries[-1]["number"])
    return number, _digest([each for each in entries if each["number"] == number], number)


def _digest(entries: Sequence[Mapping[str, Any]], number: int) -> str:
    # Times have another class in each process that reads them first.
    return digest_of(
        (number, *(f"{name} {value}" for name, value in sorted(each.items()))) for each in entries
    )
