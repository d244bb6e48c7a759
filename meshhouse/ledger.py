"""The ledger: what was landed, audited and published, and how runs ended.

Belongs here: the tables of the ledger, the protocol that every store of a ledger implements, and
what one commit publishes. Not here: how a store keeps its ledger (lake/ledger.py,
engines/snowflake/ledger.py), or decisions that are made from entries (runs/).
"""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from meshhouse.errors import MeshError
from meshhouse.repository.types import DataType

_STRING, _BIGINT, _TIME = DataType("string"), DataType("bigint"), DataType("timestamptz")
_COMMON = (
    ("run_id", _STRING),
    ("domain", _STRING),
    ("started_at", _TIME),
    ("finished_at", _TIME),
    ("done_by", _STRING),
    # Of the commit, rising through all ledgers: what came first. Clocks go back; see `entries`.
    ("number", _BIGINT),
)
LEDGERS: Mapping[str, tuple[tuple[str, DataType], ...]] = {
    "landings": (
        *_COMMON,
        ("raw_table", _STRING),
        ("topic", _STRING),
        ("rows", _BIGINT),
        ("rejected", _BIGINT),
        ("offsets", _STRING),
        ("snapshot_id", _BIGINT),
        # Landed again: rows and rejected events that the new ones took the place of.
        ("replaced", _BIGINT),
        ("replaced_rejected", _BIGINT),
    ),
    "rejections": (
        *_COMMON,
        ("kind", _STRING),
        ("raw_table", _STRING),
        ("events", _BIGINT),
        ("reason", _STRING),
    ),
    "audits": (
        *_COMMON,
        ("audit_id", _STRING),
        ("product", _STRING),
        ("passed", DataType("boolean")),
        ("score", DataType("decimal", 5, 2)),
        ("rows", _BIGINT),
        ("checks", _STRING),
    ),
    "publications": (
        *_COMMON,
        ("publication_id", _STRING),
        ("product", _STRING),
        ("version", _BIGINT),
        ("kind", _STRING),
        ("snapshot_id", _BIGINT),
        ("input_snapshots", _STRING),
        ("code_version", _STRING),
        ("rows", _BIGINT),
        ("bytes", _BIGINT),
        ("audit_id", _STRING),
        ("score", DataType("decimal", 5, 2)),
    ),
    "runs": (
        *_COMMON,
        ("outcome", _STRING),
        ("message", _STRING),
        # JSON: product -> what became of it; null in runs of before it was recorded.
        ("products", _STRING),
    ),
}
"""Ledger -> its columns; `input_snapshots`, `offsets` and `checks` hold JSON."""


ATTEMPTS = 20
"""Times that a change is tried while other processes are first."""

T = TypeVar("T")


class Conflict(MeshError):
    """Another process changed a table first. Nothing of this commit happened."""

    def __init__(self, relations: Sequence[str]) -> None:
        super().__init__(
            f"{', '.join(relations)} changed while this run was at work; nothing was changed by "
            "this run. Run it again."
        )
        self.relations = tuple(relations)


@dataclass(frozen=True)
class Staged:
    """A new state of a table, written and not yet visible to consumers."""

    relation: str
    base: str | None
    """The state that it builds on; None for a table that does not exist yet."""
    state: str
    """The new state as its store names it: the location of an Iceberg metadata file in the lake,
    the number of a generation in Snowflake."""
    snapshot_id: int | None
    """The number that stands for the rows of the state in ledger entries."""


class Ledger(Protocol):
    """Appends to and reads the ledger of one environment."""

    @property
    def production(self) -> Ledger | None:
        """Production's ledger; None where this is production's."""
        ...

    def commit(
        self, changes: Sequence[Staged], entries: Mapping[str, Sequence[Mapping[str, Any]]]
    ) -> None:
        """Makes staged tables visible and records why, in one transaction.

        Args:
            changes: tables to publish; they succeed or fail with their ledger entries.
            entries: table of the ledger -> rows; missing columns are null.

        Raises:
            UsageError: a table of `changes` belongs to no domain of the entries.
            Conflict: one of `changes` is outdated. Other appends to the ledger are not a
                conflict: the entry is written again behind them.
        """
        ...

    def entries(self, ledger: str, domain: str | None = None) -> list[dict[str, Any]]:
        """Rows of one table of the ledger, oldest first; empty if there is no table yet.

        The number of the commit decides which row is older. JSON columns are decoded.
        """
        ...


def retry_conflicts(
    change: Callable[[], T], may_retry: Callable[[Conflict], bool] = lambda conflict: True
) -> T:
    """Calls `change`, and again while other processes are first: at most 20 times.

    Args:
        change: reads the current states and commits; without an effect if it raises `Conflict`.
        may_retry: whether `change` can succeed after this conflict.

    Raises:
        Conflict: every attempt met one, or one that cannot be retried.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return change()
        except Conflict as conflict:
            if attempt == ATTEMPTS or not may_retry(conflict):
                raise
    raise AssertionError("unreachable")


def encoded(row: Mapping[str, Any]) -> dict[str, Any]:
    """An entry as ledgers keep it: who made it added, lists and mappings as JSON."""
    return {
        name: json.dumps(value) if isinstance(value, dict | list) else value
        for name, value in {"done_by": user(), **row}.items()
    }


def decoded(row: dict[str, Any]) -> dict[str, Any]:
    """An entry as ledgers keep it, its JSON columns read."""
    for name in ("input_snapshots", "offsets", "checks"):
        if row.get(name):
            row[name] = json.loads(row[name])
    return row


def user() -> str:
    """Who is at work, for the ledger."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
