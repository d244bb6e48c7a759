"""What a rollback gives back: the columns that differ between what it undid and what it shows.

Belongs here: columns by two contracts, and by what the undone publication recorded. Not here: which
publication a rollback shows (heads.py), or who hears of it (notices/).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from meshhouse.governance.contract import Contract

MEANING = "has its earlier values again"
"""What is said of a column whose values or meaning the undone publication changed."""


@dataclass(frozen=True)
class Returned:
    """One column that readers find otherwise after a rollback."""

    column: str
    how: str
    """What happened to it, as words that follow its name."""


def returned_columns(
    undone: Contract | None, shown: Contract | None, recorded: Iterable[Mapping[str, Any]] = ()
) -> tuple[Returned, ...]:
    """The columns that change with a rollback, by name.

    Args:
        undone: the contract of the publication that was taken back; None if it is not known.
        shown: the contract of the publication that readers see again; None if it is not known.
        recorded: the changes that the undone publication recorded.
    """
    before, after = _columns(undone), _columns(shown)
    found: dict[str, Returned] = {}
    if before and after:
        for key in before.keys() | after.keys():
            how = _how(before.get(key), after.get(key))
            if how:
                found[key] = Returned(str((before.get(key) or after[key])["name"]), how)
    known = before | after
    for each in recorded:
        subject = str(each.get("change") or "").partition(":")[2].lower()
        if subject in known and subject not in found:
            found[subject] = Returned(str(known[subject]["name"]), MEANING)
    return tuple(found[key] for key in sorted(found))


def _columns(contract: Contract | None) -> dict[str, Mapping[str, Any]]:
    columns = contract.columns if contract is not None else {}
    return {name.lower(): each for name, each in columns.items()}


def _how(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> str:
    """What a rollback from one column to the other does; empty if nothing."""
    if before is None:
        return "is back"
    if after is None:
        return "is gone"
    if before["name"] != after["name"]:
        return f"is called {after['name']} again"
    types = [str(each.get("type") or "") for each in (before, after)]
    return f"is {types[1]} again" if types[0] != types[1] else ""
