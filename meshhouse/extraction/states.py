"""How far streams were extracted, for people who look after a mesh.

Belongs here: reading the state of an extraction without extracting. Not here: what it means for the
health of the mesh (health/streams.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from meshhouse.extraction.kept_shards import KeptShards
from meshhouse.repository import RawTable, Repository


@dataclass(frozen=True)
class StreamState:
    """How far the stream of a raw table was extracted."""

    read_until: float
    """All records that arrived before were extracted, in seconds since 1970.

    Without `is_whole`, earlier records may be missing as well.
    """
    retention: float
    """For how many seconds the stream keeps records."""
    is_whole: bool
    """Whether each open shard was read."""

    @property
    def removed_from(self) -> float:
        """When the stream begins to remove records that were not extracted."""
        return self.read_until + self.retention


def stream_state(repository: Repository, raw: RawTable) -> StreamState | None:
    """How far a raw table with a stream was extracted; None if no time is known yet.

    Raises:
        MeshError: the state cannot be read.
    """
    kept = KeptShards(repository.home / "extract", raw.relation, raw.topic)
    if not kept.path.exists():
        return None
    with kept:
        open_shards = [each for each in kept.positions().values() if not each.is_ended]
        retention = kept.retention()
    # A shard that was not read yet has the time of its listing.
    times = [each.arrived if each.read_until is None else each.read_until for each in open_shards]
    known = [each for each in times if each is not None]
    if retention is None or not known:
        return None
    is_whole = all(each.read_until is not None for each in open_shards)
    return StreamState(min(known), retention, is_whole)
