"""Compares the ledger with the tables.

Belongs here: rows of landings, and the newest publication of each product. Not here: how
the ledger is stored (meshhouse/ledger.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from meshhouse.heads import by_product, effective_publications
from meshhouse.health.finding import Finding, Level
from meshhouse.lake import Lake
from meshhouse.lake.damage import Damaged, read_metadata
from meshhouse.lake.ledger import LakeLedger
from meshhouse.lake.states import snapshot_id
from meshhouse.landing.unrecorded import unrecorded


def landed_topics(lake: Lake) -> dict[str, str]:
    """Raw table -> the topic that it was last landed from, according to the ledger."""
    return {each["raw_table"]: each["topic"] for each in LakeLedger(lake).entries("landings")}


def ledger(lake: Lake) -> Iterator[Finding]:
    """Checks each raw table and each product that the ledger lists."""
    states = lake.states()
    yield from _landings(lake, states)
    yield from _publications(lake, states)
    yield from _heads(lake)


def _landings(lake: Lake, states: dict[str, str]) -> Iterator[Finding]:
    ledger = LakeLedger(lake)
    recorded: dict[str, int] = defaultdict(int)
    for entry in ledger.entries("landings"):
        recorded[entry["raw_table"]] += entry["rows"] - (entry.get("replaced") or 0)
    for entry in ledger.entries("rejections"):
        if entry["kind"] == "replay":
            recorded[entry["raw_table"]] += entry["events"]
    for relation, rows in sorted(recorded.items()):
        if relation not in states:
            what = f"is missing, although the ledger lists {rows:,} landed rows"
            yield Finding("ledger", relation, Level.DAMAGED, what, "Restore it from a backup.")
            continue
        try:
            metadata = read_metadata(states[relation], relation)
        except Damaged:
            continue  # reported by the check of tables
        notes = unrecorded(metadata.get("properties", {}))
        waiting = sum(each["rows"] for each in notes)
        held = _rows(metadata)
        if notes:
            what = f"holds {waiting:,} landed rows that the ledger does not list yet"
            remedy = "The next landing adds them to the ledger; one may be running now."
            yield Finding("ledger", relation, Level.NOTE, what, remedy)
        if held != rows + waiting:
            what = f"holds {held:,} rows, but the ledger lists {rows + waiting:,}"
            remedy = (
                "Nothing to do: the table is right. Old versions lost the entries of killed "
                "landings and did not count rows that `--again-from` replaced. Or another "
                "program changed the table."
            )
            yield Finding("ledger", relation, Level.NOTE, what, remedy)
        else:
            yield Finding("ledger", relation, Level.OK, f"lists all {held:,} rows")


def _rows(metadata: dict) -> int:
    shown = metadata.get("current-snapshot-id")
    for snapshot in metadata.get("snapshots", ()):
        if snapshot["snapshot-id"] == shown:
            return int(snapshot["summary"].get("total-records", 0))
    return 0


def _publications(lake: Lake, states: dict[str, str]) -> Iterator[Finding]:
    histories = by_product(LakeLedger(lake).entries("publications"))
    for relation, history in sorted(histories.items()):
        standing = effective_publications(history)
        if not standing:
            continue
        if relation not in states:
            what = "was published, but is not in the catalog"
            remedy = f"Publish it again: `mesh run {relation.partition('.')[0]} --force`."
            yield Finding("ledger", relation, Level.DAMAGED, what, remedy)
            continue
        try:
            shown = snapshot_id(states[relation])
        except Damaged:
            continue
        if shown == standing[-1]["snapshot_id"]:
            yield Finding("ledger", relation, Level.OK, "is at its newest publication")
        else:
            published = standing[-1]["snapshot_id"]
            what = f"is at snapshot {shown}, but {published} was published"
            remedy = (
                "Another program changed the table. Publish it again: `mesh run "
                f"{relation.partition('.')[0]} --force`."
            )
            yield Finding("ledger", relation, Level.DAMAGED, what, remedy)


def _heads(lake: Lake) -> Iterator[Finding]:
    stale = LakeLedger(lake).stale_heads()
    for subject in stale:
        what = "has a row in meshhouse.heads that differs from its history in the ledger"
        remedy = "`mesh maintain` makes the heads from the history again."
        yield Finding("ledger", subject, Level.DAMAGED, what, remedy)
    if not stale:
        yield Finding("ledger", "meshhouse.heads", Level.OK, "agrees with the history")
