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
from meshhouse.lake.damage import Damaged, damage_of, read_metadata
from meshhouse.lake.object_store import NOT_INSTALLED, access, buckets, is_remote, reach
from meshhouse.lake.storage import plain_path
from meshhouse.sql import literal, quote, quote_relation

if TYPE_CHECKING:
    from types import ModuleType

    import duckdb

ColumnsOf = Callable[[str], Iterable[tuple[str, object]]]
"""`schema.table` -> names and types of its columns."""


UNSIGNED = "allow_unsigned_extensions"
"""The setting with which `enable_iceberg` is quick; no other extension should be loaded with it.

pip has checked the files of the extensions as it has checked DuckDB itself. DuckDB would check
their signatures as well, which takes 0.2 s of each connection."""


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

    # A person's own stored secrets must not decide what the mesh reads.
    config = {"memory_limit": memory_limit, "allow_persistent_secrets": "false", UNSIGNED: "true"}
    connection = duckdb.connect(config=config)
    enable_iceberg(connection)
    connection.execute(f"set {UNSIGNED} = false")
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
        view += f"select * from iceberg_scan({literal(plain_path(location))})"
        try:
            check_readable(connection, relation, location)
            connection.execute(view)
        except Damaged as error:
            if columns_of is None:
                raise
            refusal = _refusal(error, columns_of(relation))
            connection.execute(f"create or replace view {quote_relation(relation)} as {refusal}")


def check_readable(connection: duckdb.DuckDBPyConnection, relation: str, location: str) -> None:
    """Reads the metadata and manifests of a table, not its data files.

    DuckDB 1.5 ends the whole process over a manifest that it cannot read; its reader of Avro
    fails as others do, and takes a tenth of the time that pyiceberg takes to be loaded. Each
    manifest is read once a process: 150 of them take as long as the scan itself, 0.24 s.

    Raises:
        Damaged: the metadata file or a manifest is missing or unreadable.
    """
    import duckdb

    if is_remote(location):
        return  # a store keeps files whole, and each look costs a request
    metadata = read_metadata(location, relation)
    shown = metadata.get("current-snapshot-id")
    lists = [each["manifest-list"] for each in metadata.get("snapshots", ())
             if each["snapshot-id"] == shown and "manifest-list" in each]  # fmt: skip
    try:
        for manifest_list in lists:
            listed = "select manifest_path from"
            for manifest in _read_once(connection, listed, manifest_list):
                _read_once(connection, "select max(hash(entry)) from", manifest, "as entry")
    except duckdb.Error as error:
        for damage in damage_of(relation, location, data=False):
            raise Damaged(damage) from error
        raise


_Mark = tuple[str, int, int, int]
_READ: dict[_Mark, tuple[str, ...]] = {}
"""Avro files that this process has read, and what they list."""
_MOST_READ = 50_000


def _read_once(
    connection: duckdb.DuckDBPyConnection, select: str, location: str, alias: str = ""
) -> tuple[str, ...]:
    """The first column of a query of a manifest or a list of them, which never change."""
    path = plain_path(location)
    mark = _mark(path)
    known = _READ.get(mark) if mark else None
    if known is None:
        found = connection.execute(f"{select} read_avro({literal(path)}) {alias}").fetchall()
        known = tuple(str(first) for first, *_ in found)
        if mark:
            if len(_READ) >= _MOST_READ:
                _READ.clear()
            _READ[mark] = known
    return known


def _mark(path: str) -> _Mark | None:
    """What differs as soon as a file is damaged, replaced or put back."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return path, found.st_ino, found.st_size, found.st_ctime_ns


def _refusal(damaged: Damaged, columns: Iterable[tuple[str, object]]) -> str:
    """A query that has the columns of a damaged table and fails for whoever runs it."""
    said = f"error({literal(str(damaged))})"
    listing = ", ".join(f"cast({said} as {kind}) as {quote(name)}" for name, kind in columns)
    # In every column, as a condition on nulls would be answered without reading; and in a
    # condition, so that a count does not get by.
    return f"select {listing or f'{said} as damaged'} where cast({said} as boolean)"
