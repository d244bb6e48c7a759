"""The catalog in a file: the rows of Iceberg's JDBC catalog.

Belongs here: reading all rows in one transaction, and changing several rows in one transaction.
Not here: opening the file (catalog_file.py), catalog services (rest_catalog.py), or the names of
tables in an environment (catalog.py).

Iceberg's JDBC catalog and pyiceberg share this layout: `iceberg_tables` has one row for each
table. A conditional update of that row makes a staged state visible, so N updates in one SQLite
transaction publish N tables at once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
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
"""The mesh's catalog. Other catalogs hold the tables that an engine builds or reads."""

_NAMESPACES = (
    ("iceberg_tables", "table_namespace"),
    ("iceberg_namespace_properties", "namespace"),
)
"""Tables of the database, and the column of each that holds a schema."""


class JdbcCatalog:
    """The tables of one catalog in a file."""

    def __init__(self, home: Path, path: Path, name: str) -> None:
        """`path` is the catalog file; `home` is the mesh's data folder."""
        self._home = home
        self._path = path
        self._name = name

    def states(self) -> dict[str, str]:
        """`schema.table` -> metadata location, all read in one transaction."""
        with self._reading() as connection:
            if connection is None:
                return {}
            rows = connection.execute(
                "select table_namespace || '.' || table_name, metadata_location "
                "from iceberg_tables where catalog_name = ? "
                "and coalesce(iceberg_type, 'TABLE') = 'TABLE'",  # other engines store views here
                (self._name,),
            )
            return dict(rows.fetchall())

    def state(self, relation: str) -> str | None:
        """The metadata location of a table; None if there is no such table."""
        return self.states().get(relation)

    def everything(self) -> dict[str, str]:
        """Metadata location -> `TABLE` or `VIEW`, of every catalog in this file."""
        with self._reading() as connection:
            if connection is None:
                return {}
            rows = connection.execute(
                "select metadata_location, coalesce(iceberg_type, 'TABLE') from iceberg_tables"
            )
            return dict(rows.fetchall())

    def shows(self, change: Staged) -> bool:
        """Whether readers see a staged state."""
        return self.state(change.relation) == change.state

    def new_table(
        self, relation: str, schema: Schema, properties: Mapping[str, str], location: str
    ) -> TableMetadata:
        """The first metadata of a table that is not visible yet.

        Args:
            relation: `schema.table`.
            schema: the table's columns.
            properties: the table's properties.
            location: the table's folder.
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
        """Makes all changes visible in one transaction, or none of them.

        Returns:
            The changes whose table another writer changed first; if any, nothing became visible.
        """
        with self._writing() as connection:
            lost = [change for change in changes if not _move(connection, self._name, change)]
            connection.execute("rollback" if lost else "commit")
        return lost

    def register_external(self, relations: Mapping[str, str], own: str) -> None:
        """Registers external tables at given metadata locations, and removes all other ones.

        Args:
            relations: `schema.table` -> metadata location in another lake.
            own: the schema of this catalog's tables, which do not change.
        """
        with self._writing() as connection:
            connection.execute(
                "delete from iceberg_tables where catalog_name = ? and table_namespace <> ?",
                (self._name, own),
            )
            _make_namespace(connection, self._name, "default")  # the schema that Hive clients open
            for relation, location in relations.items():
                if not _move(connection, self._name, Staged(relation, None, location, None)):
                    raise MeshError(f"{relation} cannot be read beside tables of `{own}`.")
            connection.execute("commit")

    def forget(self, is_meant: Callable[[str], bool]) -> None:
        """Removes every table of the schemas that `is_meant` accepts, at once; files stay."""
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

    def forget_tables(self, relations: Collection[str]) -> None:
        """Removes tables from the catalog, all at once; files stay."""
        with self._writing() as connection:
            for relation in relations:
                namespace, _, name = relation.partition(".")
                connection.execute(
                    "delete from iceberg_tables where catalog_name = ? and table_namespace = ? "
                    "and table_name = ?",
                    (self._name, namespace, name),
                )
            connection.execute("commit")

    def _settle(self) -> None:
        """Rewrites the paths of a lake that was moved or copied; see `identity`."""
        if self._name != CATALOG_NAME:
            return
        try:
            identity.settle(self._home)
        except PermissionError as error:
            raise MeshError(
                f"The lake in {self._home} cannot be used: you lack the right to read "
                f"{error.filename}. Ask its owner for that right, then run the same command again."
            ) from error

    def _reading(self) -> AbstractContextManager[sqlite3.Connection | None]:
        """A connection that only reads; None if the catalog has not been created yet."""
        self._settle()
        return catalog_file.reading(self._path)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A connection in a transaction that may write; the caller must end the transaction."""
        self._settle()
        with catalog_file.writing(self._path) as connection:
            if self._name == CATALOG_NAME and not (self._home / identity.IDENTITY).exists():
                identity.note_identity(self._home, identity.own_identity(self._home))
            yield connection


def _make_namespace(connection: sqlite3.Connection, catalog: str, namespace: str) -> None:
    # Other Iceberg clients see a namespace only if it has a property.
    connection.execute(
        "insert or ignore into iceberg_namespace_properties values (?, ?, 'exists', 'true')",
        (catalog, namespace),
    )


def _move(connection: sqlite3.Connection, catalog: str, change: Staged) -> bool:
    namespace, _, name = change.relation.partition(".")
    if change.renamed_to == "":
        result = connection.execute(
            "delete from iceberg_tables where catalog_name = ? and table_namespace = ? "
            "and table_name = ? and metadata_location = ?",
            (catalog, namespace, name, change.base),
        )
    elif change.renamed_to is not None:
        new_namespace, _, new_name = change.renamed_to.partition(".")
        _make_namespace(connection, catalog, new_namespace)
        result = connection.execute(
            "update or ignore iceberg_tables set table_namespace = ?, table_name = ? "
            "where catalog_name = ? and table_namespace = ? and table_name = ? "
            "and metadata_location = ?",
            (new_namespace, new_name, catalog, namespace, name, change.base),
        )
    elif change.base is None:
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
