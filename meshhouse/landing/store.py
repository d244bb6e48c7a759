"""The protocol of a raw store, which holds the raw tables.

Belongs here: the protocols that the lake and Snowflake implement, and the table properties that
both use: offsets, the topic, the time of the last commit. Not here: either implementation
(lake_store.py, engines/snowflake/), or landing's decisions (target.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from meshhouse.repository import RawTable

if TYPE_CHECKING:
    import pyarrow as pa

    from meshhouse.landing.pending import Pending

OFFSETS = "meshhouse.offsets"
SOURCE = "meshhouse.source"
LANDED_AT = "meshhouse.landed-at"
NEW_FIELDS = "meshhouse.new-fields"
OTHER_TOPICS = "meshhouse.other-topics"
"""Set if the table also holds events of an earlier topic, so that offsets occur twice."""


@dataclass(frozen=True)
class RawState:
    """The state of a raw table at the time of reading."""

    state: str | None = None
    """Id of the state in its store; None for a table that was never landed."""
    offsets: Mapping[int, int] = field(default_factory=dict)
    """Next offset of each partition."""
    source: Mapping[str, str] | None = None
    """Ids of the cluster and the topic from which the table was landed."""
    landed_at: datetime | None = None
    new_fields: tuple[str, ...] = ()
    snapshot_id: int | None = None
    total_rows: int = 0


@dataclass(frozen=True)
class Notes:
    """The facts that a commit stores in addition to its rows."""

    landed_at: datetime
    offsets: dict[int, int]
    """Next offset of every partition, also of those without an event in the commit."""
    new_fields: tuple[str, ...]
    """Undeclared fields that no earlier commit has seen."""
    properties: dict[str, str]
    """All these facts as properties of the table."""


class TableWriter(Protocol):
    """Reads and changes one raw table and its table of rejected events."""

    def current(self) -> str | None:
        """Id of the table's current state; None if the table was never landed."""
        ...

    def read(self) -> RawState:
        """Reads the table's current state."""
        ...

    def check_columns(self) -> None:
        """Compares the declared columns with those of the table.

        Raises:
            UsageError: the declaration would lose values of the table.
        """
        ...

    def lock(self) -> AbstractContextManager[None]:
        """The advisory lock for commits to this table on this machine."""
        ...

    def commit(
        self,
        pending: Pending,
        rows: pa.Table | None,
        rejected: pa.Table | None,
        on: RawState,
        notes: Notes,
    ) -> RawState:
        """Makes rows, rejected events and notes visible in one transaction.

        Args:
            pending: the contents of the commit, including files that are already written.
            rows: the decoded rows of `pending` in one table.
            rejected: the rejected events of `pending` in one table.
            on: the state on which the commit builds.
            notes: the facts to store with the rows.

        Raises:
            Conflict: the table is no longer in the state `on`; nothing was changed.
            Overtaken: the plan of the written files no longer fits the table.
        """
        ...


class RawStore(Protocol):
    """Keeps the raw tables of one environment."""

    environment: str
    """Name of the environment; empty for production."""

    def in_environment(self, environment: str) -> RawStore:
        """The same store as another environment sees it; empty for production."""
        ...

    def states(self) -> dict[str, str]:
        """`schema.table` -> its state, of the tables that the environment itself has."""
        ...

    def holds(self, raw: RawTable) -> bool:
        """Whether the environment itself has the table, with every declared column and type."""
        ...

    def writer(self, raw: RawTable) -> TableWriter:
        """Returns a writer for one raw table.

        Raises:
            UsageError: this environment cannot have its own raw tables.
        """
        ...

    def rejected_share(self, raw: RawTable) -> tuple[int, int]:
        """Numbers of rejected and of all events of a raw table, without scanning it."""
        ...

    def record(self, raw: RawTable) -> None:
        """Moves entries that landers left in the properties of a raw table to the ledger."""
        ...


def raw_state(
    state: str, properties: Mapping[str, str], snapshot_id: int | None, total_rows: int
) -> RawState:
    """Makes the state of a raw table from the properties that its last commit set."""
    return RawState(
        state,
        offsets=offsets_of(properties),
        source=json.loads(properties.get(SOURCE, "null")),
        landed_at=last_landed_at(properties),
        new_fields=tuple(json.loads(properties.get(NEW_FIELDS, "[]"))),
        snapshot_id=snapshot_id,
        total_rows=total_rows,
    )


def lands_itself(store: RawStore, raw: RawTable) -> bool:
    """Whether a run lands a raw table instead of reading production's.

    An environment reads production's raw table, unless it has its own, or production's lacks a
    declared column.
    """
    if not store.environment or raw.relation in store.states():
        return True
    return not store.in_environment("").holds(raw)


def offsets_of(properties: Mapping[str, str]) -> dict[int, int]:
    """Next offset of each partition, from a raw table's properties."""
    stored = json.loads(properties.get(OFFSETS, "{}"))
    return {int(partition): offset for partition, offset in stored.items()}


def last_landed_at(properties: Mapping[str, str]) -> datetime | None:
    """The time of the newest commit, from a raw table's properties."""
    landed_at = properties.get(LANDED_AT)
    return datetime.fromisoformat(landed_at) if landed_at else None


def next_landed_at(last: datetime | None) -> datetime:
    """The time of the next commit: now, but always later than the last one.

    Incremental models read the rows that landed after their last run, so two commits must never
    have the same time, even if the clocks of their landers differ.
    """
    now = datetime.now(UTC)
    return now if last is None or now > last else last + timedelta(microseconds=1)
