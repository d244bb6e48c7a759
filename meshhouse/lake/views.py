"""Reading lake tables with DuckDB, each pinned at one snapshot.

Belongs here: a DuckDB connection that can read Iceberg, and views over given metadata locations.
Not here: choosing the locations (catalog.py), writing, or DuckDB as a build target (engines/).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Size:
    """How large a table is."""

    rows: int
    bytes: int
    """Of its data files, which are compressed."""


UNSIGNED = "allow_unsigned_extensions"
"""The setting that lets `enable_iceberg` skip signatures; load no other extension with it.

DuckDB's check of the signatures takes 0.2 s per connection. The extensions come from wheels, whose
hashes are checked at installation, as DuckDB's are."""


@cache
def _extensions() -> tuple[str, ...]:
    """Files of the extensions, which come as wheels; avro must be loaded before iceberg."""
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
    """Lets a connection read locations in an object store; local ones need nothing.

    Call it again before each use of a long-lived connection, because credentials expire.

    Raises:
        UsageError: a package or a setting for object stores is missing.
        StoreFailed: the store is unreachable or refuses access.
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
    # Parameters keep credentials out of the statement, which errors and logs show. The secret
    # counts for every bucket: a table's metadata and data may be in different ones.
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
    """An in-memory DuckDB connection that can read Iceberg; its time zone is UTC."""
    import duckdb

    # DuckDB would use secrets in the user's home; the mesh must not depend on them.
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
    copied: Size | None = None,
) -> None:
    """Creates or replaces one view for each relation, over the given metadata location.

    Args:
        connection: a connection with `enable_iceberg`.
        metadata_locations: `schema.table` -> metadata location.
        columns_of: if given, a damaged table does not fail here. Its view has these columns, and
            reading it fails and says what is damaged.
        copied: a relation up to this size becomes a table in the connection instead, with the rows
            of its metadata location. Its metadata and data are then read once.
    """
    enable_store(connection, metadata_locations.values())
    schemas = {relation.partition(".")[0] for relation in metadata_locations}
    for schema in sorted(schemas):
        connection.execute(f"create schema if not exists {quote(schema)}")
    for relation, location in sorted(metadata_locations.items()):
        rows = f"select * from iceberg_scan({literal(plain_path(location))})"
        try:
            check_readable(connection, relation, location)
            if copied is None or not _copies(connection, relation, rows, location, copied):
                connection.execute(f"create or replace view {quote_relation(relation)} as {rows}")
        except Damaged as error:
            if columns_of is None:
                raise
            refusal = _refusal(error, columns_of(relation))
            connection.execute(f"create or replace view {quote_relation(relation)} as {refusal}")


def _copies(
    connection: duckdb.DuckDBPyConnection, relation: str, rows: str, location: str, most: Size
) -> bool:
    """Makes a table of a small relation; False if it is larger, or its data cannot be read."""
    import duckdb

    metadata = read_metadata(location, relation)
    shown = metadata.get("current-snapshot-id")
    found = [each for each in metadata.get("snapshots", ()) if each["snapshot-id"] == shown]
    summary = found[0].get("summary", {}) if found else {}
    size = Size(
        rows=int(summary.get("total-records", most.rows + 1)),
        bytes=int(summary.get("total-files-size", most.bytes + 1)),
    )
    if size.rows > most.rows or size.bytes > most.bytes:
        return False
    try:
        connection.execute(f"create or replace table {quote_relation(relation)} as {rows}")
    except duckdb.Error:
        return False  # a check that reads the view says what is wrong; most relations are not read
    return True


def check_readable(connection: duckdb.DuckDBPyConnection, relation: str, location: str) -> None:
    """Reads the metadata and manifests of a table, not its data files.

    DuckDB 1.5's Iceberg reader ends the whole process if it cannot read a manifest. Its Avro
    reader raises an error, and takes a tenth of the time that importing pyiceberg takes. Each
    manifest is read once per process: 150 of them take 0.24 s, as long as the scan itself.

    Raises:
        Damaged: the metadata file or a manifest is missing or unreadable.
    """
    import duckdb

    if is_remote(location):
        return  # an object store does not truncate files, and each check costs a request
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
"""Avro files that this process has read -> the first column of each row."""
_MOST_READ = 50_000


def _read_once(
    connection: duckdb.DuckDBPyConnection, select: str, location: str, alias: str = ""
) -> tuple[str, ...]:
    """The first column of a query over a manifest or manifest list; both never change."""
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
    """Values that change when a file is damaged, replaced or restored; None if it is missing."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return path, found.st_ino, found.st_size, found.st_ctime_ns


def _refusal(damaged: Damaged, columns: Iterable[tuple[str, object]]) -> str:
    """A query with the columns of a damaged table that fails when it is executed."""
    said = f"error({literal(str(damaged))})"
    listing = ", ".join(f"cast({said} as {kind}) as {quote(name)}" for name, kind in columns)
    # The error is in every column, because DuckDB answers some conditions on nulls without
    # reading; and in a condition, because a count reads no column.
    return f"select {listing or f'{said} as damaged'} where cast({said} as boolean)"
