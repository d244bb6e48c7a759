"""The protocol that every target's engine implements.

Belongs here: the protocol, and the types of its arguments and results. Not here: choosing an engine
(`meshhouse.engines.engine`), or the code of one engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from meshhouse.ledger import Ledger, Staged
from meshhouse.repository import Domain, Product

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from meshhouse.lake import Lake
    from meshhouse.landing.store import RawStore

PREVIOUS_SUFFIX = "_published"
"""Checks read the current publication in the schema `<domain>_published`."""

NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Candidate:
    """The newest build of a product: the audit can read it, consumers cannot."""

    product: Product
    staged: Staged
    rows: int
    bytes: int
    """Size of its data files."""


@dataclass(frozen=True)
class Build:
    """The table that dbt built last for a product, on a DuckDB connection."""

    relation: str
    """Its quoted name."""
    place: str
    """Where it is, for people."""
    written_at: datetime
    """When the file that holds it was last written, in UTC."""


class Names(Protocol):
    """An engine's names for declared types, tables and columns."""

    type_names: Mapping[str, str]
    """Kind of a declared type -> the engine's name for it, where they differ."""

    def dataset(self, relation: str) -> str:
        """Soda's name for a relation, without the name of the data source."""
        ...

    def column(self, name: str) -> str:
        """A declared column's name as this engine stores it."""
        ...

    def sql(self, text: str) -> str:
        """A domain's query or condition, rewritten to read the audited tables."""
        ...


class Reader(Names, Protocol):
    """Reads the tables that the audit checks."""

    engine: str
    """Names the engine in statistics: those of different engines differ in details."""

    def data_source(self, name: str) -> Any:
        """A Soda data source of that name, which runs its SQL on this reader's connection."""
        ...

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Rows of a query, each as column -> value."""
        ...

    def quote(self, identifier: str) -> str:
        """An identifier quoted for this engine's SQL, whatever characters it holds."""
        ...

    def checksum(self, columns: Sequence[str]) -> tuple[str, str]:
        """How the engine makes one whole number from a row's values.

        Args:
            columns: their quoted names; may be empty.

        Returns:
            A name, which changes when equal rows get another number; and the SQL of a number whose
            sum over any table does not overflow.
        """
        ...


class PlainNames:
    """Names of engines whose audit sees every relation under its public name."""

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
    """Builds, audits and publishes on one target."""

    name: str

    lake: Lake | None
    """The lake, if the target's tables are Iceberg tables; None if it has its own format."""
    compute: str
    """What runs dbt's SQL, as Dagster names a kind: `duckdb`, `spark` or `snowflake`."""
    table_format: str
    """The format of the tables that consumers read: `iceberg` or `snowflake`."""
    answers_queries: bool
    """Whether `query` answers consumers' queries; if not, DuckDB reads the lake for them."""
    builds_apart: bool
    """Whether dbt, started by a person, builds into other tables than runs do."""

    @property
    def store(self) -> RawStore:
        """Where raw tables are landed."""
        ...

    @property
    def ledger(self) -> Ledger:
        """The ledger of the current environment."""
        ...

    def ledger_of(self, environment: str) -> Ledger:
        """The ledger of another environment."""
        ...

    def states(self) -> dict[str, str]:
        """`schema.table` -> its current state, of the environment's own tables."""
        ...

    def visible(self) -> dict[str, str]:
        """Like `states`, plus production's tables that the environment does not have."""
        ...

    def schemas_of(self, products: Sequence[Product]) -> list[str]:
        """For each product, the schema in which dbt finds its current publication."""
        ...

    def state_id(self, state: str) -> int | None:
        """The number that identifies the rows of a state; None if the state has no rows."""
        ...

    def properties(self, relation: str, state: str) -> dict[str, str]:
        """The properties in which landing recorded its progress, of a raw table in a state."""
        ...

    def query(self, sql: str) -> pa.RecordBatchReader | None:
        """Rows of a consumer's query; None if DuckDB answers queries for this target.

        Raises:
            UsageError: the text is not a single query that only reads.
            MeshError: the query fails.
        """
        ...

    def prepare_dbt(self, domain: Domain) -> None:
        """Is called before dbt builds a domain, whether a run or a person started dbt."""
        ...

    def build_folder(self, domain: str) -> Path:
        """The folder for facts about a domain's builds."""
        ...

    def finish_publications(self, domain: Domain) -> None:
        """Makes visible what interrupted runs of any domain have decided to publish.

        Raises:
            MeshError: a product of the domain still cannot be made visible.
        """
        ...

    def pin(
        self,
        domain: Domain,
        as_read: Mapping[str, int | None] = NOTHING,
        files: Path | None = None,
    ) -> dict[str, str]:
        """Pins each relation that the domain may read at its current state.

        Args:
            domain: the domain that will read.
            as_read: relation -> the snapshot to pin, not the current one, where an environment
                reads production's table. Ignored for snapshots that are no longer kept, in an
                object store and in Snowflake.
            files: the folder for metadata files that pins need; by default among the domain's
                builds.
        """
        ...

    def staging(self, domain: Domain) -> AbstractContextManager[None]:
        """Entered around several calls of `stage`; opens once what each of them reads."""
        ...

    def stage(self, product: Product) -> Candidate:
        """Writes dbt's build of a product as the state that publication would make visible."""
        ...

    def reader(
        self, domain: Domain, states: Mapping[str, str], empty: Mapping[str, str]
    ) -> AbstractContextManager[Reader]:
        """Opens a reader for the audit of a domain.

        Args:
            domain: the audited domain.
            states: relation -> the state that the reader sees.
            empty: empty tables to show -> table to copy columns from.
        """
        ...

    def restore_snapshots(self, domain: Domain, names: Sequence[str]) -> None:
        """Resets a build's dbt snapshots to their history as of the last publication.

        Raises:
            UsageError: this target cannot keep the history.
        """
        ...

    def stage_snapshots(self, domain: Domain, names: Sequence[str]) -> list[Staged]:
        """Writes the history of dbt snapshots as states that are published with the products."""
        ...

    def withdraw(self, candidates: Sequence[Candidate]) -> None:
        """Removes candidates that will not be published."""
        ...

    def restore(self, product: Product, snapshot_id: int) -> Staged:
        """Stages the product as it was at an earlier snapshot."""
        ...

    def attach_build(self, product: Product, connection: duckdb.DuckDBPyConnection) -> Build | str:
        """Makes the newest build of a product readable; or says why that is impossible.

        Args:
            product: which one.
            connection: a connection to read it with.
        """
        ...

    def alias(self, relation: str, shown: Staged, with_history: bool = False) -> Staged:
        """Stages a name that shows what another one shows; the data is not copied.

        Args:
            relation: the name.
            shown: the state that both will show; it is visible, or committed together with the
                result.
            with_history: also keep earlier states for rollbacks under this name.
        """
        ...

    def environments(self) -> set[str]:
        """Names of the environments that have tables or files on this target."""
        ...

    def drop(self, environment: str) -> None:
        """Removes every schema and file of an environment; a second call changes nothing."""
        ...


RUN_VARIABLE = "MESH_RUN_ID"
"""Holds the id of the run in this process; engines attach it to their queries."""
