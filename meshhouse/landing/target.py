"""The target of landing: the offsets from which a raw table continues, and what may be committed.

Belongs here: comparing the topic with the landed offsets, the fence against a second lander, and
retries when another process changed the table. Not here: how a store commits (lake_table.py,
engines/snowflake/), decoding events (decode.py), or when to commit (land.py, follow.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from meshhouse.errors import MeshError
from meshhouse.events.source import Topic
from meshhouse.landing.pending import Committed, Pending, unknown_fields
from meshhouse.landing.store import (
    LANDED_AT,
    NEW_FIELDS,
    OFFSETS,
    OTHER_TOPICS,
    SOURCE,
    Notes,
    RawState,
    RawStore,
    TableWriter,
    next_landed_at,
)
from meshhouse.landing.waiting import next_offset
from meshhouse.ledger import retry_conflicts
from meshhouse.repository import RawTable

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_NEW_FIELDS = 500
"""Limit of remembered names, because a producer could invent names without end."""

Accept = Collection[str]
"""Losses that the user accepts explicitly: `lost-events`, `new-topic`."""


class Fenced(MeshError):
    """Another lander has already landed the events that this one was about to commit."""

    def __init__(self, raw: RawTable, partitions: Iterable[int]) -> None:
        self.partitions = tuple(sorted(partitions))
        which = ", ".join(str(each) for each in self.partitions)
        super().__init__(
            f"Another lander took over partition {which} of topic `{raw.topic}` while this one "
            f"was at work, and {raw.relation} holds the events it landed. This one stopped; no "
            "event is lost or landed twice."
        )


class RawTarget:
    """The raw table of one topic and its table of rejected events."""

    def __init__(
        self, raw: RawTable, topic: Topic, writer: TableWriter, accept: Accept = ()
    ) -> None:
        """Reads the table's state.

        Raises:
            UsageError: the declared columns no longer fit the table.
            MeshError: the topic is not the one that was landed before.
        """
        self._raw = raw
        self._writer = writer
        self._source = {"cluster_id": topic.cluster_id, "topic_id": topic.topic_id}
        self._state = self._read()
        self._passed_over: dict[tuple[int, int], int] = {}
        """(partition, landed offset) -> first offset that still exists."""
        self._floor: dict[int, int] = {}
        """First offset of each partition that the table does not have yet."""
        self._forsaken: Mapping[str, str] | None = None
        """Ids of the topic landed so far, if the user accepts another topic after it."""
        if self._state.source not in (None, self._source):
            if "new-topic" not in accept or raw.changelog:
                raise self._another_topic(topic)
            self._forsaken = self._state.source

    @property
    def _begins_another_topic(self) -> bool:
        """Whether the table holds only events of the earlier topic, and none of this one yet."""
        return self._forsaken is not None and self._state.source == self._forsaken

    @property
    def has_news(self) -> bool:
        """Whether a commit is needed even if there are no events to land."""
        return not self.exists or self._begins_another_topic or bool(self._passed_over)

    @property
    def exists(self) -> bool:
        """Whether the table was ever landed."""
        return self._state.state is not None

    @property
    def offsets(self) -> dict[int, int]:
        """Next offset of each partition, as last read."""
        return {} if self._begins_another_topic else dict(self._state.offsets)

    @property
    def snapshot_id(self) -> int | None:
        """The table's current snapshot, as last read."""
        return self._state.snapshot_id

    @property
    def total_rows(self) -> int:
        """Rows in the table, as last read."""
        return self._state.total_rows

    @property
    def next_landed_at(self) -> datetime:
        """The time of the next commit, if no other lander commits before it."""
        return next_landed_at(self._state.landed_at)

    def refresh(self) -> dict[int, int]:
        """Reads the table again if it has changed; returns its offsets.

        Raises:
            UsageError: the declared columns no longer fit the table.
        """
        if self._writer.current() != self._state.state:
            self._state = self._read()
        return self.offsets

    def _read(self) -> RawState:
        """Reads the table, and checks it: a lander with a newer declaration may have changed it."""
        state = self._writer.read()
        self._writer.check_columns()
        return state

    def starts(self, topic: Topic, accept: Accept = ()) -> dict[int, int]:
        """Returns the next offset to land in each partition of the topic.

        Raises:
            MeshError: events that were not landed are gone, or the topic lost events.
        """
        self.recognise(topic)
        known = self.offsets
        found = starts(self._raw, topic, known, accept)
        self._passed_over = {
            (partition, known[partition]): start
            for partition, start in found.items()
            if known.get(partition, start) < start
        }
        self._floor = {each: start for each, start in found.items() if each not in known}
        return found

    def recognise(self, topic: Topic) -> None:
        """Checks that the topic is still the same one.

        Raises:
            MeshError: the topic was deleted and created again.
        """
        if self._source != {"cluster_id": topic.cluster_id, "topic_id": topic.topic_id}:
            raise self._another_topic(topic)

    def commit(self, pending: Pending) -> Committed:
        """Makes rows, rejected events and offsets visible in one transaction.

        If maintenance or a lander of other partitions changed the table, the commit is retried on
        the new state. Landers on one machine use an advisory lock, because waiting costs less than
        a conflict; a paused lander loses the lock.

        Raises:
            Fenced: another lander landed these partitions.
            UsageError: a lander with a newer declaration changed the table's columns.
            Overtaken: the write plan (`pending.Plan`) of the data files no longer fits the table.
        """
        import pyarrow as pa

        rows = pa.concat_tables(pending.rows) if pending.rows else None
        rejected = pa.concat_tables(pending.rejected) if pending.rejected else None
        return retry_conflicts(lambda: self._commit(pending, rows, rejected))

    def _commit(
        self, pending: Pending, rows: pa.Table | None, rejected: pa.Table | None
    ) -> Committed:
        with self._writer.lock():
            self.refresh()
            self._fence(pending)
            notes = self._notes(pending, rows)
            self._state = self._writer.commit(pending, rows, rejected, self._state, notes)
        self._passed_over = {}
        return Committed(
            *pending.counts,
            snapshot_id=self._state.snapshot_id,
            offsets=dict(pending.offsets),
            new_fields=notes.new_fields,
        )

    def _another_topic(self, topic: Topic) -> MeshError:
        raw, known = self._raw, self._state.source or self._source
        accept = (
            f"land the new topic's events in addition to the old ones: `mesh land {raw.relation} "
            "--accept new-topic`."
        )
        if raw.changelog:
            accept = (
                f"declare a raw table of another name with `topic: {raw.topic}`. {raw.relation} is "
                "a changelog, in which offsets decide which event of a key is the last one, so it "
                "cannot continue with another topic."
            )
        if known["cluster_id"] != topic.cluster_id:
            return MeshError(
                f"{raw.relation} was landed from {_cluster(known['cluster_id'])}. Topic "
                f"`{raw.topic}` is now in another cluster, {_cluster(topic.cluster_id)}, where the "
                "same offsets are other events. None of them was landed. Go back to the first "
                "cluster (KAFKA_BOOTSTRAP_SERVERS names it; without it, topics are in the event "
                "log); or use a separate mesh for each cluster (MESH_HOME); or, if these are other "
                f"events, {accept}"
            )
        landed = ", ".join(
            f"{end} of partition {number}" for number, end in sorted(self._state.offsets.items())
        )
        return MeshError(
            f"Topic `{raw.topic}` was deleted and created again since {raw.relation} was last "
            f"landed, so its offsets begin at 0 again. Events before offset {landed or 0} were "
            "landed and stay; later events of the old topic are lost. No event of the new topic "
            f"was landed. Restore the old topic; or {accept}"
        )

    def _fence(self, pending: Pending) -> None:
        known = self.offsets
        lost = [
            partition for partition, start in pending.starts.items()
            if known.get(partition, start) != start
            and self._passed_over.get((partition, known[partition])) != start
        ]  # fmt: skip
        if lost or self._state.source not in (None, self._source, self._forsaken):
            raise Fenced(self._raw, lost or pending.starts)

    def _notes(self, pending: Pending, rows: pa.Table | None) -> Notes:
        """The facts that a commit stores: offsets, and undeclared fields not seen before."""
        known = self.offsets
        landed_at = pending.plan.landed_at if pending.plan else self.next_landed_at
        passed = {
            partition: start
            for (partition, landed), start in self._passed_over.items()
            if known.get(partition) == landed
        }
        offsets = {**self._floor, **known, **passed, **pending.offsets}
        found = {*unknown_fields(rows), *(
            name for each in pending.written for name in each.unknown_fields
        )}  # fmt: skip
        reported = set(self._state.new_fields)
        new_fields = tuple(sorted(found - reported))
        new_fields = new_fields[: max(0, _MOST_NEW_FIELDS - len(reported))]
        properties = {
            OFFSETS: json.dumps({str(key): value for key, value in sorted(offsets.items())}),
            SOURCE: json.dumps(self._source),
            LANDED_AT: landed_at.isoformat(),
        }
        if self._begins_another_topic:
            properties[OTHER_TOPICS] = "true"
        if new_fields:
            properties[NEW_FIELDS] = json.dumps(sorted({*self._state.new_fields, *new_fields}))
        return Notes(landed_at, offsets, new_fields, properties)


def _cluster(cluster_id: str) -> str:
    """Describes a cluster; the embedded event log has an id of 32 hexadecimal digits."""
    if re.fullmatch("[0-9a-f]{32}", cluster_id):
        return "the event log of a mesh"
    return f"the Kafka cluster {cluster_id}"


def open_target(store: RawStore, raw: RawTable, topic: Topic, accept: Accept) -> RawTarget:
    """Opens the raw table of a topic for landing, in any raw store.

    Raises:
        UsageError: the declared columns no longer fit the table, or this environment cannot have
            its own raw tables.
        MeshError: the topic is not the one that was landed before.
    """
    return RawTarget(raw, topic, store.writer(raw), accept)


def starts(
    raw: RawTable, topic: Topic, offsets: Mapping[int, int], accept: Accept
) -> dict[int, int]:
    """Returns the next offset to land in each partition, checked against the topic.

    Args:
        raw: the raw table.
        topic: the topic as it is now.
        offsets: next offset of each partition that was landed before.
        accept: with `lost-events`, landing continues after events that are gone.

    Raises:
        MeshError: events that were not landed are gone, or the topic lost events.
    """
    found = {}
    for number, partition in topic.partitions.items():
        start = next_offset(number, partition, offsets)
        if start < partition.begin and "lost-events" not in accept:
            raise MeshError(
                f"Events {start} to {partition.begin - 1} of partition {number} of topic "
                f"`{raw.topic}` were removed before they were landed. No later event was landed. "
                f"Restore them; or continue without them: `mesh land {raw.relation} --accept "
                "lost-events`."
            )
        if start > partition.end:
            raise MeshError(
                f"Partition {number} of topic `{raw.topic}` ends at offset {partition.end}, but "
                f"{raw.relation} already holds events up to {start - 1}: the topic lost events. "
                "Nothing more was landed. Restore the topic."
            )
        found[number] = max(start, partition.begin)
    return found
