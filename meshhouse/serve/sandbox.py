"""Restricts a consumer's DuckDB connection to the files of published tables.

Belongs here: the settings that restrict a connection. Not here: which statements are allowed
(statements.py), or which tables exist (lake/catalog.py).

Inside an allowed folder, DuckDB does not distinguish reading from writing. So this is the
second of two defences: it protects everything outside the lake, even if a statement gets past
the first one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from meshhouse.lake.storage import plain_path
from meshhouse.sql import literal

if TYPE_CHECKING:
    import duckdb

_SETTINGS = (
    "autoinstall_known_extensions = false",
    "autoload_known_extensions = false",
    "allow_community_extensions = false",
    # Otherwise a table name could refer to a Python variable of the caller.
    "python_enable_replacements = false",
    "enable_external_access = false",
    "lock_configuration = true",
)


def shut_in(connection: duckdb.DuckDBPyConnection, folders: Iterable[str]) -> None:
    """Restricts a connection to folders; this cannot be undone.

    Args:
        connection: a new connection, with its extensions loaded.
        folders: locations (`file://...`, `s3://...`); files below them may be read.
    """
    paths = sorted({f"{plain_path(each).rstrip('/')}/" for each in folders})
    connection.execute(f"set allowed_directories = [{', '.join(map(literal, paths))}]")
    for setting in _SETTINGS:
        connection.execute(f"set {setting}")
