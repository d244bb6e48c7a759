"""Whether the ledger says what the tables hold.

Belongs here: rows of landings, and the newest publication of each product. Not here: how
the ledger is kept (ledger.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from meshhouse.health.finding import Finding, Level
from meshhouse.lake import Lake
from meshhouse.lake.damage import Damaged, read_metadata
from meshhouse.lake.ledger import LakeLedger
from meshhouse.lake.states import snapshot_id
from meshhouse.landing.unrecorded import unrecorded
from meshhouse.runs.history import standing_publications


def landed_topics(lake: Lake) -> dict[str, str]:
    """Raw table -> the topic that it was last landed from, by the ledger."""
    return {each["raw_table"]: each["topic"] for each in LakeLedger(lake).entries("landings")}


def ledger(lake: Lake) -> Iterator[Finding]:
    """Each raw table and each product that the ledger knows."""
    pointers = lake.pointers()
    yield from _landings(lake, pointers)
    yield from _publications(lake, pointers)


def _landings(lake: Lake, pointers: dict[str, str]) -> Iterator[Finding]:
    ledger = LakeLedger(lake)
    recorded: dict[str, int] = defaultdict(int)
    for entry in ledger.entries("landings"):
        recorded[entry["raw_table"]] += entry["rows"] - (entry.get("replaced") or 0)
    for entry in ledger.entries("rejections"):
        if entry["kind"] == "replay":
            recorded[entry["raw_table"]] += entry["events"]
    for relation, rows in sorted(recorded.items()):
        if relation not in pointers:
            what = f"is gone, though the ledger says that {rows:,} rows were landed"
            yield Finding("ledger", relation, Level.DAMAGED, what, "Restore it from a backup.")
            continue
        try:
            metadata = read_metadata(pointers[relation], relation)
        except Damaged:
            continue  # said where tables are looked at
        notes = unrecorded(metadata.get("properties", {}))
        waiting = sum(each["rows"] for each in notes)
        held = _rows(metadata)
        if notes:
            what = f"{waiting:,} rows were landed that the ledger does not list yet"
            remedy = "The next landing adds them; somebody may be landing now."
            yield Finding("ledger", relation, Level.NOTE, what, remedy)
        if held != rows + waiting:
            what = f"holds {held:,} rows, and the ledger says {rows + waiting:,}"
            remedy = (
                "Versions before numbers lost entries of killed landings, and did not count what "
                "`--again-from` replaced; or another program changed the table. The table counts."
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


def _publications(lake: Lake, pointers: dict[str, str]) -> Iterator[Finding]:
    histories: dict[str, list] = defaultdict(list)
    for entry in LakeLedger(lake).entries("publications"):
        histories[f"{entry['domain']}.{entry['product']}"].append(entry)
    for relation, history in sorted(histories.items()):
        standing = standing_publications(history)
        if not standing:
            continue
        if relation not in pointers:
            what = "was published, and is not in the catalog"
            remedy = f"Publish it again: `mesh run {relation.partition('.')[0]} --force`."
            yield Finding("ledger", relation, Level.DAMAGED, what, remedy)
            continue
        try:
            shown = snapshot_id(pointers[relation])
        except Damaged:
            continue
        if shown == standing[-1]["snapshot_id"]:
            yield Finding("ledger", relation, Level.OK, "shows its newest publication")
        else:
            what = f"shows snapshot {shown}, not {standing[-1]['snapshot_id']} of its publication"
            remedy = (
                "Another program has changed it. Publish it again: `mesh run "
                f"{relation.partition('.')[0]} --force`."
            )
            yield Finding("ledger", relation, Level.DAMAGED, what, remedy)
