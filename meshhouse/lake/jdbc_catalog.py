"""The catalog in a file: the rows of Iceberg's JDBC catalog.

Belongs here: reading all rows at one moment, and changing several in one transaction. Not here:
opening the file (catalog_file.py), a catalog that is a service (rest_catalog.py), or what a table
is called in an environment (catalog.py).

Iceberg's JDBC catalog and pyiceberg share this layout: one row a table in `iceberg_tables`. A
staged state becomes visible only by a conditional update of that row, so N such updates in one
SQLite transaction publish N tables at once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from meshhouse.errors import MeshError
from meshhouse.lake import catalog_file, identity, object_store
from meshhouse.ledger import Staged

if TYPE_CHECKING:
    from pyiceberg.schema import Schema
    from pyiceberg.table.metadata import TableMetadata

CATALOG_NAME = "mesh"
"""The mesh's own catalog. Other catalogs hold what an engine builds or reads."""

_NAMESPACES = (
    ("iceberg_tables", "table_namespace"),
    ("iceberg_namespace_properties", "namespace"),
)
"""Tables of the catalog, and where each says a schema."""


class JdbcCatalog:
    """The tables of one catalog in a file."""

    def __init__(self, home: Path, path: Path, name: str) -> None:
        """`path` is the file; `home` is the mesh's data folder, which the file may outlive."""
        self._home = home
        self._path = path
        self._name = name

    def pointers(self) -> dict[str, str]:
        """`schema.table` -> metadata file, all read at one moment."""
        with self._reading() as connection:
            if connection is None:
                return {}
            rows = connection.execute(
                "select table_namespace || '.' || table_name, metadata_location "
                "from iceberg_tables where catalog_name = ? "
                "and coalesce(iceberg_type, 'TABLE') = 'TABLE'",  # other engines keep views
                (self._name,),
            )
            return dict(rows.fetchall())

    def pointer(self, relation: str) -> str | None:
        """The metadata file of one table; None if there is none."""
        return self.pointers().get(relation)

    def everything(self) -> dict[str, str]:
        """Metadata file -> `TABLE` or `VIEW`, of all that any catalog in this file shows."""
        with self._reading() as connection:
            if connection is None:
                return {}
            rows = connection.execute(
                "select metadata_location, coalesce(iceberg_type, 'TABLE') from iceberg_tables"
            )
            return dict(rows.fetchall())

    def shows(self, change: Staged) -> bool:
        """Whether a staged state is what readers see."""
        return self.pointer(change.relation) == change.state

    def new_table(
        self, relation: str, schema: Schema, properties: Mapping[str, str], location: str
    ) -> TableMetadata:
        """The metadata with which a table is to begin; nobody sees it yet.

        Args:
            relation: `schema.table`.
            schema: its columns.
            properties: of the table.
            location: its folder.
        """
        from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
        from pyiceberg.table.metadata import new_table_metadata
        from pyiceberg.table.sorting import UNSORTED_SORT_ORDER

        object_store.reach(location)
        catalog_file.make(self._path)
        return new_table_metadata(
            schema=schema,
            partition_spec=UNPARTITIONED_PARTITION_SPEC,
            sort_order=UNSORTED_SORT_ORDER,
            location=location,
            properties=dict(properties),
        )

    def move(self, changes: Sequence[Staged]) -> list[Staged]:
        """Shows all changes in one transaction, or none of them.

        Returns:
            those that are outdated; then nothing happened.
        """
        with self._writing() as connection:
            lost = [change for change in changes if not _move(connection, self._name, change)]
            connection.execute("rollback" if lost else "commit")
        return lost

    def lend(self, relations: Mapping[str, str], own: str) -> None:
        """Shows tables of another lake as they are at given metadata files, and no others.

        Args:
            relations: `schema.table` -> metadata file.
            own: the schema of this catalog's own tables, which stay as they are.
        """
        with self._writing() as connection:
            connection.execute(
                "delete from iceberg_tables where catalog_name = ? and table_namespace <> ?",
                (self._name, own),
            )
            _make_namespace(connection, self._name, "default")  # where clients of Hive begin
            for relation, location in relations.items():
                if not _move(connection, self._name, Staged(relation, None, location, None)):
                    raise MeshError(f"{relation} cannot be read beside tables of `{own}`.")
            connection.execute("commit")

    def forget(self, is_meant: Callable[[str], bool]) -> None:
        """Takes every table of the meant schemas out of the catalog, at once; files stay."""
        with self._writing() as connection:
            for table, column in _NAMESPACES:
                found = connection.execute(
                    f"select distinct {column} from {table} where catalog_name = ?", (self._name,)
                )
                for (schema,) in found.fetchall():
                    if is_meant(schema):
                        connection.execute(
                            f"delete from {table} where catalog_name = ? and {column} = ?",
                            (self._name, schema),
                        )
            connection.execute("commit")

    def _settle(self) -> None:
        """Adopts a lake that was moved or copied; see `identity`."""
        if self._name != CATALOG_NAME:
            return
        try:
            identity.settle(self._home)
        except PermissionError as error:
            raise MeshError(
                f"The lake in {self._home} cannot be used: you may not read {error.filename}. Ask "
                "its owner for the right to read, then run the same command again."
            ) from error

    def _reading(self) -> AbstractContextManager[sqlite3.Connection | None]:
        """A connection that only reads; None if nobody has made the catalog yet."""
        self._settle()
        return catalog_file.reading(self._path)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A connection in a transaction that may write; ending it is the caller's."""
        self._settle()
        with catalog_file.writing(self._path) as connection:
            if self._name == CATALOG_NAME and not (self._home / identity.IDENTITY).exists():
                identity.note_identity(self._home, identity.own_identity(self._home))
            yield connection


def _make_namespace(connection: sqlite3.Connection, catalog: str, namespace: str) -> None:
    # A namespace exists for other Iceberg clients once it has a property.
    connection.execute(
        "insert or ignore into iceberg_namespace_properties values (?, ?, 'exists', 'true')",
        (catalog, namespace),
    )


def _move(connection: sqlite3.Connection, catalog: str, change: Staged) -> bool:
    namespace, _, name = change.relation.partition(".")
    if change.base is None:
        _make_namespace(connection, catalog, namespace)
        result = connection.execute(
            "insert or ignore into iceberg_tables values (?, ?, ?, ?, null, 'TABLE')",
            (catalog, namespace, name, change.state),
        )
    else:
        result = connection.execute(
            "update iceberg_tables set metadata_location = ?, previous_metadata_location = ? "
            "where catalog_name = ? and table_namespace = ? and table_name = ? "
            "and metadata_location = ?",
            (change.state, change.base, catalog, namespace, name, change.base),
        )
    return result.rowcount == 1
