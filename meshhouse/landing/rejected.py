"""Rejected events: the events that landing could not decode.

Belongs here: selecting, counting and reading them. Not here: the reasons (decode.py), landing or
discarding them (redrive.py), or printing them (cli/rejected.py).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from meshhouse.errors import UsageError
from meshhouse.lake import Lake
from meshhouse.lake.storage import plain_path
from meshhouse.lake.views import check_readable, connect_memory, enable_store
from meshhouse.repository import RawTable
from meshhouse.sql import literal

if TYPE_CHECKING:
    import duckdb

_GROUPS = 20

# A reason quotes the value that did not fit: "field `amount`: `abc` is not a valid bigint". The
# pattern runs in DuckDB and in Arrow, which both use RE2.
_VALUE, _ANY_VALUE = "(?s): `.*` ", ": `…` "
_GROUP = f"regexp_replace(reason, {literal(_VALUE)}, {literal(_ANY_VALUE)})"


@dataclass(frozen=True)
class Choice:
    """A selection of a table's rejected events; by default all."""

    reason: str | None = None
    """Text that the reason or its group must contain."""
    until: datetime | None = None
    """The latest `_landed_at`: leaves out events rejected after the user saw the list."""

    @property
    def condition(self) -> str:
        """The selection as a SQL condition on the table of rejected events."""
        conditions = ["true"]
        if self.reason is not None:
            text = literal(self.reason)
            conditions.append(f"(contains(reason, {text}) or contains({_GROUP}, {text}))")
        if self.until is not None:
            conditions.append(f"_landed_at <= timestamptz {literal(self.until.isoformat())}")
        return " and ".join(conditions)

    def mask(self, events: pa.Table) -> pa.ChunkedArray:
        """The selection as one boolean per event."""
        chosen = pa.chunked_array([pa.repeat(True, len(events))])
        if self.reason is not None:
            groups = pc.replace_substring_regex(events["reason"], _VALUE, _ANY_VALUE)
            found = pc.or_(
                pc.match_substring(events["reason"], self.reason),
                pc.match_substring(groups, self.reason),
            )
            chosen = pc.and_(chosen, found)
        if self.until is not None:
            chosen = pc.and_(chosen, pc.less_equal(events["_landed_at"], pa.scalar(self.until)))
        # A null would be neither in the selection nor in its inverse.
        return chosen.fill_null(False)


EVERYTHING = Choice()


@dataclass(frozen=True)
class Summary:
    """The rejected events of one raw table, counted by reason."""

    raw: RawTable
    events: int | None
    """None if the table was never landed."""
    newest: datetime | None = None
    """Time at which the newest event was rejected."""
    reasons: tuple[tuple[str, int], ...] = ()
    """Reasons without the quoted values, with numbers of events; most frequent first."""


@dataclass(frozen=True)
class RejectedEvent:
    """One rejected event with its bytes and the reason."""

    partition: int
    offset: int
    timestamp: datetime
    key: str | None
    value: bytes | None
    reason: str
    landed_at: datetime


def summaries(lake: Lake, tables: Sequence[RawTable]) -> list[Summary]:
    """Counts the rejected events of each table by reason."""
    locations = locations_of(lake, tables)
    found = []
    with closing(connect_memory()) as connection:
        for raw in tables:
            location = locations.get(relation(raw))
            if raw.relation not in locations:
                found.append(Summary(raw, None))
            elif location is None or not total_records(lake, relation(raw), locations):
                found.append(Summary(raw, 0))
            else:
                found.append(_summary(connection, raw, location))
    return found


def _summary(connection: duckdb.DuckDBPyConnection, raw: RawTable, location: str) -> Summary:
    enable_store(connection, [location])
    check_readable(connection, relation(raw), location)
    events = f"iceberg_scan({literal(plain_path(location))})"
    [(count, newest)] = connection.execute(
        f"select count(*), max(_landed_at) from {events}"
    ).fetchall()
    reasons = connection.execute(
        f"select {_GROUP} as reason_group, count(*) from {events} "
        f"group by reason_group order by count(*) desc, reason_group limit {_GROUPS}"
    ).fetchall()
    return Summary(raw, count, newest, tuple(reasons))


def count(lake: Lake, raw: RawTable, choice: Choice = EVERYTHING) -> tuple[int, datetime | None]:
    """Returns the number of chosen events, and the time at which the newest was rejected.

    Raises:
        UsageError: the raw table was never landed.
    """
    [counted] = _select(lake, raw, "count(*), max(_landed_at)", choice) or [(0, None)]
    return counted


def read(
    lake: Lake, raw: RawTable, choice: Choice = EVERYTHING, limit: int = 20
) -> list[RejectedEvent]:
    """Returns the chosen events, most recently rejected first.

    Raises:
        UsageError: the raw table was never landed.
    """
    columns = '_topic_partition, _offset, _timestamp, _key, "value", reason, _landed_at'
    order = (
        f"order by _landed_at desc, _timestamp desc, _topic_partition, _offset desc limit {limit}"
    )
    return [RejectedEvent(*row) for row in _select(lake, raw, columns, choice, order)]


def _select(
    lake: Lake, raw: RawTable, what: str, choice: Choice, rest: str = ""
) -> list[tuple[Any, ...]]:
    locations = locations_of(lake, [raw])
    if raw.relation not in locations:
        raise never_landed(raw)
    location = locations.get(relation(raw))
    if location is None:
        return []
    with closing(connect_memory()) as connection:
        enable_store(connection, [location])
        check_readable(connection, relation(raw), location)
        return connection.execute(
            f"select {what} from iceberg_scan({literal(plain_path(location))}) "
            f"where {choice.condition} {rest}"
        ).fetchall()


def relation(raw: RawTable) -> str:
    """Name of the table with a raw table's rejected events."""
    return f"{raw.schema}.{raw.rejected}"


def locations_of(lake: Lake, tables: Collection[RawTable]) -> dict[str, str]:
    """Metadata locations of raw tables and their rejected events, as the environment reads them."""
    own = lake.states()
    if all(raw.relation in own for raw in tables):
        return own
    visible = lake.visible()
    # An environment with its own raw table must not see production's rejected events.
    return {
        name: source[name]
        for raw in tables
        for source in (own if raw.relation in own else visible,)
        for name in (raw.relation, relation(raw))
        if name in source
    }


def total_records(lake: Lake, relation: str, locations: dict[str, str]) -> int:
    """Rows of a table, from the summary of its snapshot; 0 if the table does not exist."""
    table = lake.load(relation, locations[relation]) if relation in locations else None
    snapshot = table.current_snapshot() if table is not None else None
    summary = snapshot.summary if snapshot is not None else None
    return int(summary["total-records"] or 0) if summary is not None else 0


def never_landed(raw: RawTable) -> UsageError:
    """The error for a raw table that does not exist."""
    return UsageError(
        f"{raw.relation} does not exist yet: topic `{raw.topic}` was never landed. "
        f"Run `mesh land {raw.domain}` first."
    )
