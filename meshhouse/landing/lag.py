"""The lag of a raw table: the events of its topic that are not landed yet.

Belongs here: comparing a raw table's offsets with the topic's. Not here: landing (land.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from meshhouse.events.source import Topic
from meshhouse.landing.store import RawStore, lands_itself
from meshhouse.landing.waiting import count, waiting
from meshhouse.repository import RawTable


@dataclass(frozen=True)
class Lag:
    """How far a raw table is behind its topic."""

    raw: RawTable
    events: int | None
    """Events that wait; None if the table was landed from another topic of this name."""
    is_landed: bool
    """Whether the table exists."""


def lag(store: RawStore, raw: RawTable, topic: Topic) -> Lag:
    """The lag of the raw table that the environment reads: its own, or production's."""
    owner = store if lands_itself(store, raw) else store.in_environment("")
    state = owner.writer(raw).read()
    if state.state is None:
        return Lag(raw, count(waiting(topic.partitions, None)), is_landed=False)
    here = {"cluster_id": topic.cluster_id, "topic_id": topic.topic_id}
    if state.source not in (None, here):
        return Lag(raw, None, is_landed=True)
    return Lag(raw, count(waiting(topic.partitions, state.offsets)), is_landed=True)
