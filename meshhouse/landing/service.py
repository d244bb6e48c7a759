"""Landing as commands and assets ask for it.

Belongs here: one lander a table at a time on this machine, and the ledger entry. Does
not: how a table is landed (land.py).
"""

from __future__ import annotations

import json
import uuid

from meshhouse.events import event_log
from meshhouse.lake import Lake
from meshhouse.landing.land import Landing, Progress, land
from meshhouse.locks import lock
from meshhouse.registry import Registry
from meshhouse.repository import RawTable, Repository


def land_table(
    repository: Repository,
    lake: Lake,
    raw: RawTable,
    progress: Progress = lambda events: None,
) -> Landing:
    """Lands what the topic of one raw table holds now and records it.

    Raises:
        MeshError: see `land`.
    """
    with lock(repository.home / "locks" / f"{raw.relation}.landing"):
        landing = land(event_log(repository.home), lake, raw, progress)
    if landing.commits:
        Registry(lake).commit([], {"landings": [_entry(landing)]})
    return landing


def _entry(landing: Landing) -> dict[str, object]:
    return {
        "run_id": str(uuid.uuid4()),
        "domain": landing.raw.domain,
        "raw_table": landing.raw.relation,
        "topic": landing.raw.topic,
        "rows": landing.rows,
        "rejected": landing.rejected,
        "offsets": json.dumps({str(key): value for key, value in landing.offsets.items()}),
        "snapshot_id": landing.snapshot_id,
        "started_at": landing.started_at,
        "finished_at": landing.finished_at,
    }
