"""Expiry: which snapshots a table's metadata must go on listing.

Belongs here: the decision, from the ledger and from when each snapshot was replaced.
Does not: deleting files (orphans.py).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from itertools import pairwise
from typing import Any

from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from meshhouse.lake.states import SAME_ROWS_AS
from meshhouse.runs.history import standing_publications

KEPT_PUBLICATIONS = 10
"""Of each product: so many can be rolled back one after another."""


def needed_snapshots(publications: Iterable[Mapping[str, Any]]) -> dict[str, set[int]]:
    """Relation -> snapshots that the ledger may still ask for.

    Args:
        publications: entries of the ledger, oldest first.
    """
    histories: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for entry in publications:
        histories[f"{entry['domain']}.{entry['product']}"].append(entry)
    needed: dict[str, set[int]] = defaultdict(set)
    for relation, history in histories.items():
        standing = standing_publications(history)
        kept = [*standing[-KEPT_PUBLICATIONS:], *history[-KEPT_PUBLICATIONS:]]
        needed[relation] |= {entry["snapshot_id"] for entry in kept}
        for entry in (*standing[-1:], history[-1]):
            for source, snapshot in (entry.get("input_snapshots") or {}).items():
                needed[source].add(snapshot)
    return needed


def expired_snapshots(
    metadata: TableMetadata, needed: Collection[int], since: datetime | None, newest: int = 0
) -> list[int]:
    """Snapshots that nobody needs and that were shown by no state since a moment.

    Args:
        metadata: of the table.
        needed: snapshots to keep whatever their age, or what holds their rows instead.
        since: what was shown then or later is kept; None for no such moment.
        newest: so many of the newest are kept, too.

    What counts is when a snapshot was replaced, not when it was written: a table that
    was quiet for a week and landed a minute ago still has readers of its previous state.
    """
    since_ms = since.timestamp() * 1000 if since else math.inf
    heads = {ref.snapshot_id for ref in metadata.refs.values()}
    by_age = sorted(metadata.snapshots, key=lambda snapshot: snapshot.sequence_number or 0)
    shown_until = _shown_until(metadata, by_age)
    gone = set(needed) - shown_until.keys()
    return [
        snapshot.snapshot_id
        for snapshot in (by_age[:-newest] if newest else by_age)
        if snapshot.snapshot_id not in heads
        and snapshot.snapshot_id not in needed
        and _rows_of(snapshot) not in gone
        and shown_until[snapshot.snapshot_id] <= since_ms
    ]


def _shown_until(metadata: TableMetadata, by_age: Iterable[Snapshot]) -> dict[int, int]:
    """Snapshot -> when it was replaced, in milliseconds.

    In tables written by older versions, times in the log may go back. There the latest time
    so far counts, so that a clock that was behind makes nothing look old.
    """
    found, latest = {}, 0
    for snapshot in by_age:
        latest = max(latest, snapshot.timestamp_ms)
        found[snapshot.snapshot_id] = latest
    latest = 0
    for entry, following in pairwise(metadata.snapshot_log):
        latest = max(latest, entry.timestamp_ms, following.timestamp_ms)
        found[entry.snapshot_id] = latest
    return found


def _rows_of(snapshot: Snapshot) -> int | None:
    """The snapshot whose rows a compaction has laid out anew in this one."""
    known = snapshot.summary[SAME_ROWS_AS] if snapshot.summary else None
    return int(known) if known else None
