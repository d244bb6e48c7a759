"""How people and tools read the mesh: published products, and nothing else.

Belongs here: `meshhouse.connect()` and what `mesh sql` stands on. Does not: raw tables,
builds or candidates; consumers never see them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from meshhouse.lake import Lake
from meshhouse.lake.scan import ColumnsOf, connect_memory, create_views
from meshhouse.repository import Repository
from meshhouse.repository.types import parse_type

if TYPE_CHECKING:
    import duckdb


def connect(path: str | Path | None = None) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection that sees the published products, as `<domain>.<product>`.

    All products are read as of one moment, the call: joins never mix two publications.
    Call `refresh` with the connection to see what was published since.

    Args:
        path: somewhere inside the repository; by default the working directory.

    Raises:
        UsageError: there is no Meshhouse repository.
    """
    repository = Repository.find(Path(path) if path else None)
    connection = connect_memory()
    create_views(connection, published(repository), columns_of(repository))
    return connection


def refresh(connection: duckdb.DuckDBPyConnection, path: str | Path | None = None) -> None:
    """Moves a connection of `connect` to what is published now, all products at once."""
    repository = Repository.find(Path(path) if path else None)
    connection.execute("begin")
    create_views(connection, published(repository), columns_of(repository))
    connection.execute("commit")


def columns_of(repository: Repository) -> ColumnsOf:
    """The declared columns of products, for views of those that are damaged."""

    def found(relation: str) -> list[tuple[str, object]]:
        for domain in repository.domains:
            for product in domain.products:
                if product.relation == relation:
                    return [(each.name, parse_type(each.data_type)) for each in product.columns]
        return []

    return found


def published(repository: Repository) -> dict[str, str]:
    """`domain.product` -> metadata file, of every published product, at one moment."""
    domains = set(repository.domain_names)
    return {
        relation: location
        for relation, location in Lake(repository.home).visible().items()
        if relation.partition(".")[0] in domains
    }
