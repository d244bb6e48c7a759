"""Expiry: decides which snapshots a table keeps.

Belongs here: the decision, from the ledger and the time when each snapshot was replaced.
Not here: deleting files (lake/orphans.py), or committing the change (maintain.py).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime
from itertools import pairwise
from typing import Any

from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from meshhouse.heads import Standing, by_product
from meshhouse.lake.states import SAME_ROWS_AS

KEPT_PUBLICATIONS = 10
"""The number of publications that each product keeps, so that it can be rolled back to them."""


def needed_snapshots(publications: Iterable[dict[str, Any]]) -> dict[str, set[int]]:
    """Relation -> snapshots that a rollback or a comparison of inputs may still need.

    Args:
        publications: entries of the ledger, oldest first.
    """
    needed: dict[str, set[int]] = defaultdict(set)
    for relation, history in by_product(publications).items():
        after = Standing.after(history)
        standing = after.shown or after.retired  # a retired product may come back
        kept = [*standing[-KEPT_PUBLICATIONS:], *history[-KEPT_PUBLICATIONS:]]
        needed[relation] |= {entry["snapshot_id"] for entry in kept}
        for entry in (*standing[-1:], history[-1]):
            for source, snapshot in (entry.get("input_snapshots") or {}).items():
                needed[source].add(snapshot)
    return needed


def expired_snapshots(
    metadata: TableMetadata, needed: Collection[int], since: datetime | None, newest: int = 0
) -> list[int]:
    """Snapshots that are not needed and that were replaced before a given time.

    The time of replacement counts, not the time of writing: if a table did not change for a
    week and a landing replaced its snapshot a minute ago, readers may still use that snapshot.

    Args:
        metadata: of the table.
        needed: snapshots to keep at any age; if one is gone, the snapshot that holds its rows.
        since: snapshots that were current at this time or later are kept; None for no limit.
        newest: the number of newest snapshots that are kept as well.
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
    """Snapshot -> time when it was replaced, in milliseconds.

    In tables written by old versions, times in the snapshot log may decrease. Then the latest
    time so far counts, so that a slow clock does not make a snapshot look old.
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
    """The snapshot whose rows this one holds in merged files; None if it is not compacted."""
    known = snapshot.summary[SAME_ROWS_AS] if snapshot.summary else None
    return int(known) if known else None
