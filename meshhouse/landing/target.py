"""A raw table as landing writes it: rows, rejected events and offsets in one commit.

Belongs here: what goes into one commit, the fence against a rival, and going on when
something else moved the table. Does not: what makes an event a row (decode.py), or when
to commit (land.py, follow.py).

The next offset of every partition is a property of the raw table, set in the same
commit as the rows, and rejected events are shown by the same catalog transaction. A
killed run therefore leaves either all of a commit or nothing of it. Offsets are no
part of snapshots, which expire. What the ledger is to say of the commit is a property, too
(unrecorded.py).
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from meshhouse.engines import RawStore
from meshhouse.errors import MeshError, UsageError
from meshhouse.events.source import Topic
from meshhouse.lake import Lake
from meshhouse.lake.files import remove_files, write_files
from meshhouse.lake.object_store import explained
from meshhouse.lake.schema import iceberg_schema, iceberg_type, widens
from meshhouse.lake.texts import COMMENT, bounded
from meshhouse.landing.decode import REJECTED_COLUMNS, Decoder
from meshhouse.landing.pending import Committed, Pending, Plan, stamped, unknown_fields
from meshhouse.landing.unrecorded import UNRECORDED, Lander
from meshhouse.ledger import Conflict, Staged
from meshhouse.locks import turn
from meshhouse.repository import RawTable, display_path
from meshhouse.repository.types import DataType, parse_type

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table

OFFSETS = "meshhouse.offsets"
SOURCE = "meshhouse.source"
LANDED_AT = "meshhouse.landed-at"
NEW_FIELDS = "meshhouse.new-fields"
OTHER_TOPICS = "meshhouse.other-topics"
"""Set where the table also holds events of an earlier topic, so that offsets occur twice."""

_ATTEMPTS = 20
_MOST_NEW_FIELDS = 500
"""Names to remember: producers that make up names must not make up metadata."""

Accept = Collection[str]
"""What a person has looked at and accepts: `lost-events`, `new-topic`."""


class Fenced(MeshError):
    """Another lander has landed what this one was about to commit."""

    def __init__(self, raw: RawTable, partitions: Iterable[int]) -> None:
        self.partitions = tuple(sorted(partitions))
        which = ", ".join(str(each) for each in self.partitions)
        super().__init__(
            f"Another lander took over partition {which} of topic `{raw.topic}` while this one "
            f"was at work, and {raw.relation} holds what it landed. This one stopped; nothing is "
            "lost or doubled."
        )


class Overtaken(MeshError):
    """Files were written for a commit that can no longer be made as planned."""

    def __init__(self, raw: RawTable) -> None:
        super().__init__(
            f"{raw.relation} was changed while events were written for it. Nothing of them was "
            "landed. Run the same command again."
        )


@dataclass
class State:
    """A raw table at one moment."""

    pointer: str | None
    table: Table | None
    offsets: dict[int, int] = field(default_factory=dict)
    source: dict[str, str] | None = None
    landed_at: datetime | None = None
    new_fields: tuple[str, ...] = ()


class RawTarget:
    """The raw table of one topic and its table of rejected events."""

    def __init__(self, lake: Lake, raw: RawTable, topic: Topic, accept: Accept = ()) -> None:
        """Reads where the table stands.

        Raises:
            UsageError: the declared columns no longer fit the table.
            MeshError: the topic is not the one that was landed before.
        """
        self._lake = lake
        self._raw = raw
        self._schema = Decoder(raw).schema
        self._source = {"cluster_id": topic.cluster_id, "topic_id": topic.topic_id}
        self._state = self._read()
        self._rejected: tuple[str | None, Table | None] = (None, None)
        self._lander = Lander()
        self._check_columns()
        self._passed_over: dict[tuple[int, int], int] = {}
        """Partition and where it stands -> where it goes on, if what is between is gone."""
        self._floor: dict[int, int] = {}
        """Where partitions begin that the table does not know yet."""
        self._forsaken: dict[str, str] | None = None
        """The topic that the table was landed from, if this one is to follow it."""
        if self._state.source not in (None, self._source):
            if "new-topic" not in accept or raw.changelog:
                raise self._another_topic(topic)
            self._forsaken = self._state.source

    @property
    def _starts_anew(self) -> bool:
        """Whether the table still stands where another topic of this name ended."""
        return self._forsaken is not None and self._state.source == self._forsaken

    @property
    def has_news(self) -> bool:
        """Whether even a commit without events would tell the next landing something."""
        return not self.exists or self._starts_anew or bool(self._passed_over)

    @property
    def exists(self) -> bool:
        """Whether the table was ever landed."""
        return self._state.pointer is not None

    @property
    def offsets(self) -> dict[int, int]:
        """Next offset of each partition, as last read."""
        return {} if self._starts_anew else dict(self._state.offsets)

    @property
    def snapshot_id(self) -> int | None:
        """The table's current snapshot, as last read."""
        snapshot = self._state.table.current_snapshot() if self._state.table else None
        return snapshot.snapshot_id if snapshot else None

    @property
    def total_rows(self) -> int:
        """Rows in the table, as last read, from its newest snapshot's summary."""
        snapshot = self._state.table.current_snapshot() if self._state.table else None
        summary = snapshot.summary if snapshot is not None else None
        return int(summary["total-records"] or 0) if summary is not None else 0

    def refresh(self) -> dict[int, int]:
        """Reads again where the table stands; returns its offsets."""
        if self._pointer() != self._state.pointer:
            self._state = self._read()
        return self.offsets

    def starts(self, topic: Topic, accept: Accept = ()) -> dict[int, int]:
        """Where each partition of the topic goes on.

        Raises:
            MeshError: events that were not landed are gone, or the topic lost events.
        """
        self.recognise(topic)
        known = self.offsets
        found = starts(self._raw, topic, known, accept, first=not self.exists)
        self._passed_over = {
            (partition, known[partition]): start
            for partition, start in found.items()
            if known.get(partition, start) < start
        }
        self._floor = {each: start for each, start in found.items() if each not in known}
        return found

    def recognise(self, topic: Topic) -> None:
        """Looks whether it is still the same topic.

        Raises:
            MeshError: it was deleted and created again.
        """
        if self._source != {"cluster_id": topic.cluster_id, "topic_id": topic.topic_id}:
            raise self._another_topic(topic)

    def plan(self) -> Plan:
        """What files must hold to be part of the next commit, if it is ours."""
        self.refresh()
        return Plan(self._next_landed_at(), self._raw_table().metadata,
                    self._rejected_table().metadata)  # fmt: skip

    @explained()
    def commit(self, pending: Pending) -> Committed:
        """Shows rows, rejected events and offsets at once.

        What only moved the table meanwhile (upkeep, a lander of other partitions) is no
        obstacle: the commit is put behind it. Landers on one machine take turns, which
        costs less than each of them finding out; one that is paused loses its turn.

        Raises:
            Fenced: somebody else landed these partitions.
            Overtaken: what was written to a plan no longer fits the table.
        """
        import pyarrow as pa

        rows = pa.concat_tables(pending.rows) if pending.rows else None
        rejected = pa.concat_tables(pending.rejected) if pending.rejected else None
        for attempt in range(1, _ATTEMPTS + 1):
            with self._turn():
                self.refresh()
                self._fence(pending)
                if pending.plan is not None:
                    self._hold_to(pending.plan)
                try:
                    return self._commit(pending, rows, rejected)
                except Conflict:
                    if attempt == _ATTEMPTS:
                        raise
        raise AssertionError("unreachable")

    def _another_topic(self, topic: Topic) -> MeshError:
        raw, known = self._raw, self._state.source or self._source
        accept = (
            f"land the new one's events behind those that are there: `mesh land {raw.relation} "
            "--accept new-topic`."
        )
        if raw.changelog:
            accept = (
                f"declare a raw table of another name with `topic: {raw.topic}`. {raw.relation} is "
                "a changelog, in which offsets decide which event of a key is the last one, so it "
                "takes no other topic."
            )
        if known["cluster_id"] != topic.cluster_id:
            return MeshError(
                f"{raw.relation} was landed from {_cluster(known['cluster_id'])}. Topic "
                f"`{raw.topic}` is now in another cluster, {_cluster(topic.cluster_id)}, whose "
                "offsets say nothing about what was landed. Nothing of it was landed. Go back to "
                "the first cluster (KAFKA_BOOTSTRAP_SERVERS names it; without it, topics are in "
                "the event log); or keep a mesh for each (MESH_HOME); or, if its events are "
                f"others, {accept}"
            )
        landed = ", ".join(
            f"{end} of partition {number}" for number, end in sorted(self._state.offsets.items())
        )
        return MeshError(
            f"Topic `{raw.topic}` was deleted and created again since {raw.relation} was last "
            f"landed, so its offsets begin at 0 again. Events before offset {landed or 0} were "
            "landed and stay; events of the old topic after those are lost. Nothing of the new "
            f"topic was landed. Restore the old topic; or {accept}"
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

    def _hold_to(self, plan: Plan) -> None:
        """Refuses files whose rows would not be the newest, or whose columns are others now."""
        last = self._state.landed_at
        tables = (self._raw_table(), plan.raw), (self._rejected_table(), plan.rejected)
        if (last is not None and plan.landed_at <= last) or any(
            table.metadata.schema().fields != planned.schema().fields for table, planned in tables
        ):
            raise Overtaken(self._raw)

    def _commit(
        self, pending: Pending, rows: pa.Table | None, rejected: pa.Table | None
    ) -> Committed:
        landed_at = pending.plan.landed_at if pending.plan else self._next_landed_at()
        offsets, new_fields, properties = self._news(pending, rows, landed_at)
        ready = [file for each in pending.written for file in each.files]
        ready_rejected = [file for each in pending.written for file in each.rejected_files]
        counts = pending.counts

        def noted(before: Mapping[str, str], snapshot_id: int | None) -> dict[str, str]:
            note = self._lander.noted(before, self._raw, counts, offsets, snapshot_id)
            text = bounded(self._raw.description)
            comment = {COMMENT: text} if text or COMMENT in before else {}
            return {"meshhouse.kind": "raw", **comment, **properties, UNRECORDED: note}

        written: list[DataFile] = []
        rejected_table = None
        try:
            table = self._raw_table()
            raw = self._stage(table, rows, ready, landed_at, noted, written)
            changes = [raw]
            if rejected is not None or ready_rejected or not self.exists:
                rejected_table = self._rejected_table()
                changes.append(
                    self._stage(
                        rejected_table, rejected, ready_rejected, landed_at, _raw_kind, written
                    )
                )
        except BaseException:
            remove_files(written)
            raise
        try:
            self._lake.commit(changes)
        except Conflict:
            # Only this says that nothing was shown; after any other failure the files may
            # be part of the table, and are left to upkeep if they are not.
            remove_files(written)
            raise
        self._state = State(raw.metadata_location, table, offsets, self._source, landed_at,
                             (*self._state.new_fields, *new_fields))  # fmt: skip
        self._passed_over = {}
        self._lander.since = datetime.now(UTC)
        if rejected_table is not None:
            self._rejected = (changes[1].state, rejected_table)
        return Committed(
            *counts,
            snapshot_id=raw.snapshot_id,
            offsets=dict(pending.offsets),
            new_fields=new_fields,
        )

    def _news(
        self, pending: Pending, rows: pa.Table | None, landed_at: datetime
    ) -> tuple[dict[int, int], tuple[str, ...], dict[str, str]]:
        """Offsets after a commit, fields not seen before, and the properties that say so."""
        known = self.offsets
        passed = {
            partition: start
            for (partition, stood), start in self._passed_over.items()
            if known.get(partition) == stood
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
        if self._starts_anew:
            properties[OTHER_TOPICS] = "true"
        if new_fields:
            properties[NEW_FIELDS] = json.dumps(sorted({*self._state.new_fields, *new_fields}))
        return offsets, new_fields, properties

    def _stage(
        self,
        table: Table,
        rows: pa.Table | None,
        ready: Sequence[DataFile],
        landed_at: datetime,
        properties: Callable[[Mapping[str, str], int | None], Mapping[str, str]],
        written: list[DataFile],
    ) -> Staged:
        """A state with more rows: those of `rows`, and those in files that are `ready`.

        `properties` makes the new ones from those of before and the snapshot of the rows.
        """
        base = table.metadata_location or None
        write_id = uuid.uuid4()
        with table.transaction() as transaction:
            files: list[DataFile] = []
            if rows is not None:
                metadata = transaction.table_metadata
                files = write_files(
                    table.io, metadata, stamped(rows, landed_at).to_batches(), write_id
                )
                written += files
            if files or ready:
                with transaction.update_snapshot().fast_append() as snapshot:
                    for file in (*files, *ready):
                        snapshot.append_data_file(file)
            now = transaction.table_metadata
            transaction.set_properties(dict(properties(now.properties, now.current_snapshot_id)))
        return self._lake.staged(table, base)

    def _raw_table(self) -> Table:
        return self._lake.stage(
            self._raw.relation,
            self._schema,
            at=self._state.pointer,
            table=self._state.table,
            writer=self._raw.domain,
        )

    def _rejected_table(self) -> Table:
        relation = f"{self._raw.schema}.{self._raw.rejected}"
        pointer = self._lake.pointer(relation)
        known, table = self._rejected
        if pointer is None or pointer != known:
            table = None
        return self._lake.stage(
            relation,
            iceberg_schema(REJECTED_COLUMNS),
            at=pointer,
            table=table,
            writer=self._raw.domain,
        )

    def _next_landed_at(self) -> datetime:
        """The time now, but always later than what the table holds.

        Incremental models ask for what landed since they last looked, so two commits
        must never share a time, whatever the clocks of their landers do.
        """
        now = datetime.now(UTC)
        last = self._state.landed_at
        return now if last is None or now > last else last + timedelta(microseconds=1)

    def _check_columns(self) -> None:
        if self._state.table is not None:
            check_columns(self._raw, self._state.table)

    def _turn(self) -> AbstractContextManager[None]:
        return turn(turn_of(self._lake, self._raw))

    def _pointer(self) -> str | None:
        return self._lake.pointer(self._raw.relation)

    def _read(self) -> State:
        pointer = self._pointer()
        if pointer is None:
            return State(None, None)
        table = self._lake.load(self._raw.relation, pointer)
        assert table is not None
        return state_of(pointer, table, table.properties)


def _cluster(cluster_id: str) -> str:
    """A cluster, for people; the event log gives itself an id of 32 hexadecimal digits."""
    if re.fullmatch("[0-9a-f]{32}", cluster_id):
        return "a mesh's own event log"
    return f"the Kafka cluster {cluster_id}"


def _raw_kind(before: Mapping[str, str], snapshot_id: int | None) -> dict[str, str]:
    return {"meshhouse.kind": "raw"}


def state_of(pointer: str, table: Table | None, properties: Mapping[str, str]) -> State:
    """Where a raw table stands, from its properties."""
    landed_at = properties.get(LANDED_AT)
    return State(
        pointer,
        table,
        offsets=offsets_of(properties),
        source=json.loads(properties.get(SOURCE, "null")),
        landed_at=datetime.fromisoformat(landed_at) if landed_at else None,
        new_fields=tuple(json.loads(properties.get(NEW_FIELDS, "[]"))),
    )


def open_target(store: Lake | RawStore, raw: RawTable, topic: Topic, accept: Accept) -> RawTarget:
    """The raw table of a topic, wherever raw tables are kept.

    Raises:
        UsageError: the declared columns no longer fit the table.
        MeshError: the topic is not the one that was landed before.
    """
    if isinstance(store, Lake):
        return RawTarget(store, raw, topic, accept)
    return store.raw_target(raw, topic, accept)


def turn_of(lake: Lake, raw: RawTable) -> Path:
    """The lock file of whoever commits to a raw table on this machine."""
    return lake.locks / f"{raw.relation}.commit"


def offsets_of(properties: Mapping[str, str]) -> dict[int, int]:
    """Next offset of each partition, from a raw table's properties."""
    stored = json.loads(properties.get(OFFSETS, "{}"))
    return {int(partition): offset for partition, offset in stored.items()}


def starts(
    raw: RawTable, topic: Topic, offsets: Mapping[int, int], accept: Accept, first: bool
) -> dict[int, int]:
    """Where landing goes on in each partition, checked against what the topic still holds.

    Args:
        raw: the raw table.
        topic: as it is now.
        offsets: next offset of each partition that was landed before.
        accept: `lost-events` goes on behind events that are gone.
        first: the table was never landed; then it begins with what the topic holds.

    Raises:
        MeshError: events that were not landed are gone, or the topic lost events.
    """
    found = {}
    for number, partition in topic.partitions.items():
        # A partition that was added later begins at 0, like every partition.
        start = offsets.get(number, partition.begin if first or not offsets else 0)
        if start < partition.begin and "lost-events" not in accept:
            raise MeshError(
                f"Events {start} to {partition.begin - 1} of partition {number} of topic "
                f"`{raw.topic}` were removed before they were landed. Nothing after them was "
                f"landed. Restore them; or go on without them: `mesh land {raw.relation} --accept "
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


def check_columns(raw: RawTable, current: Table) -> None:
    """Refuses a declaration that would lose what the table holds."""
    declared: dict[str, DataType] = {
        column.name: parse_type(column.data_type) for column in raw.columns
    }
    for existing in current.schema().fields:
        if existing.name.startswith("_"):
            continue
        place = f"{display_path(raw.path)}:{raw.line}"
        if existing.name not in declared:
            raise UsageError(
                f"{place}: column `{existing.name}` of {raw.relation} is no longer declared, but "
                "the table holds its values. Declare it again; a model need not use it."
            )
        wanted = iceberg_type(declared[existing.name])
        if wanted != existing.field_type and not widens(existing.field_type, wanted):
            raise UsageError(
                f"{place}: column `{existing.name}` of {raw.relation} holds "
                f"{existing.field_type}; its type cannot become {wanted} without losing some of "
                "them. Declare the old type (or a wider one) and cast in staging."
            )
