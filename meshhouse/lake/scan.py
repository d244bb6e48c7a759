"""Reading lake tables with SQL, each pinned at one snapshot.

Belongs here: a DuckDB connection that can read Iceberg, and views over the exact
metadata files that were chosen. Does not: choosing them (catalog.py), writing, or
DuckDB as a build target (engines/).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb


def quote(identifier: str) -> str:
    """An SQL identifier, safe whatever it holds."""
    return '"' + identifier.replace('"', '""') + '"'


def quote_relation(relation: str) -> str:
    """`schema.table` with both parts quoted."""
    schema, _, table = relation.partition(".")
    return f"{quote(schema)}.{quote(table)}"


def literal(text: str) -> str:
    """An SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


@cache
def _extensions() -> tuple[str, ...]:
    """Files of the extensions that come as wheels; avro must be loaded before iceberg."""
    import duckdb
    import duckdb_extension_avro
    import duckdb_extension_iceberg

    version = f"v{duckdb.__version__}"
    return tuple(
        str(
            Path(module.__file__ or "").parent / "extensions" / version / f"{name}.duckdb_extension"
        )
        for name, module in (("avro", duckdb_extension_avro), ("iceberg", duckdb_extension_iceberg))
    )


def enable_iceberg(connection: duckdb.DuckDBPyConnection) -> None:
    """Lets a DuckDB connection read Iceberg tables, without a download."""
    for extension in _extensions():
        connection.execute(f"load {literal(extension)}")


def connect_memory(memory_limit: str = "1GiB") -> duckdb.DuckDBPyConnection:
    """A DuckDB connection in memory that reads Iceberg; UTC is its time zone."""
    import duckdb

    connection = duckdb.connect(config={"memory_limit": memory_limit})
    enable_iceberg(connection)
    connection.execute("set TimeZone = 'UTC'")
    return connection


def create_views(
    connection: duckdb.DuckDBPyConnection, metadata_locations: Mapping[str, str]
) -> None:
    """Creates or replaces one view a relation, over exactly the given metadata file.

    Args:
        connection: where `enable_iceberg` was called.
        metadata_locations: `schema.table` -> Iceberg metadata file.
    """
    schemas = {relation.partition(".")[0] for relation in metadata_locations}
    for schema in sorted(schemas):
        connection.execute(f"create schema if not exists {quote(schema)}")
    for relation, location in sorted(metadata_locations.items()):
        connection.execute(
            f"create or replace view {quote_relation(relation)} as "
            f"select * from iceberg_scan({literal(plain_path(location))})"
        )


def plain_path(location: str) -> str:
    """A `file:` location as a path; other schemes stay as they are."""
    return location.removeprefix("file://").removeprefix("file:")
