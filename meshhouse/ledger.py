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
    # Number of the commit, which rises over all tables of the ledger. It gives the order of
    # entries, because clocks can go back; see `entries`.
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
        # After reprocessing: the numbers of old rows and rejected events that were replaced.
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
        # Of the kind `rename`: the relation whose table and history the product goes on with.
        ("renamed_from", _STRING),
    ),
    "runs": (
        *_COMMON,
        ("outcome", _STRING),
        ("message", _STRING),
        # JSON: product -> its outcome; null in old runs that did not record it.
        ("products", _STRING),
    ),
}
"""Ledger -> its columns; `input_snapshots`, `offsets` and `checks` hold JSON."""


ATTEMPTS = 20
"""Times that a change is tried while other processes change the same tables first."""

T = TypeVar("T")


class Conflict(MeshError):
    """Another process changed a table first. This commit changed nothing."""

    def __init__(self, relations: Sequence[str]) -> None:
        super().__init__(
            f"{', '.join(relations)} changed during this run, so this run changed nothing. Run it "
            "again."
        )
        self.relations = tuple(relations)


@dataclass(frozen=True)
class Staged:
    """A new state of a table, written and not yet visible to consumers."""

    relation: str
    base: str | None
    """The state on which it builds; None for a table that does not exist yet."""
    state: str
    """The new state: a metadata location in the lake, the number of a generation in Snowflake."""
    snapshot_id: int | None
    """The number that identifies the state's rows in ledger entries."""
    alias_of: str | None = None
    """The product's relation, if this is another name for it; its owner owns the name too."""


class Ledger(Protocol):
    """Appends to and reads the ledger of one environment."""

    @property
    def production(self) -> Ledger | None:
        """Production's ledger; None if this one is production's."""
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
            Conflict: one of `changes` is outdated. Concurrent appends to the ledger do not cause a
                conflict: the entry is written again after them.
        """
        ...

    def entries(self, ledger: str, domain: str | None = None) -> list[dict[str, Any]]:
        """Rows of one table of the ledger, oldest first; empty if the table does not exist yet.

        The number of the commit gives the order. JSON columns are decoded.
        """
        ...


def retry_conflicts(
    change: Callable[[], T], may_retry: Callable[[Conflict], bool] = lambda conflict: True
) -> T:
    """Calls `change` until no other process changed the tables first, at most 20 times.

    Args:
        change: reads the current states and commits; has no effect if it raises `Conflict`.
        may_retry: whether `change` can succeed after this conflict.

    Raises:
        Conflict: every attempt had a conflict, or one had a conflict that cannot be retried.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return change()
        except Conflict as conflict:
            if attempt == ATTEMPTS or not may_retry(conflict):
                raise
    raise AssertionError("unreachable")


def encoded(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an entry as it is stored: with the user's name, and lists and mappings as JSON."""
    return {
        name: json.dumps(value) if isinstance(value, dict | list) else value
        for name, value in {"done_by": user(), **row}.items()
    }


def decoded(row: dict[str, Any]) -> dict[str, Any]:
    """Returns a stored entry with its JSON columns decoded."""
    for name in ("input_snapshots", "offsets", "checks"):
        if row.get(name):
            row[name] = json.loads(row[name])
    return row


def user() -> str:
    """Name of the operating system's user, for the ledger."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
