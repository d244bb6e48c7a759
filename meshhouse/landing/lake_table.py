"""A raw table in the lake: one Iceberg commit of rows, rejected events and offsets.

Belongs here: reading and writing the table and its table of rejected events. Not here: the decision
whether a commit is allowed (target.py), or decoding events (decode.py).

Offsets are properties of the raw table, set in the same metadata file as the rows, and rejected
events become visible in the same catalog transaction. So a killed run leaves either a whole commit
or nothing of it. Offsets are not part of snapshots, because snapshots expire. The future ledger
entry of the commit is a property as well (unrecorded.py).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from meshhouse.errors import MeshError
from meshhouse.lake import Lake
from meshhouse.lake.files import remove_files, write_files
from meshhouse.lake.object_store import explained
from meshhouse.lake.schema import iceberg_schema
from meshhouse.lake.texts import COMMENT, bounded
from meshhouse.landing.columns import check_column
from meshhouse.landing.decode import REJECTED_COLUMNS, Decoder
from meshhouse.landing.pending import Pending, Plan, stamped
from meshhouse.landing.store import Notes, RawState, raw_state
from meshhouse.landing.unrecorded import UNRECORDED, Lander
from meshhouse.ledger import Conflict, Staged
from meshhouse.locks import advisory_lock
from meshhouse.repository import RawTable

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.manifest import DataFile
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table


class Overtaken(MeshError):
    """The table was changed, so files written for a planned commit no longer fit."""

    def __init__(self, raw: RawTable) -> None:
        super().__init__(
            f"{raw.relation} was changed while events were written for it. None of them was "
            "landed. Run the same command again."
        )


class LakeTableWriter:
    """Implements `TableWriter` for a table of the lake."""

    def __init__(self, lake: Lake, raw: RawTable) -> None:
        self._lake = lake
        self._raw = raw
        self._schema = Decoder(raw).schema
        self._lander = Lander()
        self._table: tuple[str | None, Table | None] = (None, None)
        """The raw table and the metadata location from which it was read."""
        self._rejected: tuple[str | None, Table | None] = (None, None)
        """The same for the table of rejected events."""

    @explained()
    def current(self) -> str | None:
        """See `TableWriter`."""
        return self._lake.state(self._raw.relation)

    @explained()
    def read(self) -> RawState:
        """See `TableWriter`."""
        location = self.current()
        if location is None:
            self._table = (None, None)
            return RawState()
        table = self._lake.load(self._raw.relation, location)
        assert table is not None
        self._table = (location, table)
        return self._state_of(location, table)

    def check_columns(self) -> None:
        """See `TableWriter`."""
        _, table = self._table
        if table is not None:
            check_columns(self._raw, table)

    def lock(self) -> AbstractContextManager[None]:
        """See `TableWriter`."""
        return advisory_lock(commit_lock(self._lake, self._raw))

    def plan(self, landed_at: datetime) -> Plan:
        """Returns the plan that data files must follow to be part of a commit at that time."""
        location = self.current()
        return Plan(landed_at, self._raw_table(location).metadata, self._rejected_table().metadata)

    @explained()
    def commit(
        self,
        pending: Pending,
        rows: pa.Table | None,
        rejected: pa.Table | None,
        on: RawState,
        notes: Notes,
    ) -> RawState:
        """See `TableWriter`."""
        if pending.plan is not None:
            self._hold_to(pending.plan, on)
        ready = [file for each in pending.written for file in each.files]
        ready_rejected = [file for each in pending.written for file in each.rejected_files]

        def properties(before: Mapping[str, str], snapshot_id: int | None) -> dict[str, str]:
            note = self._lander.noted(before, self._raw, pending.counts, notes.offsets, snapshot_id)
            text = bounded(self._raw.description)
            comment = {COMMENT: text} if text or COMMENT in before else {}
            return {"meshhouse.kind": "raw", **comment, **notes.properties, UNRECORDED: note}

        written: list[DataFile] = []
        rejected_table = None
        try:
            table = self._raw_table(on.state)
            raw = self._stage(table, rows, ready, notes.landed_at, properties, written)
            changes = [raw]
            if rejected is not None or ready_rejected or on.state is None:
                rejected_table = self._rejected_table()
                changes.append(
                    self._stage(
                        rejected_table, rejected, ready_rejected, notes.landed_at, _kind, written
                    )
                )
        except BaseException:
            remove_files(written)
            raise
        try:
            self._lake.commit(changes)
        except Conflict:
            # Only after a conflict is it certain that nothing became visible. After any other
            # failure the files may be part of the table; if not, `mesh maintain` removes them.
            remove_files(written)
            raise
        self._table = (raw.state, table)
        self._lander.since = datetime.now(UTC)
        if rejected_table is not None:
            self._rejected = (changes[1].state, rejected_table)
        return self._state_of(raw.state, table)

    def _hold_to(self, plan: Plan, on: RawState) -> None:
        """Refuses files if the table has newer rows, or other columns than planned."""
        tables = (self._raw_table(on.state), plan.raw), (self._rejected_table(), plan.rejected)
        is_late = on.landed_at is not None and plan.landed_at <= on.landed_at
        if is_late or any(
            table.metadata.schema().fields != planned.schema().fields for table, planned in tables
        ):
            raise Overtaken(self._raw)

    def _state_of(self, location: str, table: Table) -> RawState:
        snapshot = table.current_snapshot()
        summary = snapshot.summary if snapshot is not None else None
        return raw_state(
            location,
            table.properties,
            snapshot.snapshot_id if snapshot else None,
            int(summary["total-records"] or 0) if summary is not None else 0,
        )

    def _stage(
        self,
        table: Table,
        rows: pa.Table | None,
        ready: Sequence[DataFile],
        landed_at: datetime,
        properties: Callable[[Mapping[str, str], int | None], Mapping[str, str]],
        written: list[DataFile],
    ) -> Staged:
        """Stages a state with additional rows: those of `rows` and those in the files `ready`.

        `properties` returns the new properties, given the current ones and the rows' snapshot.
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

    def _raw_table(self, location: str | None) -> Table:
        known, table = self._table
        current = table if known == location else None
        staged = staged_table(self._lake, self._raw, self._schema, location, current)
        if (staged.metadata_location or None) != location:  # another lander made the table
            raise Conflict([self._raw.relation])
        return staged

    def _rejected_table(self) -> Table:
        relation = f"{self._raw.schema}.{self._raw.rejected}"
        location = self._lake.state(relation)
        known, table = self._rejected
        if location is None or location != known:
            table = None
        return self._lake.stage(
            relation,
            iceberg_schema(REJECTED_COLUMNS),
            at=location,
            table=table,
            writer=self._raw.domain,
        )


def _kind(before: Mapping[str, str], snapshot_id: int | None) -> dict[str, str]:
    return {"meshhouse.kind": "raw"}


def commit_lock(lake: Lake, raw: RawTable) -> Path:
    """The lock file for commits to a raw table by processes on this machine."""
    return lake.locks / f"{raw.relation}.commit"


def staged_table(
    lake: Lake,
    raw: RawTable,
    schema: Schema,
    at: str | None = None,
    table: Table | None = None,
) -> Table:
    """A raw table whose commits write metadata files that readers do not see: see `Lake.stage`.

    Every change of a raw table begins here, because `Lake.stage` gives a column that does not fit
    a new id, with which readers find none of its earlier values.

    Args:
        lake: holds the table.
        raw: its declaration.
        schema: the declared columns.
        at: the metadata location to build on; the default is the current one.
        table: the table at that location, if the caller has loaded it.

    Raises:
        UsageError: the declared columns no longer fit the table.
    """
    table = lake.load(raw.relation, at) if table is None else table
    if table is None:
        new = lake.stage(raw.relation, schema, writer=raw.domain)
        # Another lander may have made the table since `load`.
        return staged_table(lake, raw, schema) if new.metadata_location else new
    check_columns(raw, table)
    location = at or table.metadata_location
    return lake.stage(raw.relation, schema, at=location, table=table, writer=raw.domain)


def check_columns(raw: RawTable, current: Table) -> None:
    """Refuses a declaration that would lose values of the table."""
    for existing in current.schema().fields:
        if not existing.name.startswith("_"):
            check_column(raw, existing.name, existing.field_type)
