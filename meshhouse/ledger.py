"""The ledger: what was landed, audited and published, and how runs ended.

Belongs here: the tables of the ledger, the protocol that every store of a ledger implements, and
what one commit publishes. Not here: how a store keeps its ledger (lake/ledger.py,
engines/snowflake/ledger.py), or decisions that are made from entries (runs/).
"""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
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
        ("contract_hash", _STRING),
        # What the publication changed for consumers, with the waivers and confirmations.
        ("changes", _STRING),
        # Of the kinds `alias` and `end`: the other name that shows the product now, or ended.
        ("alias", _STRING),
    ),
    # What was promised: a contract is stored when a product is first published with it.
    "contracts": (
        *_COMMON,
        ("product", _STRING),
        ("version", _BIGINT),
        ("hash", _STRING),
        ("contract", _STRING),
    ),
    # What was in the tables; see governance/statistics.py.
    "statistics": (
        *_COMMON,
        ("product", _STRING),
        ("publication_id", _STRING),
        ("statistics", _STRING),
    ),
    # How promises were kept; see governance/objectives.py. `finished_at` is when it was measured.
    "objectives": (
        *_COMMON,
        ("product", _STRING),
        ("objective", _STRING),
        ("target", DataType("double")),
        ("measured", DataType("double")),
        ("met", DataType("boolean")),
    ),
    # What sinks received; see sinks/. `publication` is the number of the publication.
    "deliveries": (
        *_COMMON,
        ("product", _STRING),
        ("sink", _STRING),
        ("kind", _STRING),
        ("publication", _BIGINT),
        ("since", _BIGINT),
        ("added", _BIGINT),
        ("changed", _BIGINT),
        ("removed", _BIGINT),
        # Names of the delivered columns, sorted.
        ("columns", _STRING),
        ("message", _STRING),
    ),
    "runs": (
        *_COMMON,
        ("outcome", _STRING),
        ("message", _STRING),
        # JSON: product -> its outcome; null in old runs that did not record it.
        ("products", _STRING),
        # JSON: product -> milliseconds of its model and audit; null in runs that built nothing.
        ("milliseconds", _STRING),
    ),
}
"""Ledger -> its columns; `input_snapshots`, `offsets`, `checks`, `contract`, `statistics` and
`changes` hold JSON."""

HEADS: tuple[tuple[str, DataType], ...] = (
    ("domain", _STRING),
    ("product", _STRING),
    ("number", _BIGINT),
    ("publication_id", _STRING),
    ("kind", _STRING),
    ("version", _BIGINT),
    ("snapshot_id", _BIGINT),
    ("rows", _BIGINT),
    ("bytes", _BIGINT),
    ("score", DataType("decimal", 5, 2)),
    ("published_at", _TIME),
    ("code_version", _STRING),
    ("contract_hash", _STRING),
    ("previous", _BIGINT),
    ("refreshed_at", _TIME),
    ("last_run", _STRING),
    ("last_run_at", _TIME),
    ("retired_at", _TIME),
    ("retired_by", _STRING),
    ("retired_version", _BIGINT),
    ("retired_rows", _BIGINT),
    ("contract", _STRING),
    ("statistics", _STRING),
)
"""Columns of the table `meshhouse.heads`, in which each commit replaces the rows of its domains."""
DOCUMENTS = ("contract", "statistics")
"""Columns of `HEADS` that hold most of its bytes."""


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
    renamed_to: str | None = None
    """The table's next name, `schema.table`, if the change gives it one, and empty if it takes this
    name away; `state` equals `base`."""


@dataclass(frozen=True)
class Head:
    """What is current of one product, so that nobody has to read its history.

    The fields from `number` to `previous`, and the documents, are those of the publication that
    consumers see; they are None if there is none.
    """

    domain: str
    product: str
    """Its name; empty for the head of a domain, which only has the fields of runs."""
    number: int | None = None
    publication_id: str | None = None
    kind: str | None = None
    """What happened last: `publish`, `rollback`, `rename`, `retire` or `unretire`."""
    version: int | None = None
    snapshot_id: int | None = None
    rows: int | None = None
    bytes: int | None = None
    score: Decimal | None = None
    published_at: datetime | None = None
    code_version: str | None = None
    contract_hash: str | None = None
    previous: int | None = None
    """The number of the publication to which a rollback would go back."""
    refreshed_at: datetime | None = None
    """When a run last published it or found it unchanged; after a rollback, when what consumers
    see was published."""
    last_run: str | None = None
    """What became of it in the last run that was about it."""
    last_run_at: datetime | None = None
    retired_at: datetime | None = None
    """When it was retired; None, like the next three, of a product that is not retired."""
    retired_by: str | None = None
    retired_version: int | None = None
    retired_rows: int | None = None
    contract: str | None = None
    """The contract as canonical JSON; None if none was stored, or if it was not asked for."""
    statistics: str | None = None
    """The statistics as JSON; None if none were stored, or if they were not asked for."""

    @property
    def relation(self) -> str:
        """Schema and table of the product; the domain's name for the head of a domain."""
        return f"{self.domain}.{self.product}" if self.product else self.domain

    @property
    def is_published(self) -> bool:
        """Whether consumers see a publication."""
        return self.number is not None

    @property
    def rolled_back(self) -> bool:
        """Whether a rollback is the newest that happened to it."""
        return self.kind == "rollback"


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

        Heads of the domains in `publications` and `runs` change in the same transaction. Of
        `contracts`, those are left out that the product was published with before.

        Args:
            changes: tables to publish; they succeed or fail with their ledger entries.
            entries: table of the ledger -> rows; missing columns are null.

        Raises:
            UsageError: a table of `changes` belongs to no domain of the entries.
            Conflict: one of `changes` is outdated. Concurrent appends to the ledger do not cause a
                conflict: the entry is written again after them.
        """
        ...

    def entries(
        self, ledger: str, domain: str | None = None, since: datetime | None = None
    ) -> list[dict[str, Any]]:
        """Rows of one table of the ledger, oldest first; empty if the table does not exist yet.

        The number of the commit gives the order. JSON columns are decoded, but not contracts.

        Args:
            ledger: the table.
            domain: whose rows; None for all.
            since: only rows that finished at this time or later; older files are not read.
        """
        ...

    def entries_from(self, ledger: str, number: int) -> list[dict[str, Any]]:
        """Rows of one table whose number is at least this, oldest first.

        Like `entries`, but entries of older versions, which have no number, are left out.

        Args:
            ledger: the table.
            number: of a commit.
        """
        ...

    def newest(self, ledger: str) -> list[dict[str, Any]]:
        """Rows of one table with its largest number; empty if no row has a number."""
        ...

    def renames(self) -> list[dict[str, Any]]:
        """Publications of the kind `rename`, of all domains, oldest first."""
        ...

    def heads(self, domain: str | None = None, documents: bool = True) -> dict[str, Head]:
        """What is current of each product, here and not in production behind it.

        A ledger of an older version, without heads, is read once as a whole.

        Args:
            domain: whose products; None for all.
            documents: with contracts and statistics, which are most of what is read.

        Returns:
            Relation -> its head, of everything that a publication or a run was ever about.
        """
        ...

    def last_runs(self, domain: str | None = None) -> dict[str, Head]:
        """Domain -> its head, which says when and how the newest run of the domain ended."""
        ...

    def contract(self, contract_hash: str) -> str | None:
        """The contract with this hash, as canonical JSON; None if none was stored."""
        ...

    def statistics(self, publication_ids: Collection[str]) -> dict[str, str]:
        """Publication -> its statistics as JSON, of those that have any."""
        ...

    def audits(self, audit_ids: Collection[str]) -> dict[str, dict[str, Any]]:
        """Audit -> its entry with decoded checks, of those that exist."""
        ...

    def stale_heads(self) -> list[str]:
        """Relations and domains whose heads differ from what the history says."""
        ...

    def rebuild_heads(self) -> None:
        """Makes all heads from the history."""
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
    for name in ("input_snapshots", "offsets", "checks", "statistics", "changes"):
        if row.get(name):
            row[name] = json.loads(row[name])
    return row


def user() -> str:
    """Name of the operating system's user, for the ledger."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
