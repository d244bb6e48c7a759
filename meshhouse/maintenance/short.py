"""Keeping tables short after each landing and run, without waiting for `mesh maintain`.

Belongs here: when a table has grown long, and how much of it stays. Not here: how snapshots expire
and files are merged (maintain.py), or the ledger's tables, which each commit keeps short
(lake/ledger_files.py).

Each commit copies the list of a table's snapshots, and a landing adds a file that every later run
opens. So work would grow with the number of publications.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from meshhouse.lake import Lake
from meshhouse.lake.damage import read_metadata
from meshhouse.lake.object_store import is_remote
from meshhouse.lake.storage import delete
from meshhouse.locks import lock_if_free
from meshhouse.maintenance.maintain import A_DAY, kept_of, needed_of, owners_of, tidy

LONG = 32
"""Snapshots from which a table is shortened. A product keeps 10 to 20 for rollbacks."""
KEPT = 8
"""The newest snapshots that stay in any case."""


def keep_short(lake: Lake, relations: Collection[str]) -> list[str]:
    """Shortens those of some tables that have grown long; takes no time if none has.

    Snapshots that a rollback or a comparison of inputs needs stay. Files stay for a day after the
    table stopped using them: readers may have begun with an earlier state. A table that another
    process runs, maintains or backs up is left to the next call.

    Args:
        lake: where the tables are.
        relations: tables that the caller has just changed; those that do not exist are left out.

    Returns:
        The tables that were shortened.
    """
    states = lake.states()
    found = [each for each in sorted(relations) if each in states and _is_long(states[each])]
    if not found:
        return []
    needed, done = needed_of(lake), []
    with lock_if_free(lake.locks / "maintain") as maintaining:
        for relation in () if maintaining else found:
            names = lake.names_at(lake.state(relation) or "") or [relation]
            if _shortened(lake, relation, names, kept_of(names, needed)):
                done.append(relation)
    return done


def _is_long(location: str) -> bool:
    return len(read_metadata(location).get("snapshots", ())) >= LONG


def _shortened(lake: Lake, relation: str, names: Collection[str], needed: set[int]) -> bool:
    """Shortens one table, if nobody runs a domain that has it."""
    from meshhouse.lake.orphans import orphans

    [owner, *others] = owners_of(names)
    if others:  # a table that moved between domains; `mesh maintain` waits for both
        return False
    with lock_if_free(lake.locks / f"{owner}.run") as running:
        if running or tidy(lake, relation, needed, timedelta(0), KEPT) is None:
            return False
        location = lake.state(relation) or ""
        if not lake.is_served and not is_remote(location):
            before = datetime.now(UTC) - A_DAY
            for file in orphans(lake, relation, before, before):
                delete(file.location)
    return True
