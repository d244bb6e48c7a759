"""Ledger entries that are stored with a raw table until they are moved to the ledger.

Belongs here: the table property that each commit of a lander updates, and reading it. Not here:
moving the entries to the ledger (lake_store.py), or when that happens (service.py).

A ledger entry in every commit would add about one file per second during continuous landing. So
each commit adds its counts to a property of the raw table, in the same metadata file as the rows.
From time to time one transaction appends the entries to the ledger and clears the property. A kill
before that loses nothing: the next landing moves the entries.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from meshhouse.ledger import user
from meshhouse.repository import RawTable

UNRECORDED = "meshhouse.unrecorded"
"""Table property: JSON with one entry per lander that committed since the last move."""
_TIMES = ("started_at", "finished_at")


class Lander:
    """One running landing, which counts its rows since its last ledger entry."""

    def __init__(self) -> None:
        """Starts the landing's first entry now."""
        self.id = str(uuid.uuid4())
        self.since = datetime.now(UTC)
        """Start of the next entry: the start of the landing, later the last commit."""

    def noted(
        self,
        properties: Mapping[str, str],
        raw: RawTable,
        counts: tuple[int, int],
        offsets: Mapping[int, int],
        snapshot_id: int | None,
    ) -> str:
        """Returns the new value of the property, with one more commit of this lander.

        Args:
            properties: properties of the table on which the commit builds.
            raw: the raw table.
            counts: numbers of rows and rejected events in the commit.
            offsets: next offset of each partition after the commit.
            snapshot_id: the snapshot with the rows.
        """
        notes = json.loads(properties.get(UNRECORDED, "[]"))
        own = next((each for each in notes if each["lander"] == self.id), None)
        if own is None:
            own = {"lander": self.id, **self.entry(raw, (0, 0), {}, None)}
            notes.append(own)
        added = self.entry(raw, counts, offsets, snapshot_id)
        own["rows"] += added["rows"]
        own["rejected"] += added["rejected"]
        own["offsets"] = {**own["offsets"], **added["offsets"]}
        own["snapshot_id"] = snapshot_id
        own["finished_at"] = added["finished_at"]
        return json.dumps(notes, default=datetime.isoformat)

    def entry(
        self,
        raw: RawTable,
        counts: tuple[int, int],
        offsets: Mapping[int, int],
        snapshot_id: int | None,
    ) -> dict[str, Any]:
        """Makes the ledger entry for the time from `since` to now."""
        return {
            "domain": raw.domain,
            "raw_table": raw.relation,
            "topic": raw.topic,
            "rows": counts[0],
            "rejected": counts[1],
            "offsets": {str(key): value for key, value in offsets.items()},
            "snapshot_id": snapshot_id,
            "started_at": self.since,
            "finished_at": datetime.now(UTC),
            "done_by": user(),
        }


def unrecorded(properties: Mapping[str, str]) -> list[dict[str, Any]]:
    """Reads the ledger entries that are stored only in a raw table's property."""
    return [
        {
            "run_id": str(uuid.uuid4()),
            **{
                name: datetime.fromisoformat(value) if name in _TIMES else value
                for name, value in each.items()
                if name != "lander"
            },
        }
        for each in json.loads(properties.get(UNRECORDED, "[]"))
    ]
