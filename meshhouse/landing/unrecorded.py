"""Ledger entries that travel with a raw table until the ledger has them.

Belongs here: what a lander notes in the commit of its rows, and reading it. Does not:
moving the notes to the ledger (service.py).

An append to the ledger in every commit would add a file a second while following. So each
commit adds its counts to a property of the raw table, in the same metadata file as the rows,
and the ledger takes all notes over now and then, in one transaction that also clears the
property. A kill between the two loses nothing: the next landing takes the notes over.
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
"""JSON: one entry a lander that has committed since the ledger took the notes over."""
_TIMES = ("started_at", "finished_at")


class Lander:
    """One landing at work: what it has done since the ledger was last told."""

    def __init__(self) -> None:
        """Begins now."""
        self.id = str(uuid.uuid4())
        self.since = datetime.now(UTC)
        """When the next entry begins: at the start, later at the last commit."""

    def noted(
        self,
        properties: Mapping[str, str],
        raw: RawTable,
        counts: tuple[int, int],
        offsets: Mapping[int, int],
        snapshot_id: int | None,
    ) -> str:
        """The property with one more commit of this lander.

        Args:
            properties: of the table on which the commit builds.
            raw: what is landed.
            counts: rows and rejected events of the commit.
            offsets: next offset of each partition after it.
            snapshot_id: of the rows.
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
        """A ledger entry of what was done since `since`."""
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
    """Ledger entries that a raw table holds and the ledger does not."""
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
