"""What every target can do.

Belongs here: the protocol of an engine, and the types that it speaks in. Not here: choosing an
engine (`meshhouse.engines.engine`), or what one engine does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from meshhouse.landing.store import RawStore
from meshhouse.ledger import Ledger, Staged
from meshhouse.repository import Domain, Product

if TYPE_CHECKING:
    import pyarrow as pa

    from meshhouse.lake import Lake

PREVIOUS_SUFFIX = "_published"
"""Checks see what is published now in the schema `<domain>_published`."""

NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Candidate:
    """The newest build of a product, readable by the audit, seen by nobody else."""

    product: Product
    staged: Staged
    rows: int
    bytes: int
    """Size of its data files."""


class Names(Protocol):
    """What an engine calls what is declared."""

    type_names: Mapping[str, str]
    """Kind of a declared type -> what this engine calls it, where it is another word."""

    def dataset(self, relation: str) -> str:
        """What Soda calls a relation, behind the name of the data source."""
        ...

    def column(self, name: str) -> str:
        """A declared column as this engine keeps its name."""
        ...

    def sql(self, text: str) -> str:
        """A domain's query or condition, reading what is audited."""
        ...


class Reader(Names, Protocol):
    """Reads what the audit checks."""

    def data_source(self, name: str) -> Any:
        """Soda's data source of that name; its SQL runs where this reads."""
        ...

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Rows of a query, as column -> value."""
        ...

    def quote(self, identifier: str) -> str:
        """An identifier for this engine's SQL, safe whatever it holds."""
        ...


class PlainNames:
    """Of readers that see every relation under the name that its readers use."""

    def dataset(self, relation: str) -> str:
        """See `Reader`."""
        return relation.replace(".", "/")

    def column(self, name: str) -> str:
        """See `Reader`."""
        return name

    def sql(self, text: str) -> str:
        """See `Reader`."""
        return text


class Engine(Protocol):
    """One target."""

    name: str

    lake: Lake | None
    """Where the target's tables are Iceberg's; None where it keeps its own."""
    table_format: str
    """What kind of table consumers read: `iceberg`, `snowflake`."""
    answers_queries: bool
    """Whether `query` answers consumers; DuckDB reads the lake where it does not."""
    builds_apart: bool
    """Whether dbt started by a person builds into other tables than runs do."""

    @property
    def store(self) -> RawStore:
        """Where raw tables are landed."""
        ...

    @property
    def ledger(self) -> Ledger:
        """The ledger of the environment in use."""
        ...

    def ledger_of(self, environment: str) -> Ledger:
        """The ledger of another environment."""
        ...

    def pointers(self) -> dict[str, str]:
        """`schema.table` -> the state that it has, of what the environment has of its own."""
        ...

    def visible(self) -> dict[str, str]:
        """Like `pointers`, with production's where the environment has none of its own."""
        ...

    def schemas_of(self, products: Sequence[Product]) -> list[str]:
        """The schema of each under which dbt finds what is published of it."""
        ...

    def state_id(self, state: str) -> int | None:
        """What stands for the rows of a state; None where it has none."""
        ...

    def properties(self, relation: str, state: str) -> dict[str, str]:
        """What landing has noted about a raw table in a state."""
        ...

    def query(self, sql: str) -> pa.RecordBatchReader | None:
        """Rows of a consumer's query, where the target answers it; None where DuckDB does.

        Raises:
            UsageError: it is not one query that only reads.
            MeshError: it fails.
        """
        ...

    def prepare_dbt(self, domain: Domain) -> None:
        """Called before dbt builds a domain, started by a run or by a person."""
        ...

    def build_folder(self, domain: str) -> Path:
        """Where what is known of a domain's builds is kept."""
        ...

    def pin(self, domain: Domain, as_read: Mapping[str, int | None] = NOTHING) -> dict[str, str]:
        """What the domain may read, each relation at the state that it has now.

        `as_read`: relation -> the snapshot at which an environment reads it if the table is
        production's and still keeps it; an engine that keeps none may do without.
        """
        ...

    def stage(self, product: Product) -> Candidate:
        """Writes what dbt built of a product as the state that publication would show."""
        ...

    def reader(
        self, domain: Domain, states: Mapping[str, str], empty: Mapping[str, str]
    ) -> AbstractContextManager[Reader]:
        """For the audit of a domain: each relation shows the given state.

        `empty`: relation without rows -> relation whose columns it has.
        """
        ...

    def restore_snapshots(self, domain: Domain, names: Sequence[str]) -> None:
        """Makes dbt snapshots of a build what the last publication has recorded.

        Raises:
            UsageError: this target cannot keep their history.
        """
        ...

    def stage_snapshots(self, domain: Domain, names: Sequence[str]) -> list[Staged]:
        """Writes the history of dbt snapshots as the states that publication would record."""
        ...

    def row_counts(self, domain: Domain) -> dict[str, int]:
        """Rows of each table that dbt built in the domain's own schema."""
        ...

    def withdraw(self, candidates: Sequence[Candidate]) -> None:
        """Removes candidates that will not be published."""
        ...

    def restore(self, product: Product, snapshot_id: int) -> Staged:
        """Stages the product as it was at an earlier snapshot."""
        ...

    def environments(self) -> set[str]:
        """Names of the environments that hold something here."""
        ...

    def drop(self, environment: str) -> None:
        """Removes every schema and file of an environment; dropping twice is dropping."""
        ...


RUN_VARIABLE = "MESH_RUN_ID"
"""Names the run that is at work in this process, for whoever keeps account of queries."""
