"""Paths in the rows of catalogs.

Belongs here: finding and rewriting them after a folder was moved or copied. Not here: paths in
Iceberg's metadata and manifests (relocate.py), or other changes of rows (jdbc_catalog.py).

There is one catalog for the mesh and one for each place of builds. A build catalog's name ends in
a digest of its folder, so the name changes when the folder does.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from meshhouse.lake.moves import Move, mapped
from meshhouse.repository.environment import ENVIRONMENTS

_PATH_COLUMNS: Mapping[str, Sequence[str]] = {
    "iceberg_tables": ("metadata_location", "previous_metadata_location"),
    "iceberg_namespace_properties": ("property_value",),
}
"""Table of a catalog -> its columns that may hold paths."""
_BUILD_CATALOG = re.compile(r"(.+)_([0-9a-f]{8})")


def catalog_digest(home: Path | str) -> str:
    """The last part of a build catalog's name; one process may use builds of several meshes."""
    return hashlib.sha256(str(home).encode()).hexdigest()[:8]


def locations(catalog: Path) -> list[str]:
    """The metadata locations in a catalog."""
    with _opened(catalog) as connection:
        if not _has_tables(connection):
            return []
        rows = connection.execute(
            "select metadata_location from iceberg_tables where metadata_location is not null"
        )
        return [location for (location,) in rows.fetchall()]


def names_old_place(catalog: Path, home: Path, moves: Sequence[Move]) -> bool:
    """Whether `rewrite` would change any row of a catalog."""
    with _opened(catalog) as connection:
        digests = _digests(home, moves, catalog)
        return _has_tables(connection) and any(
            _changed_rows(connection, table, moves, digests) for table in _PATH_COLUMNS
        )


def rewrite(catalog: Path, home: Path, moves: Sequence[Move]) -> None:
    """Rewrites old paths in all rows of a catalog to the new ones, in one transaction."""
    digests = _digests(home, moves, catalog)
    with _opened(catalog) as connection:
        if not _has_tables(connection):
            return
        connection.execute("begin immediate")
        for table, columns in _PATH_COLUMNS.items():
            assigned = ", ".join(f"{column} = ?" for column in ("catalog_name", *columns))
            for row, values in _changed_rows(connection, table, moves, digests):
                connection.execute(f"update {table} set {assigned} where rowid = ?", (*values, row))
        connection.execute("commit")


def _digests(home: Path, moves: Sequence[Move], catalog: Path) -> list[str]:
    """The old and the new digest in the name of a build catalog, see `catalog_digest`."""
    relative = catalog.relative_to(home).parts
    inner = Path(*relative[:2]) if relative[0] == ENVIRONMENTS else Path()
    return [catalog_digest(Path(place, inner)) for place in (moves[0].old, moves[0].new)]


def _changed_rows(
    connection: sqlite3.Connection, table: str, moves: Sequence[Move], digests: Sequence[str]
) -> list[tuple[int, list[Any]]]:
    """Rows of a catalog with an old path, each with the new catalog name and the new paths."""
    columns = ", ".join(("catalog_name", *_PATH_COLUMNS[table]))
    found = connection.execute(f"select rowid, {columns} from {table}").fetchall()
    changed = []
    for row, name, *values in found:
        known = _BUILD_CATALOG.fullmatch(name)
        new_name = f"{known[1]}_{digests[1]}" if known and known[2] == digests[0] else name
        new = [mapped(each, moves) or each if each else each for each in values]
        if [new_name, *new] != [name, *values]:
            changed.append((row, [new_name, *new]))
    return changed


def _opened(catalog: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(catalog, timeout=60, isolation_level=None))


def _has_tables(connection: sqlite3.Connection) -> bool:
    found = connection.execute("select 1 from sqlite_master where name = 'iceberg_tables'")
    return found.fetchone() is not None
