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
from typing import Any, Protocol

from meshhouse.errors import UsageError
from meshhouse.lake import Lake, Staged
from meshhouse.repository import Domain, Product, Repository

NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Candidate:
    """The newest build of a product, readable by the audit, seen by nobody else."""

    product: Product
    staged: Staged
    rows: int
    bytes: int
    """Size of its data files."""


class Reader(Protocol):
    """Reads what the audit checks."""

    type_names: Mapping[str, str]
    """Kind of a declared type -> what this engine calls it, where it is another word."""

    def data_source(self, name: str) -> Any:
        """Soda's data source of that name; its SQL runs where this reads."""
        ...

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Rows of a query, as column -> value."""
        ...

    def quote(self, identifier: str) -> str:
        """An identifier for this engine's SQL, safe whatever it holds."""
        ...


class Engine(Protocol):
    """One target."""

    name: str
    lake: Lake

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


def engine(repository: Repository) -> Engine:
    """The engine of the target in use.

    Raises:
        UsageError: there is no such target.
    """
    target = os.environ.get("MESH_TARGET", "local")
    if target == "local":
        from meshhouse.engines.duckdb import DuckDBEngine

        return DuckDBEngine(repository)
    if target == "spark":
        from meshhouse.engines.spark import SparkEngine

        return SparkEngine(repository)
    raise UsageError(f"There is no target `{target}`. Targets: local, spark. Set MESH_TARGET.")


__all__ = ["Candidate", "Engine", "Reader", "engine"]
