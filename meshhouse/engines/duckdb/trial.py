"""A domain's DuckDB file for one trial build: empty tables in, names and types out.

Belongs here: the file itself. Not here: the build (runs/import_trial.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb

from meshhouse.engines.duckdb.engine import work_file
from meshhouse.sql import quote

Columns = Mapping[str, str]
"""Column -> type."""


def create_empty(workspace: Path, domain: str, schema: str, tables: Mapping[str, Columns]) -> None:
    """Creates empty tables in the file in which dbt will build a domain.

    Args:
        workspace: of the mesh; its builds are below.
        domain: the domain's name.
        schema: of the tables.
        tables: table -> its columns, with types of the mesh.
    """
    path = work_file(workspace, domain)
    path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"create schema if not exists {quote(schema)}")
        for table, columns in tables.items():
            listed = ", ".join(f"{quote(name)} {kind}" for name, kind in columns.items())
            connection.execute(f"create table {quote(schema)}.{quote(table)} ({listed})")


def built_columns(workspace: Path, domain: str, schema: str) -> dict[str, dict[str, str]]:
    """Table or view of a schema -> column -> DuckDB's type, in the order of the columns."""
    found: dict[str, dict[str, str]] = {}
    with duckdb.connect(str(work_file(workspace, domain)), read_only=True) as connection:
        for table, column, kind in connection.execute(
            "select table_name, column_name, data_type from information_schema.columns "
            "where table_schema = ? order by table_name, ordinal_position",
            [schema],
        ).fetchall():
            found.setdefault(table, {})[column] = kind
    return found


def reserved_words() -> frozenset[str]:
    """Words that cannot name a column without quotes."""
    with duckdb.connect() as connection:
        rows = connection.execute(
            "select keyword_name from duckdb_keywords() where keyword_category = 'reserved'"
        ).fetchall()
    return frozenset(str(word) for (word,) in rows)
