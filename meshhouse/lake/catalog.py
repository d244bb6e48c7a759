"""The Iceberg catalog: which metadata file each table shows now.

Belongs here: reading all pointers at one moment, preparing a new state of a table
without showing it (`stage`), and moving many pointers in one transaction (`commit`).
Does not: what is in the tables, or when to show it (landing/, publication.py).

The catalog is the SQL catalog that Iceberg's JDBC catalog and pyiceberg share: one row
a table in `iceberg_tables`. Only a conditional update of that row makes a staged state
visible, so N such updates in one SQLite transaction publish N tables at once.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshhouse.errors import MeshError
from meshhouse.lake import catalog_file, door, object_store, place, storage
from meshhouse.lake.damage import Damage, Damaged, read_metadata
from meshhouse.lake.rest_catalog import CatalogService, is_configured, service
from meshhouse.lake.states import unpartitioned, with_schema
from meshhouse.ledger import Conflict, Staged
from meshhouse.repository.environment import (
    current_environment,
    split_schema,
    stored_schema,
    workspace,
)

if TYPE_CHECKING:
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table

CATALOG_NAME = "mesh"
_NAMESPACES = (
    ("iceberg_tables", "table_namespace"),
    ("iceberg_namespace_properties", "namespace"),
)
"""Tables of the catalog, and where each says a schema."""


class Lake:
    """Tables under one warehouse folder and the catalog that points to them."""

    def __init__(
        self,
        home: Path,
        name: str = CATALOG_NAME,
        location: str | None = None,
        environment: str | None = None,
    ) -> None:
        """`home` is the mesh's data folder; the catalog lives in `home/lake`.

        Args:
            home: the folder.
            name: the catalog's in its file, which Iceberg's own JDBC catalog must use too.
            location: the folder of new tables; by default MESH_WAREHOUSE, or beside the catalog.
            environment: whose tables these are, empty for production; by default that of
                `MESH_ENV`, but catalogs beside the mesh's own know no environments.

        Raises:
            UsageError: MESH_WAREHOUSE names no object store, or `MESH_ENV` no environment
                that there can be.
        """
        self._has_environments = name == CATALOG_NAME
        if environment is None:
            environment = current_environment() if self._has_environments else ""
        self.name = name
        self.home = place.clean(home)
        self.environment = environment
        self.warehouse = self.home / "lake"
        self.catalog_path = self.warehouse / "catalog.db"
        self._location = location or object_store.warehouse()

    @property
    def _service(self) -> CatalogService | None:
        """The catalog service, if the mesh's catalog is one and not a file."""
        return service() if self.name == CATALOG_NAME else None

    @property
    def is_served(self) -> bool:
        """Whether a service keeps the catalog, which others may use in ways unknown here."""
        return self.name == CATALOG_NAME and is_configured()

    @property
    def location(self) -> str:
        """The folder of new tables."""
        # No escapes: readers take what is behind `file://` for the path.
        return self._location or f"file://{self.warehouse}"

    def in_environment(self, environment: str) -> Lake:
        """The same lake as another environment sees it; empty for production."""
        return Lake(self.home, self.name, environment=environment)

    @property
    def locks(self) -> Path:
        """The folder of lock files of those who write to these tables."""
        return workspace(self.home, self.environment) / "locks"

    def pointers(self) -> dict[str, str]:
        """`schema.table` -> metadata file, for every table of this environment alone.

        All are read at one moment, and called as production calls them. A catalog service
        can read only one table at a time; see there.
        """
        stored = self.stored()
        return self._of(self.environment, stored) if self._has_environments else stored

    def visible(self) -> dict[str, str]:
        """Like `pointers`, with production's table where the environment has none of its own.

        Ledgers are no part of that: each environment has its own history.
        """
        stored = self.stored()
        own = self._of(self.environment, stored)
        production = {
            relation: location
            for relation, location in self._of("", stored).items()
            if not relation.startswith("meshhouse.")
        }
        return {**production, **own}

    def stored(self) -> dict[str, str]:
        """Like `pointers`, of all environments, called as they are stored."""
        if self._service is not None:
            return self._service.pointers()
        with self._reading() as connection:
            if connection is None:
                return {}
            rows = connection.execute(
                "select table_namespace || '.' || table_name, metadata_location "
                "from iceberg_tables where catalog_name = ? "
                "and coalesce(iceberg_type, 'TABLE') = 'TABLE'",  # other engines keep views
                (self.name,),
            )
            return dict(rows.fetchall())

    @staticmethod
    def _of(environment: str, stored: Mapping[str, str]) -> dict[str, str]:
        found = {}
        for relation, location in stored.items():
            whose, called = split_schema(relation.partition(".")[0])
            if whose == environment:
                found[f"{called}.{relation.partition('.')[2]}"] = location
        return found

    def everything(self) -> dict[str, str]:
        """Metadata file -> `TABLE` or `VIEW`, of all that any catalog in this file shows."""
        with self._reading() as connection:
            if connection is None:
                return {}
            rows = connection.execute(
                "select metadata_location, coalesce(iceberg_type, 'TABLE') from iceberg_tables"
            )
            return dict(rows.fetchall())

    def pointer(self, relation: str) -> str | None:
        """The metadata file of one table now; None if there is none."""
        if self._service is not None:
            return self._service.pointer(stored_schema(self.environment, relation))
        return self.pointers().get(relation)

    def shows(self, change: Staged) -> bool:
        """Whether a staged state is what readers see, or may be once a service answers."""
        if self._service is not None:
            return self._service.shows(self._stored(change))
        return self.pointers().get(change.relation) == change.state

    @object_store.explained()
    def load(self, relation: str, metadata_location: str | None = None) -> Table | None:
        """The pyiceberg table, now or at a given metadata file; None if there is none.

        Its own commits are refused: everything is written through `stage` and `commit`.

        Raises:
            Damaged: its metadata file is missing or unreadable.
        """
        location = metadata_location or self.pointer(relation)
        if location is None:
            return None
        from pyiceberg.table.metadata import TableMetadataUtil

        from meshhouse.lake.staging import staging_table

        object_store.reach(location)
        io = storage.file_io(location)
        content = read_metadata(location, relation)
        try:
            metadata = TableMetadataUtil.parse_obj(content)
        except ValueError as error:
            what = "is not Iceberg's metadata"
            raise Damaged(Damage(relation, storage.plain_path(location), what)) from error
        return staging_table(relation, metadata, location, io)

    def stage(
        self,
        relation: str,
        schema: Schema,
        properties: Mapping[str, str] | None = None,
        at: str | None = None,
        table: Table | None = None,
        writer: str | None = None,
    ) -> Table:
        """A table object whose commits write metadata files that nobody sees.

        A table that does not exist yet starts empty; one whose columns differ from
        `schema` gets the new columns (names keep their field ids where the type is the
        same or widened). Hand the result to `staged` and then to `commit`.

        Args:
            relation: `schema.table`.
            schema: the columns it is to have.
            properties: of a table that does not exist yet.
            at: the metadata file to go on from, if the caller has looked already.
            table: what `load` gave for `at`; sparing it is most of a small commit.
            writer: the domain that writes, or `door.LEDGER`.

        Raises:
            UsageError: the writer does not own the table, or it cannot have this name.
            MeshError: the table's files are outside the lake.
        """
        from meshhouse.lake.staging import staging_table

        door.check_writer(writer, relation)
        if table is None:
            table = self.load(relation, at)
        else:
            io = storage.file_io(table.metadata.location)  # its own may have old credentials
            table = staging_table(relation, table.metadata, str(at), io)
        if table is None:
            metadata = self._new_metadata(relation, schema, properties or {})
            io = storage.file_io(metadata.location)
            return staging_table(relation, metadata, "", io)
        self.check_own(table)
        table.metadata = with_schema(unpartitioned(table.metadata), schema)
        return table

    def owns(self, location: str) -> bool:
        """Whether a local file is in this lake, wherever links and `..` lead."""
        return door.is_inside(location, self._folders)

    @property
    def _folders(self) -> list[Path]:
        # The folder of tables may be a link to a larger disk.
        return [self.home, self.warehouse.resolve()]

    def check_own(self, table: Table) -> None:
        """Refuses a table that has its files outside this lake.

        Raises:
            MeshError: see above.
        """
        # A service decides itself where files are. Builds in a store are found by their prefix.
        if self._has_environments and not self.is_served:
            name = ".".join(table.name())
            door.check_folders(name, table.location(), table.properties, self._folders)

    def staged(self, table: Table, base: str | None) -> Staged:
        """What `commit` needs to know of a staged table."""
        snapshot = table.current_snapshot()
        return Staged(
            relation=".".join(table.name()),
            base=base,
            state=table.metadata_location,
            snapshot_id=snapshot.snapshot_id if snapshot else None,
        )

    def commit(self, changes: Iterable[Staged], keep: Collection[Staged] = ()) -> None:
        """Shows all staged states at once, or none of them.

        Raises:
            Conflict: a table no longer is what a change builds on. The metadata files of
                the refused changes are removed, but for those in `keep`, which the
                caller may try again.
        """
        changes = list(changes)
        stored = {self._stored(change): change for change in changes}
        moved = (self._service.move if self._service is not None else self._move_all)([*stored])
        lost = [stored[change] for change in moved]
        if lost:
            for change in changes:
                if change not in keep:
                    self.discard(change)
            raise Conflict([change.relation for change in lost])

    def _move_all(self, changes: Sequence[Staged]) -> list[Staged]:
        with self._writing() as connection:
            lost = [change for change in changes if not _move(connection, self.name, change)]
            connection.execute("rollback" if lost else "commit")
        return lost

    def recall(self, relation: str, snapshot_id: int) -> Table | None:
        """A table as it was with a snapshot that its catalog service no longer lists.

        Some list the newest snapshot alone (Nessie). What we staged tells of the others, and
        with a service nobody but the service removes files.
        """
        if self._service is None:
            return None
        table = self.load(relation)
        staged = storage.listing(f"{table.location()}/metadata") if table else ()
        for file in staged:
            if file.name.endswith(".metadata.json"):
                earlier = self.load(relation, file.location)
                snapshot = earlier.current_snapshot() if earlier else None
                if snapshot is not None and snapshot.snapshot_id == snapshot_id:
                    return earlier if storage.exists(snapshot.manifest_list) else None
        return None

    def lend(self, relations: Mapping[str, str], own: str) -> None:
        """Shows tables of another lake as they are at given metadata files, and no others.

        Args:
            relations: `schema.table` -> metadata file.
            own: the schema of this lake's own tables, which stay as they are.
        """
        with self._writing() as connection:
            connection.execute(
                "delete from iceberg_tables where catalog_name = ? and table_namespace <> ?",
                (self.name, own),
            )
            _make_namespace(connection, self.name, "default")  # where clients of Hive begin
            for relation, location in relations.items():
                if not _move(connection, self.name, Staged(relation, None, location, None)):
                    raise MeshError(f"{relation} cannot be read beside tables of `{own}`.")
            connection.execute("commit")

    def forget(self, environment: str) -> None:
        """Takes every table of an environment out of the catalog, at once; files stay.

        A catalog service takes one after another.
        """
        if self._service is not None:
            own = [each for each in self.stored() if split_schema(each)[0] == environment]
            self._service.forget(own if environment else [])
            return
        with self._writing() as connection:
            for table, column in _NAMESPACES:
                found = connection.execute(
                    f"select distinct {column} from {table} where catalog_name = ?", (self.name,)
                )
                for (schema,) in found.fetchall():
                    if environment and split_schema(schema)[0] == environment:
                        connection.execute(
                            f"delete from {table} where catalog_name = ? and {column} = ?",
                            (self.name, schema),
                        )
            connection.execute("commit")

    def discard(self, change: Staged) -> None:
        """Removes the metadata file of a state that will not be shown."""
        if change.state == change.base:
            return  # nothing was staged: this is what is shown
        storage.delete(change.state)

    def _new_metadata(self, relation: str, schema: Schema, properties: Mapping[str, str]) -> Any:
        from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
        from pyiceberg.table.metadata import new_table_metadata
        from pyiceberg.table.sorting import UNSORTED_SORT_ORDER

        relation = stored_schema(self.environment, relation)
        door.check_name(relation)
        namespace, _, name = relation.partition(".")
        properties = {**_TABLE_PROPERTIES, **properties}
        if self._service is not None:
            folder = self._folder_of(namespace, name) if self._location else None
            return self._service.new_table(relation, schema, properties, folder)
        object_store.reach(self.location)
        catalog_file.make(self.catalog_path)
        return new_table_metadata(
            schema=schema,
            partition_spec=UNPARTITIONED_PARTITION_SPEC,
            sort_order=UNSORTED_SORT_ORDER,
            location=self._folder_of(namespace, name),
            properties=properties,
        )

    def _folder_of(self, namespace: str, name: str) -> str:
        folder = f"{self.location}/{namespace}/{name}"
        # A bucket may hold tables of other meshes, or of this one before it was made anew:
        # upkeep removes what nobody refers to from a table's folder, which must be its own.
        return f"{folder}-{uuid.uuid4().hex}" if object_store.is_remote(folder) else folder

    def _stored(self, change: Staged) -> Staged:
        """The change, of the table as it is stored."""
        return replace(change, relation=stored_schema(self.environment, change.relation))

    def _settle(self) -> None:
        """Adopts a lake that was moved or copied; see `place`."""
        if self.name != CATALOG_NAME:
            return
        try:
            place.settle(self.home)
        except PermissionError as error:
            raise MeshError(
                f"The lake in {self.home} cannot be used: you may not read {error.filename}. Ask "
                "its owner for the right to read, then run the same command again."
            ) from error

    def _reading(self) -> AbstractContextManager[sqlite3.Connection | None]:
        """A connection that only reads; None if nobody has made the catalog yet."""
        self._settle()
        return catalog_file.reading(self.catalog_path)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A connection in a transaction that may write; ending it is the caller's."""
        self._settle()
        with catalog_file.writing(self.catalog_path) as connection:
            if self.name == CATALOG_NAME and not (self.home / place.IDENTITY).exists():
                place.note_identity(self.home, place.own_identity(self.home))
            yield connection


_TABLE_PROPERTIES = {
    "write.parquet.compression-codec": "zstd",
    # Bounds the memory of a streamed write: one file's rows are held at a time.
    "write.target-file-size-bytes": str(128 * 1024 * 1024),
    # A zombie writer must fail: a retry inside pyiceberg would land its batch twice.
    "commit.retry.num-retries": "0",
}


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
