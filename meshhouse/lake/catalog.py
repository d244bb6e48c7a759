"""The Iceberg catalog of an environment: which metadata file each table shows now.

Belongs here: reading all metadata locations at one moment, preparing a new state of a table
without showing it (`stage`), and showing many states at once (`commit`). Not here: how a catalog
keeps its tables (jdbc_catalog.py, rest_catalog.py), what is in the tables, or when to show it
(landing/, runs/publication.py).
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshhouse.lake import identity, object_store, ownership, storage
from meshhouse.lake.damage import Damage, Damaged, read_metadata
from meshhouse.lake.jdbc_catalog import CATALOG_NAME, JdbcCatalog
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
        self.home = identity.clean(home)
        self.environment = environment
        self.warehouse = self.home / "lake"
        self.catalog_path = self.warehouse / "catalog.db"
        self._location = location or object_store.warehouse()

    @property
    def _service(self) -> CatalogService | None:
        """The catalog service, if the mesh's catalog is one and not a file."""
        return service() if self.name == CATALOG_NAME else None

    @property
    def _file(self) -> JdbcCatalog:
        return JdbcCatalog(self.home, self.catalog_path, self.name)

    @property
    def _catalog(self) -> CatalogService | JdbcCatalog:
        return self._service or self._file

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
        return self._catalog.pointers()

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
        return self._file.everything()

    def pointer(self, relation: str) -> str | None:
        """The metadata file of one table now; None if there is none."""
        return self._catalog.pointer(stored_schema(self.environment, relation))

    def shows(self, change: Staged) -> bool:
        """Whether a staged state is what readers see, or may be once a service answers."""
        return self._catalog.shows(self._stored(change))

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
            writer: the domain that writes, or `ownership.LEDGER`.

        Raises:
            UsageError: the writer does not own the table, or it cannot have this name.
            MeshError: the table's files are outside the lake.
        """
        from meshhouse.lake.staging import staging_table

        ownership.check_writer(writer, relation)
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
        return ownership.is_inside(location, self._folders)

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
            ownership.check_folders(name, table.location(), table.properties, self._folders)

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
        lost = [stored[change] for change in self._catalog.move([*stored])]
        if lost:
            for change in changes:
                if change not in keep:
                    self.discard(change)
            raise Conflict([change.relation for change in lost])

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
        self._file.lend(relations, own)

    def forget(self, environment: str) -> None:
        """Takes every table of an environment out of the catalog, at once; files stay.

        A catalog service takes one after another.
        """
        self._catalog.forget(
            lambda schema: bool(environment) and split_schema(schema)[0] == environment
        )

    def discard(self, change: Staged) -> None:
        """Removes the metadata file of a state that will not be shown."""
        if change.state == change.base:
            return  # nothing was staged: this is what is shown
        storage.delete(change.state)

    def _new_metadata(self, relation: str, schema: Schema, properties: Mapping[str, str]) -> Any:
        relation = stored_schema(self.environment, relation)
        ownership.check_name(relation)
        properties = {**_TABLE_PROPERTIES, **properties}
        if self._service is not None:
            folder = self._folder_of(relation) if self._location else None
            return self._service.new_table(relation, schema, properties, folder)
        return self._file.new_table(relation, schema, properties, self._folder_of(relation))

    def _folder_of(self, relation: str) -> str:
        folder = f"{self.location}/{relation.replace('.', '/')}"
        # A bucket may hold tables of other meshes, or of this one before it was made anew:
        # upkeep removes what nobody refers to from a table's folder, which must be its own.
        return f"{folder}-{uuid.uuid4().hex}" if object_store.is_remote(folder) else folder

    def _stored(self, change: Staged) -> Staged:
        """The change, of the table as it is stored."""
        return replace(change, relation=stored_schema(self.environment, change.relation))


_TABLE_PROPERTIES = {
    "write.parquet.compression-codec": "zstd",
    # Bounds the memory of a streamed write: one file's rows are held at a time.
    "write.target-file-size-bytes": str(128 * 1024 * 1024),
    # A zombie writer must fail: a retry inside pyiceberg would land its batch twice.
    "commit.retry.num-retries": "0",
}
