"""The Iceberg catalog of an environment: the current metadata location of each table.

Belongs here: reading a consistent set of metadata locations, writing a new state of a table that
readers do not see yet (`stage`), and making many states visible at once (`commit`). Not here: how
a catalog stores its rows (jdbc_catalog.py, rest_catalog.py), what is in the tables, or when to
make a state visible (landing/, runs/publication.py).
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
from meshhouse.lake.states import COMPRESSION, unpartitioned, with_properties, with_schema
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
    """Tables in one warehouse folder, and the catalog that lists them."""

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
            name: the catalog's name in its file. Iceberg's JDBC catalog in Java uses the same name.
            location: the folder of new tables; by default MESH_WAREHOUSE, or the catalog's folder.
            environment: the environment whose tables these are, empty for production; by default
                `MESH_ENV`. Catalogs other than the mesh's have no environments.

        Raises:
            UsageError: MESH_WAREHOUSE does not name an object store, or `MESH_ENV` is not a valid
                name of an environment.
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
        """The catalog service, if the mesh uses one; None if its catalog is a file."""
        return service() if self.name == CATALOG_NAME else None

    @property
    def _file(self) -> JdbcCatalog:
        return JdbcCatalog(self.home, self.catalog_path, self.name)

    @property
    def _catalog(self) -> CatalogService | JdbcCatalog:
        return self._service or self._file

    @property
    def is_served(self) -> bool:
        """Whether a catalog service keeps the catalog, so other programs may change tables too."""
        return self.name == CATALOG_NAME and is_configured()

    @property
    def location(self) -> str:
        """The folder of new tables."""
        # Not percent-encoded: readers take everything after `file://` as the path.
        return self._location or f"file://{self.warehouse}"

    def in_environment(self, environment: str) -> Lake:
        """The same lake as another environment sees it; empty for production."""
        return Lake(self.home, self.name, environment=environment)

    @property
    def locks(self) -> Path:
        """The folder of the advisory locks that writers of these tables hold."""
        return workspace(self.home, self.environment) / "locks"

    def states(self) -> dict[str, str]:
        """`schema.table` -> metadata location, for the tables of this environment only.

        Names are those of production. A catalog file is read in one transaction. A catalog service
        reads one table at a time; `CatalogService.states` says what that guarantees.
        """
        stored = self.stored()
        return self._of(self.environment, stored) if self._has_environments else stored

    def visible(self) -> dict[str, str]:
        """Like `states`, and production's table where the environment has no such table.

        The ledger's tables are never production's: each environment has a separate ledger.
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
        """Like `states`, for all environments, with names as the catalog stores them."""
        return self._catalog.states()

    @staticmethod
    def _of(environment: str, stored: Mapping[str, str]) -> dict[str, str]:
        found = {}
        for relation, location in stored.items():
            whose, called = split_schema(relation.partition(".")[0])
            if whose == environment:
                found[f"{called}.{relation.partition('.')[2]}"] = location
        return found

    def everything(self) -> dict[str, str]:
        """Metadata location -> `TABLE` or `VIEW`, of every catalog in this catalog file."""
        return self._file.everything()

    def state(self, relation: str) -> str | None:
        """The current metadata location of a table; None if there is no such table."""
        return self._catalog.state(stored_schema(self.environment, relation))

    def shows(self, change: Staged) -> bool:
        """Whether readers see a staged state, or may see it once an unclear request is done."""
        return self._catalog.shows(self._stored(change))

    @object_store.explained()
    def load(self, relation: str, metadata_location: str | None = None) -> Table | None:
        """The pyiceberg table, current or at a metadata location; None if there is no such table.

        A commit of the returned table only writes a metadata file. Readers see it after `commit`.

        Raises:
            Damaged: its metadata file is missing or unreadable.
        """
        location = metadata_location or self.state(relation)
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
        """A table object whose commits write metadata files that readers do not see.

        A table that does not exist starts empty. A table with other columns than `schema` gets
        the new columns; a column keeps its field id if its type is the same or widened. Pass the
        result to `staged`, and that result to `commit`.

        Args:
            relation: `schema.table`.
            schema: the columns that the table must have.
            properties: for a table that does not exist.
            at: the metadata location to build on, if the caller knows it.
            table: the result of `load` for `at`. Loading takes most of the time of a small commit.
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
            io = storage.file_io(table.metadata.location)  # credentials in `table.io` may be old
            table = staging_table(relation, table.metadata, str(at), io)
        if table is None:
            metadata = self._new_metadata(relation, schema, properties or {})
            io = storage.file_io(metadata.location)
            return staging_table(relation, metadata, "", io)
        self.check_own(table)
        metadata = with_properties(table.metadata, _TABLE_PROPERTIES)
        table.metadata = with_schema(unpartitioned(metadata), schema)
        return table

    def owns(self, location: str) -> bool:
        """Whether a local file is in this lake, after links and `..` are resolved."""
        return ownership.is_inside(location, self._folders)

    @property
    def _folders(self) -> list[Path]:
        # The folder of tables may be a link to a larger disk.
        return [self.home, self.warehouse.resolve()]

    def check_own(self, table: Table) -> None:
        """Refuses a table that has its files outside this lake.

        Raises:
            MeshError: the table's files are outside this lake.
        """
        # A catalog service chooses the folders of tables.
        if self._has_environments and not self.is_served:
            name = ".".join(table.name())
            ownership.check_folders(name, table.location(), table.properties, self._folders)

    def staged(self, table: Table, base: str | None) -> Staged:
        """The change that `commit` needs, from a staged table and the location it builds on."""
        snapshot = table.current_snapshot()
        return Staged(
            relation=".".join(table.name()),
            base=base,
            state=table.metadata_location,
            snapshot_id=snapshot.snapshot_id if snapshot else None,
        )

    def commit(self, changes: Iterable[Staged], keep: Collection[Staged] = ()) -> None:
        """Makes all staged states visible at once, or none of them.

        Raises:
            Conflict: another writer changed a table first. Nothing became visible. The metadata
                files of all changes are deleted, except of those in `keep`, which the caller may
                retry.
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
        """A table at a snapshot that its catalog service no longer lists.

        Nessie lists only the newest snapshot. The staged metadata files still name the earlier
        ones: with a catalog service, only the service deletes files.
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

    def register_external(self, relations: Mapping[str, str], own: str) -> None:
        """Registers external tables at given metadata locations, and removes all other ones.

        Args:
            relations: `schema.table` -> metadata location in another lake.
            own: the schema of this lake's tables, which do not change.
        """
        self._file.register_external(relations, own)

    def forget(self, environment: str) -> None:
        """Removes every table of an environment from the catalog at once; files stay.

        A catalog service removes one table after another.
        """
        self._catalog.forget(
            lambda schema: bool(environment) and split_schema(schema)[0] == environment
        )

    def forget_tables(self, relations: Collection[str]) -> None:
        """Removes some tables of this environment from the catalog; files stay."""
        if relations:
            names = {stored_schema(self.environment, each) for each in relations}
            self._catalog.forget_tables(names)

    def discard(self, change: Staged) -> None:
        """Deletes the metadata file of a state that will not become visible."""
        if change.state == change.base or change.state in self.stored().values():
            return  # readers see this metadata file, maybe under another name
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
        # The folder must be unique: a bucket may hold tables of other meshes, or of this mesh
        # before it was removed, and maintenance deletes unreferenced files in a table's folder.
        # On disk, a table that was renamed keeps the folder of its first name.
        is_taken = any(each.startswith(f"{folder}/") for each in self.stored().values())
        is_unsure = is_taken or object_store.is_remote(folder)
        return f"{folder}-{uuid.uuid4().hex}" if is_unsure else folder

    def names_at(self, location: str) -> list[str]:
        """The tables of this environment that are shown from one metadata file, sorted."""
        return sorted(name for name, shown in self.states().items() if shown == location)

    def _stored(self, change: Staged) -> Staged:
        """The change, with the table's name as the catalog stores it."""
        named = change.renamed_to and stored_schema(self.environment, change.renamed_to)
        relation = stored_schema(self.environment, change.relation)
        return replace(change, relation=relation, renamed_to=named)


_TABLE_PROPERTIES = {
    "write.parquet.compression-codec": "zstd",
    # Bounds the memory of a streamed write, which holds the rows of one file.
    "write.target-file-size-bytes": str(128 * 1024 * 1024),
    # A zombie writer must fail: a retry inside pyiceberg would land its batch twice.
    "commit.retry.num-retries": "0",
    # Each commit writes the metadata again: keep it short.
    COMPRESSION: "gzip",
    "write.metadata.previous-versions-max": "10",
}
