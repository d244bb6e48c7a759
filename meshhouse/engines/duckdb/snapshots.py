"""The history of dbt snapshots on target `local`, kept in private tables of the lake.

Belongs here: copying the history into the domain's DuckDB file before dbt runs, and the columns to
copy back afterwards. Not here: when that happens (runs/run.py), or staging (engine.py).

A snapshot cannot be rebuilt: its source no longer has the rows that it recorded. The DuckDB file is
lost with its machine, and a failed run has already changed it. So the lake keeps the history, as
`<domain>_build.<snapshot>`. Each run starts from the history in the lake, and the rows that it adds
become visible in the transaction that publishes its products.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from meshhouse.errors import MeshError
from meshhouse.files import replace
from meshhouse.lake import Lake
from meshhouse.lake.storage import plain_path
from meshhouse.lake.views import enable_iceberg, enable_store
from meshhouse.repository import Domain
from meshhouse.repository.types import DataType, parse_type
from meshhouse.sql import literal, quote

if TYPE_CHECKING:
    import duckdb


def restore(lake: Lake, domain: Domain, names: Sequence[str], file: Path, schema: str) -> None:
    """Resets each snapshot of a build to its history as of the last publication.

    An environment starts from production's history until it has its own.

    Args:
        lake: the lake with the histories.
        domain: the domain that declares the snapshots.
        names: names of the snapshots.
        file: the domain's DuckDB file, which need not exist yet.
        schema: the build's schema in that file.

    Raises:
        MeshError: the file is in use, or a history cannot be read.
    """
    import duckdb

    shown = lake.visible()
    histories = {name: shown.get(history_of(domain, name)) for name in names}
    begun = _Begun(file.parent)
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with closing(duckdb.connect(str(file))) as connection:
            _replace(connection, schema, histories, begun.names())
    except duckdb.Error as error:
        raise MeshError(
            f"The snapshots of {domain.name} cannot be restored in {file}: "
            f"{' '.join(str(error).split())}. End other programs that use the file, then run the "
            "same command again."
        ) from error
    begun.add(names)


def _replace(
    connection: duckdb.DuckDBPyConnection,
    schema: str,
    histories: Mapping[str, str | None],
    begun: Collection[str],
) -> None:
    enable_iceberg(connection)
    enable_store(connection, [each for each in histories.values() if each])
    connection.execute("begin")
    connection.execute(f"create schema if not exists {quote(schema)}")
    for name, location in histories.items():
        table = f"{quote(schema)}.{quote(name)}"
        if location is not None:
            connection.execute(
                f"create or replace table {table} as "
                f"select * from iceberg_scan({literal(plain_path(location))})"
            )
        elif name in begun:  # made by a run that published nothing
            connection.execute(f"drop table if exists {table}")
    connection.execute("commit")


def columns_of(
    connection: duckdb.DuckDBPyConnection, schema: str, name: str
) -> Iterator[tuple[str, DataType]]:
    """Yields the columns of a built snapshot with their types.

    Raises:
        MeshError: the lake has no type for a column.
    """
    found = connection.execute(
        "select column_name, data_type from duckdb_columns() "
        "where schema_name = ? and table_name = ? order by column_index",
        [schema, name],
    ).fetchall()
    for column, kind in found:
        try:
            yield column, parse_type(kind)
        except ValueError as error:
            raise MeshError(
                f"The snapshot {name} cannot keep its column `{column}`: {error} Cast it in the "
                "query of the snapshot."
            ) from error


def history_of(domain: Domain, name: str) -> str:
    """Name of the lake's table with the history of a snapshot."""
    return f"{domain.build_schema}.{name}"


class _Begun:
    """Names of the snapshots that a run has ever built in this file.

    Tables of these snapshots count only once they are published. The table of any other snapshot
    was made by plain dbt, or before the lake kept histories; it is taken as the history so far.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "snapshots.json"

    def names(self) -> list[str]:
        return json.loads(self._path.read_text()) if self._path.exists() else []

    def add(self, names: Sequence[str]) -> None:
        replace(self._path, json.dumps(sorted({*self.names(), *names})))
