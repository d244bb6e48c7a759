"""What differs between targets, behind one protocol.

Belongs here: choosing the engine of `MESH_TARGET` and what every engine can do. Does
not: anything that is the same on all targets.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from meshhouse.errors import UsageError
from meshhouse.lake import Lake
from meshhouse.ledger import Ledger, Staged
from meshhouse.repository import Domain, Product, RawTable, Repository

if TYPE_CHECKING:
    import pyarrow as pa

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


class RawStore(Protocol):
    """Keeps raw tables, and the ledger, that are not in the lake."""

    environment: str

    def in_environment(self, environment: str) -> RawStore:
        """The same store as another environment sees it; empty for production."""
        ...

    def pointers(self) -> dict[str, str]:
        """`schema.table` -> state, of what the environment has of its own."""
        ...

    def raw_target(self, raw: RawTable, topic: Any, accept: Any) -> Any:
        """The raw table of a topic, see `meshhouse.landing.target.open_target`."""
        ...

    def rejected_share(self, raw: RawTable) -> tuple[int, int]:
        """Events of a topic that were rejected, and all of them."""
        ...

    @property
    def ledger(self) -> Ledger:
        """The ledger."""
        ...


class Engine(Protocol):
    """One target."""

    name: str

    @property
    def lake(self) -> Lake:
        """Where tables are Iceberg's; for what only the lake can do.

        Raises:
            UsageError: this target keeps its tables elsewhere.
        """
        ...

    @property
    def store(self) -> Lake | RawStore:
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


def dbt_variables(domain: str) -> dict[str, str]:
    """What dbt is told in its environment, for the target in use and one domain."""
    if os.environ.get("MESH_TARGET") == "snowflake":
        from meshhouse.engines.snowflake.session import private_key_file, warehouse_of

        return {
            "SNOWFLAKE_WAREHOUSE": warehouse_of(domain),
            "SNOWFLAKE_PRIVATE_KEY_FILE": str(private_key_file()),
        }
    return {}


def engine(repository: Repository, target: str | None = None) -> Engine:
    """The engine of a target; by default of the one in use, `MESH_TARGET`.

    Raises:
        UsageError: there is no such target.
    """
    target = target or os.environ.get("MESH_TARGET", "local")
    if target == "local":
        from meshhouse.engines.duckdb.engine import DuckDBEngine

        return DuckDBEngine(repository)
    if target == "spark":
        from meshhouse.engines.spark.engine import SparkEngine

        return SparkEngine(repository)
    if target == "snowflake":
        from meshhouse.engines.snowflake.engine import SnowflakeEngine

        return SnowflakeEngine(repository)
    raise UsageError(
        f"There is no target `{target}`. Targets: local, snowflake, spark. Set MESH_TARGET."
    )


SNAPSHOTS_NEED_LOCAL = (
    "dbt snapshots are kept on target `local` only: elsewhere their history would be in the "
    "build alone, which a failed run changes and another machine lacks."
)


def refuse_snapshots(domain: Domain, names: Sequence[str]) -> None:
    """For targets that cannot keep the history of dbt snapshots.

    Raises:
        UsageError: there is one.
    """
    if names:
        raise UsageError(
            f"{domain.name} takes the snapshot {', '.join(names)}. {SNAPSHOTS_NEED_LOCAL} Run it "
            "with MESH_TARGET=local, or read the history from a topic."
        )


RUN_VARIABLE = "MESH_RUN_ID"
"""Names the run that is at work in this process, for whoever keeps account of queries."""

__all__ = [
    "PREVIOUS_SUFFIX",
    "RUN_VARIABLE",
    "SNAPSHOTS_NEED_LOCAL",
    "Candidate",
    "Engine",
    "Names",
    "PlainNames",
    "RawStore",
    "Reader",
    "dbt_variables",
    "engine",
    "refuse_snapshots",
]
