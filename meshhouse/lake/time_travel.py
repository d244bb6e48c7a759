"""Time travel: reading an earlier state of a table, without changing the table.

Belongs here: writing a metadata file of an earlier state, outside the lake. Not here: rollback,
which is a commit (engines/iceberg.py).
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from meshhouse.files import replace
from meshhouse.lake.damage import read_metadata
from meshhouse.lake.object_store import is_remote
from meshhouse.lake.states import REWRITTEN, SAME_ROWS_AS, snapshot_id
from meshhouse.lake.storage import plain_path


def as_of(metadata_location: str, snapshot: int, folder: Path, own_columns: bool = False) -> str:
    """A metadata file that shows a table with the rows of an earlier snapshot.

    The file has today's columns; columns that are newer than the snapshot are null. If a field id
    now means another column, it has the columns of the snapshot: data files name columns by id.

    Args:
        metadata_location: the table's current metadata location.
        snapshot: the snapshot to read.
        folder: the folder for the new file, if one is needed.
        own_columns: show the columns that the table had at the snapshot, not today's.

    Returns:
        The new file's location. The given location if it shows that snapshot, if the table has
        expired the snapshot, or if the table is in an object store.
    """
    if is_remote(metadata_location) or snapshot_id(metadata_location) == snapshot:
        return metadata_location  # in a store, readers derive the table's folder from the location
    source = Path(plain_path(metadata_location))
    metadata = read_metadata(metadata_location)
    kept = [each for each in metadata["snapshots"] if snapshot in _stands_for(each)]
    if not kept:
        return metadata_location
    shown = kept[-1]["snapshot-id"]
    today = metadata["current-schema-id"]
    metadata["current-schema-id"] = (
        kept[-1].get("schema-id", today) if own_columns else _schema_for(kept[-1], metadata)
    )
    metadata["current-snapshot-id"] = shown
    _undo_rewriting(metadata, kept[-1]["timestamp-ms"])
    metadata["refs"] = {
        **metadata.get("refs", {}), "main": {"snapshot-id": shown, "type": "branch"}
    }  # fmt: skip
    logged = {"snapshot-id": shown, "timestamp-ms": metadata["last-updated-ms"]}
    metadata["snapshot-log"] = [*metadata.get("snapshot-log", []), logged]
    path = folder / f"{shown}-{source.name.replace('.gz.', '.')}"
    _write(path, json.dumps(metadata))
    return f"file://{path}"


def _undo_rewriting(metadata: dict[str, Any], timestamp_ms: int) -> None:
    """Marks the rows as older than the last rewriting, if that came after the snapshot."""
    rewritten = metadata.get("properties", {}).get(REWRITTEN)
    if rewritten and datetime.fromisoformat(rewritten).timestamp() * 1000 > timestamp_ms:
        metadata["properties"] = {**metadata["properties"], REWRITTEN: f"before {rewritten}"}


def _write(path: Path, text: str) -> None:
    if path.exists() and path.read_text() == text:
        return  # a run may be reading it
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, text)


def _schema_for(snapshot: dict[str, Any], metadata: dict[str, Any]) -> int:
    """The id of the schema for a snapshot: today's, unless a field id now means another column."""
    from pyiceberg.schema import Schema

    from meshhouse.lake.evolution import keeps

    schemas = {each["schema-id"]: each for each in metadata["schemas"]}
    today = metadata["current-schema-id"]
    then = snapshot.get("schema-id", today)
    fields = {each.field_id: each for each in Schema.model_validate(schemas[today]).fields}
    for old in Schema.model_validate(schemas[then]).fields:
        new = fields.get(old.field_id, old)
        if new.name != old.name or not keeps(old.field_type, new.field_type):
            return then
    return today


def _stands_for(snapshot: dict[str, Any]) -> tuple[int, int]:
    own = snapshot["snapshot-id"]
    return own, int(snapshot.get("summary", {}).get(SAME_ROWS_AS, own))
