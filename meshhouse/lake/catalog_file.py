"""The catalog file, a SQLite database: opening it to read and to write.

Belongs here: SQLite's modes, and refusing a file that was lost, emptied or replaced. Not here:
the rows in it (jdbc_catalog.py).

Readers must not need to write: they may lack the right, or the disk may be full. With a
write-ahead log, every reader writes files beside the database, and a killed reader leaves files
that the writer may lack the right to open. So the catalog has no write-ahead log, and readers
open it read-only. The price: a commit blocks readers for a few milliseconds.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from meshhouse.errors import MeshError
from meshhouse.lake.identity import IDENTITY

BUSY_SECONDS = 60
_HEADER = b"SQLite format 3\0"
_LOGS_AHEAD = 2
"""Byte 18 of a file with a write-ahead log."""

# The table layout of Iceberg's JDBC catalog, schema version V1 (JdbcUtil.java).
_CREATE = """
begin immediate;
create table if not exists iceberg_tables (
    catalog_name varchar(255) not null,
    table_namespace varchar(255) not null,
    table_name varchar(255) not null,
    metadata_location varchar(1000),
    previous_metadata_location varchar(1000),
    iceberg_type varchar(5),
    primary key (catalog_name, table_namespace, table_name)
);
create table if not exists iceberg_namespace_properties (
    catalog_name varchar(255) not null,
    namespace varchar(255) not null,
    property_key varchar(255) not null,
    property_value varchar(1000),
    primary key (catalog_name, namespace, property_key)
);
commit;
"""


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection | None]:
    """A connection that writes nothing; None if the catalog has not been created yet.

    Raises:
        MeshError: the catalog cannot be read, or it is missing although tables exist.
    """
    if _is_blank(path):
        yield None
        return
    with _explained(path), closing(_read_only(path)) as connection:
        yield connection if _has_tables(connection, path) else None


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection in a transaction that may write; the caller must end the transaction.

    Raises:
        MeshError: the catalog cannot be written, or it is missing although tables exist.
    """
    _is_blank(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        _explained(path),
        closing(sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)) as connection,
    ):
        if not _has_tables(connection, path):
            connection.executescript(_CREATE)
        _leave_write_ahead_log(connection)
        connection.execute("begin immediate")
        yield connection


def make(path: Path) -> None:
    """Creates the catalog if there is none.

    Called before the first file of a table is written. So tables without a catalog mean that the
    catalog was lost.
    """
    if _is_blank(path):
        with writing(path) as connection:
            connection.execute("commit")


def _is_blank(path: Path) -> bool:
    """Whether the catalog has not been created yet.

    Raises:
        MeshError: it was created before, and is missing or empty.
    """
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        size = None
    except PermissionError as error:
        raise MeshError(
            f"The catalog {path} cannot be used: you lack the right to read its folder. Ask its "
            "owner for that right, then run the same command again."
        ) from error
    if size and not _is_lost_header(path):
        return False
    _refuse_if_made(path, "is empty" if size == 0 else "is missing")
    return True


def _is_lost_header(path: Path) -> bool:
    """Whether the first command was killed before SQLite wrote the header."""
    with suppress(OSError), path.open("rb") as file:
        return not file.read(16).strip(b"\0") and not _holds_tables(path)
    return False


def _refuse_if_made(path: Path, what: str) -> None:
    if _holds_tables(path):
        raise MeshError(
            f"The catalog {path} {what}, but its folder holds tables, so this is not a new mesh. "
            "Nothing was changed. Put the file back from a backup (`mesh restore`). To begin "
            f"again without what was landed and published, remove {path.parent}."
        )


def _holds_tables(path: Path) -> bool:
    # The identity file, too: tables may be in an object store, and it is written after the catalog.
    return (path.parent / IDENTITY.name).exists() or any(
        True for _ in path.parent.glob("*/*/metadata/*.metadata.json")
    )


def _read_only(path: Path) -> sqlite3.Connection:
    """A connection in the first mode in which a read succeeds."""
    with path.open("rb") as file:
        header = file.read(20)
    if not header.startswith(_HEADER):
        raise sqlite3.DatabaseError("file is not a database")
    writer = Path(f"{path}-wal"), Path(f"{path}-journal")
    is_at_rest = not any(each.exists() for each in writer)
    # Older versions used a write-ahead log, and SQLite creates files beside it even to read.
    modes = ["immutable=1"] if header[18] == _LOGS_AHEAD and is_at_rest else ["mode=ro"]
    if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
        modes.append("mode=rw")  # rolls back what a killed writer left unfinished
    for at, mode in enumerate(modes, start=1):
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?{mode}", BUSY_SECONDS, isolation_level=None, uri=True
        )
        try:
            connection.execute("select count(*) from sqlite_master").fetchone()
        except sqlite3.OperationalError as error:
            connection.close()
            if "locked" in str(error) or at == len(modes):
                raise
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise AssertionError("unreachable")


def _has_tables(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether the database has the catalog's tables.

    Raises:
        MeshError: it is the database of another program, or it was emptied.
    """
    rows = connection.execute("select name from sqlite_master where type = 'table'").fetchall()
    names = {name for (name,) in rows if not name.startswith("sqlite_")}
    if "iceberg_tables" in names:
        return True
    if names:
        raise MeshError(
            f"{path} is not a catalog of Iceberg: it holds {', '.join(sorted(names)[:3])}. Nothing "
            "was changed. Put the mesh's own file back from a backup (`mesh restore`), or name "
            "another folder in MESH_HOME."
        )
    _refuse_if_made(path, "holds nothing")
    return False


def _leave_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Ends the write-ahead log of older versions, if no other process has the file open."""
    if connection.execute("pragma journal_mode").fetchone() == ("wal",):
        connection.execute("pragma busy_timeout = 0")
        with suppress(sqlite3.OperationalError):
            connection.execute("pragma journal_mode = delete")
        connection.execute(f"pragma busy_timeout = {BUSY_SECONDS * 1000}")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    # SQLite opens the file at the first statement, not when it connects.
    try:
        yield
    except PermissionError as error:
        raise MeshError(
            f"The catalog {path} cannot be used: you lack the right to read it. Ask its owner for "
            "that right, then run the same command again."
        ) from error
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise MeshError(
                f"The catalog {path} has been locked by another program for {BUSY_SECONDS} s. Let "
                "that finish or end it; then run the same command again."
            ) from error
        raise MeshError(
            f"The catalog {path} cannot be used: {error}. Make its folder writable and make room "
            "on its disk, then run the same command again."
        ) from error
    except sqlite3.DatabaseError as error:
        raise MeshError(
            f"The catalog {path} is damaged: {error}. Nothing was changed. Put it back from a "
            "backup (`mesh restore`); `mesh doctor` says whether anything else is damaged."
        ) from error
