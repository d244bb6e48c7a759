"""Removes products that were retired, with their files, after the notice period.

Belongs here: which retired tables are removed. Not here: retiring a product (runs/retirement.py),
or the length of the period (governance/policies/).
"""

from __future__ import annotations

from datetime import datetime

from meshhouse.lake import Lake
from meshhouse.lake.ledger import LakeLedger
from meshhouse.lake.orphans import files_in
from meshhouse.lake.storage import delete
from meshhouse.locks import lock
from meshhouse.runs.retirement import SUFFIX, shown_as


def remove_retired(lake: Lake, before: datetime) -> list[str]:
    """Removes retired tables from the catalog, then their files.

    With a catalog service, only the service removes files.

    Args:
        lake: where the tables are.
        before: products that were retired earlier are removed.

    Returns:
        The removed tables.
    """
    removed = []
    names = [kept[0] for name in lake.states() if (kept := shown_as(name))]
    for domain in sorted({name.partition(".")[0] for name in names}):
        with lock(lake.locks / f"{domain}.run"):  # a product may be coming back
            removed += _remove_of(lake, domain, before)
    return removed


def _remove_of(lake: Lake, domain: str, before: datetime) -> list[str]:
    due = _due(lake, before)
    own = [name for name in lake.states() if name.startswith(f"{domain}{SUFFIX}.")]
    doomed = [name for name in own if (kept := shown_as(name)) and kept[1] in due]
    folders = {table.location() for name in doomed if (table := lake.load(name)) is not None}
    lake.forget_tables(doomed)
    used = {place.partition("/metadata/")[0] for place in lake.stored().values()}
    for folder in folders - used if not lake.is_served else ():
        for file in files_in(folder):
            delete(file.location)
    return sorted(doomed)


def _due(lake: Lake, before: datetime) -> set[str]:
    """Snapshots of tables that were last retired before a time; they end tables' names.

    The product may be published again, as another table.
    """
    newest = {
        each["snapshot_id"]: each["finished_at"]
        for each in LakeLedger(lake).entries("publications")
        if each["kind"] == "retire"
    }
    return {str(snapshot) for snapshot, at in newest.items() if at < before}
