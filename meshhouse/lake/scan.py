"""Reading lake tables with SQL, each pinned at one snapshot.

Belongs here: a DuckDB connection that can read Iceberg, and views over the exact
metadata files that were chosen. Does not: choosing them (catalog.py), writing, or
DuckDB as a build target (engines/).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from meshhouse.errors import UsageError
from meshhouse.lake.damage import Damage, Damaged, damage_of
from meshhouse.lake.object_store import NOT_INSTALLED, access, buckets, reach
from meshhouse.lake.storage import plain_path

if TYPE_CHECKING:
    from types import ModuleType

    import duckdb

ColumnsOf = Callable[[str], Iterable[tuple[str, object]]]
"""`schema.table` -> names and types of its columns."""


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
    import duckdb_extension_avro
    import duckdb_extension_iceberg

    return _file("avro", duckdb_extension_avro), _file("iceberg", duckdb_extension_iceberg)


def _file(name: str, module: ModuleType) -> str:
    import duckdb

    folder = Path(module.__file__ or "").parent / "extensions" / f"v{duckdb.__version__}"
    return str(folder / f"{name}.duckdb_extension")


def enable_iceberg(connection: duckdb.DuckDBPyConnection) -> None:
    """Lets a DuckDB connection read Iceberg tables, without a download."""
    for extension in _extensions():
        connection.execute(f"load {literal(extension)}")


def enable_store(connection: duckdb.DuckDBPyConnection, locations: Iterable[str]) -> None:
    """Lets a connection read those of the locations that are in an object store.

    To be called again for a connection that is kept: credentials expire.

    Raises:
        UsageError: what is needed for that is not installed or not set.
        StoreFailed: the store is away or refuses.
    """
    named = buckets(locations)
    if not named:
        return
    found = access()
    for bucket in named:
        reach(f"s3://{bucket}")
    try:
        import duckdb_extension_httpfs
    except ImportError as error:
        raise UsageError(NOT_INSTALLED) from error
    connection.execute(f"load {literal(_file('httpfs', duckdb_extension_httpfs))}")
    endpoint = urlsplit(found.endpoint)
    # Bound, not written into the statement, which errors and logs would show. For any bucket:
    # a table's metadata and its data may be in two.
    connection.execute(
        "create or replace secret meshhouse_store (type s3, key_id $key_id, secret $secret, "
        "session_token $token, region $region, endpoint $endpoint, url_style $style, "
        "use_ssl $ssl)",
        {
            "key_id": found.key_id,
            "secret": found.secret,
            "token": found.token or "",
            "region": found.region,
            "endpoint": f"{endpoint.netloc}{endpoint.path.rstrip('/')}",
            "style": "vhost" if found.is_amazon else "path",
            "ssl": endpoint.scheme == "https",
        },
    )


def connect_memory(memory_limit: str = "1GiB") -> duckdb.DuckDBPyConnection:
    """A DuckDB connection in memory that reads Iceberg; UTC is its time zone."""
    import duckdb

    connection = duckdb.connect(config={"memory_limit": memory_limit})
    enable_iceberg(connection)
    connection.execute("set TimeZone = 'UTC'")
    return connection


def create_views(
    connection: duckdb.DuckDBPyConnection,
    metadata_locations: Mapping[str, str],
    columns_of: ColumnsOf | None = None,
) -> None:
    """Creates or replaces one view a relation, over exactly the given metadata file.

    Args:
        connection: where `enable_iceberg` was called.
        metadata_locations: `schema.table` -> Iceberg metadata file.
        columns_of: if given, a damaged table is no reason to fail: reading its view fails
            instead, and says what is damaged. The view has these columns.
    """
    enable_store(connection, metadata_locations.values())
    schemas = {relation.partition(".")[0] for relation in metadata_locations}
    for schema in sorted(schemas):
        connection.execute(f"create schema if not exists {quote(schema)}")
    for relation, location in sorted(metadata_locations.items()):
        view = f"create or replace view {quote_relation(relation)} as "
        # DuckDB 1.5 ends the whole process over a manifest that it cannot read.
        damage = next(damage_of(relation, location, data=False), None) if columns_of else None
        connection.execute(
            view + _refusal(damage, columns_of(relation))
            if damage and columns_of
            else view + f"select * from iceberg_scan({literal(plain_path(location))})"
        )


def _refusal(damage: Damage, columns: Iterable[tuple[str, object]]) -> str:
    """A query that has the columns of a damaged table and fails for whoever runs it."""
    said = f"error({literal(str(Damaged(damage)))})"
    listing = ", ".join(f"cast({said} as {kind}) as {quote(name)}" for name, kind in columns)
    # In every column, as a condition on nulls would be answered without reading; and in a
    # condition, so that a count does not get by.
    return f"select {listing or f'{said} as damaged'} where cast({said} as boolean)"
