"""What a DuckDB connection of a reader may touch: files of published tables, nothing else.

Belongs here: the settings that shut a connection in. Not here: which statements are allowed
(statements.py), and which tables there are (catalog.py).

DuckDB cannot tell reading from writing inside an allowed folder, so this is the second of two
walls: it holds everything outside the lake, whatever a statement manages to say.
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
    # Names of the caller's Python variables would be read as tables.
    "python_enable_replacements = false",
    "enable_external_access = false",
    "lock_configuration = true",
)


def shut_in(connection: duckdb.DuckDBPyConnection, folders: Iterable[str]) -> None:
    """Confines a connection to folders, for good; extensions must be loaded before.

    Args:
        connection: has read nothing yet.
        folders: locations (`file://...`, `s3://...`) below which files may be read.
    """
    paths = sorted({f"{plain_path(each).rstrip('/')}/" for each in folders})
    connection.execute(f"set allowed_directories = [{', '.join(map(literal, paths))}]")
    for setting in _SETTINGS:
        connection.execute(f"set {setting}")
