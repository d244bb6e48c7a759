"""Where raw tables are kept, as landing asks for it.

Belongs here: the protocols that the lake and Snowflake implement, and what both note beside the
rows: offsets, the topic, the time of the last commit. Not here: either implementation
(lake_store.py, engines/snowflake/), or what landing decides from them (target.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from meshhouse.landing.pending import Pending
from meshhouse.ledger import Ledger
from meshhouse.repository import RawTable

if TYPE_CHECKING:
    import pyarrow as pa

OFFSETS = "meshhouse.offsets"
SOURCE = "meshhouse.source"
LANDED_AT = "meshhouse.landed-at"
NEW_FIELDS = "meshhouse.new-fields"
OTHER_TOPICS = "meshhouse.other-topics"
"""Set where the table also holds events of an earlier topic, so that offsets occur twice."""


@dataclass(frozen=True)
class RawState:
    """A raw table as it was read."""

    state: str | None = None
    """What identifies the state in its store; None for a table that was never landed."""
    offsets: Mapping[int, int] = field(default_factory=dict)
    """Next offset of each partition."""
    source: Mapping[str, str] | None = None
    """Ids of the cluster and the topic that it was landed from."""
    landed_at: datetime | None = None
    new_fields: tuple[str, ...] = ()
    snapshot_id: int | None = None
    total_rows: int = 0


@dataclass(frozen=True)
class Notes:
    """What a commit notes beside its rows."""

    landed_at: datetime
    offsets: dict[int, int]
    """Next offset of each partition, those included that the commit does not move."""
    new_fields: tuple[str, ...]
    """Undeclared fields that no earlier commit has met."""
    properties: dict[str, str]
    """All of it, as properties of the table."""


class TableWriter(Protocol):
    """Reads and changes one raw table and its table of rejected events."""

    def current(self) -> str | None:
        """What identifies the table's state now; None if it was never landed."""
        ...

    def read(self) -> RawState:
        """The table's state now."""
        ...

    def check_columns(self) -> None:
        """Compares the declared columns with those of the table.

        Raises:
            UsageError: the declaration would lose what the table holds.
        """
        ...

    def lock(self) -> AbstractContextManager[None]:
        """The advisory lock of those that commit to this table on this machine."""
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
            pending: what is committed, with files that were written before.
            rows: the decoded rows of `pending` in one table.
            rejected: its rejected events in one table.
            on: the state that the commit builds on.
            notes: what is noted beside the rows.

        Raises:
            Conflict: the table is no longer in the state `on`; nothing was changed.
            Overtaken: files were written to a plan that no longer fits the table.
        """
        ...


class RawStore(Protocol):
    """Keeps the raw tables of one environment."""

    environment: str
    """Its name; empty for production."""

    def in_environment(self, environment: str) -> RawStore:
        """The same store as another environment sees it; empty for production."""
        ...

    @property
    def ledger(self) -> Ledger:
        """The ledger of the environment."""
        ...

    def pointers(self) -> dict[str, str]:
        """`schema.table` -> its state, of the tables that the environment itself has."""
        ...

    def holds(self, raw: RawTable) -> bool:
        """Whether the environment itself has the table, with every declared column and type."""
        ...

    def writer(self, raw: RawTable) -> TableWriter:
        """For landing into one raw table.

        Raises:
            UsageError: this environment cannot be landed into.
        """
        ...

    def rejected_share(self, raw: RawTable) -> tuple[int, int]:
        """Rejected events and all events of a raw table, from what is noted: no scan."""
        ...

    def record(self, raw: RawTable) -> None:
        """Moves to the ledger what landers have noted in a raw table, if there is anything."""
        ...


def raw_state(
    state: str, properties: Mapping[str, str], snapshot_id: int | None, total_rows: int
) -> RawState:
    """A state of a raw table, from the properties that its last commit noted."""
    return RawState(
        state,
        offsets=offsets_of(properties),
        source=json.loads(properties.get(SOURCE, "null")),
        landed_at=last_landed_at(properties),
        new_fields=tuple(json.loads(properties.get(NEW_FIELDS, "[]"))),
        snapshot_id=snapshot_id,
        total_rows=total_rows,
    )


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

    Incremental models ask for what landed since they last looked, so two commits must never
    share a time, whatever the clocks of their landers show.
    """
    now = datetime.now(UTC)
    return now if last is None or now > last else last + timedelta(microseconds=1)
