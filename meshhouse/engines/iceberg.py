"""The common part of engines whose products are Iceberg tables in the lake.

Belongs here: the list of tables that a domain may read, and going back to an earlier publication.
Not here: building and reading, in which these engines differ (duckdb/, spark/).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from meshhouse.engines.builds import folders_in_store
from meshhouse.engines.protocol import NOTHING, Build, Candidate
from meshhouse.errors import MeshError, UsageError
from meshhouse.files import replace
from meshhouse.lake import Lake, snapshot_id, storage, table_properties
from meshhouse.lake.damage import Damaged
from meshhouse.lake.ledger import LakeLedger
from meshhouse.lake.object_store import is_remote
from meshhouse.lake.time_travel import as_of
from meshhouse.ledger import Ledger, Staged
from meshhouse.repository import Domain, Product, Repository
from meshhouse.repository.environment import split_schema, workspace

if TYPE_CHECKING:
    import duckdb
    from pyiceberg.table import Table

    from meshhouse.landing import LakeStore

PINS_VARIABLE = "MESH_PINS"
"""Names a JSON file {relation: metadata file} if the run has already pinned its inputs."""


def pinned() -> dict[str, str] | None:
    """The pins of the run that started dbt; None if a person started dbt."""
    file = os.environ.get(PINS_VARIABLE)
    return json.loads(Path(file).read_text()) if file else None


class IcebergEngine:
    """Products are tables of the mesh's own lake."""

    table_format = "iceberg"
    answers_queries = False
    builds_apart = False

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self.lake = Lake(repository.home)

    @property
    def store(self) -> LakeStore:
        """Where raw tables are landed: the lake."""
        from meshhouse.landing import LakeStore  # 0.5 s, which `mesh status` does without

        return LakeStore(self.lake)

    @property
    def ledger(self) -> Ledger:
        """The ledger, in the lake."""
        return LakeLedger(self.lake)

    def ledger_of(self, environment: str) -> Ledger:
        """The ledger of another environment."""
        return LakeLedger(self.lake.in_environment(environment))

    def staging(self, domain: Domain) -> AbstractContextManager[None]:
        """See `Engine.staging`; nothing to open."""
        return nullcontext()

    def states(self) -> dict[str, str]:
        """`schema.table` -> metadata location, of the environment's own tables."""
        return self.lake.states()

    def visible(self) -> dict[str, str]:
        """Like `states`, plus production's tables that the environment does not have."""
        return self.lake.visible()

    def schemas_of(self, products: Sequence[Product]) -> list[str]:
        """The products' own schemas: dbt sees these names in every environment."""
        return [product.domain for product in products]

    def state_id(self, state: str) -> int | None:
        """The current snapshot of a metadata file."""
        return snapshot_id(state)

    def properties(self, relation: str, state: str) -> dict[str, str]:
        """The table properties in which landing recorded its progress, from a metadata file."""
        return table_properties(state)

    def prepare_dbt(self, domain: Domain) -> None:
        """Nothing to do."""

    def query(self, sql: str) -> None:
        """Returns None: DuckDB reads the lake."""

    def finish_publications(self, domain: Domain) -> None:
        """Nothing to do: a publication is one transaction."""

    def pin(
        self,
        domain: Domain,
        as_read: Mapping[str, int | None] = NOTHING,
        files: Path | None = None,
    ) -> dict[str, str]:
        """Pins the tables that the domain may read; production's at the snapshots of `as_read`.

        Raises:
            UsageError: a raw table of the domain has never been landed.
        """
        pins = readable(self._repository, domain, self.lake.visible())
        own = self.lake.states()
        for relation, snapshot in as_read.items():
            if relation in pins and relation not in own and snapshot is not None:
                folder = files or self.build_folder(domain.name) / "pins"
                pins[relation] = as_of(pins[relation], snapshot, folder)
        return pins

    def build_folder(self, domain: str) -> Path:
        """The folder for facts about a domain's builds; each engine has its own."""
        raise NotImplementedError

    def not_shown(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The candidates that no reader can see; a stopped run may already have published some."""
        return [each for each in candidates if not self.lake.shows(each.staged)]

    def restore(self, product: Product, snapshot_id: int) -> Staged:
        """Stages the product as it was at an earlier snapshot, columns included.

        Comment and owner stay those of the newest publication.

        Raises:
            MeshError: the snapshot is no longer kept.
        """
        from pyiceberg.table.update import SetCurrentSchemaUpdate, update_table_metadata

        from meshhouse.lake.texts import Texts, data_files
        from meshhouse.lake.zero_copy import register_snapshot

        base = self.lake.state(product.relation)
        try:
            table = self.lake.load(product.relation, base)
        except Damaged as damaged:
            table = self._before_damage(product, snapshot_id, damaged)
        snapshot = table.metadata.snapshot_by_id(snapshot_id) if table else None
        if table is not None and snapshot is None:
            earlier = self.lake.recall(product.relation, snapshot_id)
            if earlier is not None:
                texts = Texts.of(product).as_said(table.properties, earlier.schema())
                return register_snapshot(self.lake, product.relation, earlier, texts)
        if table is None or snapshot is None:
            raise MeshError(
                f"The previous publication of {product.relation} is no longer kept, so it cannot "
                "be published again. Run the domain again to publish a new one."
            )
        if snapshot.schema_id is not None:
            table.metadata = update_table_metadata(
                table.metadata, (SetCurrentSchemaUpdate(schema_id=snapshot.schema_id),)
            )
        texts = Texts.of(product).as_said(table.properties, table.schema())
        files = data_files(table.io, snapshot.manifests(table.io)) if texts.promised else ()
        without_null = texts.columns_without_null(table.schema(), files)
        properties = texts.properties(table.properties, without_null)
        table.metadata = table.metadata.model_copy(update={"properties": properties})
        table.manage_snapshots().set_current_snapshot(snapshot_id=snapshot_id).commit()
        return self.lake.staged(table, base)

    def alias(self, relation: str, shown: Staged, with_history: bool = False) -> Staged:
        """See `Engine.alias`.

        With a catalog file, both names have the same metadata file. A catalog service gives each
        table its own, so there the alias is a table that lists the same data files.
        """
        from meshhouse.lake.zero_copy import register_snapshot

        if not self.lake.is_served:
            return Staged(relation, self.lake.state(relation), shown.state, shown.snapshot_id)
        table = self.lake.load(shown.relation, shown.state)
        assert table is not None
        return register_snapshot(self.lake, relation, table)

    def _before_damage(self, product: Product, snapshot_id: int, damaged: Damaged) -> Table:
        """The newest earlier state, with that snapshot, of a table whose metadata file is lost."""
        folder = storage.plain_path(damaged.damage.file).rpartition("/")[0]
        found = [each for each in storage.listing(folder) if each.name.endswith(".metadata.json")]
        for file in sorted(found, key=lambda each: each.name, reverse=True):
            with suppress(Damaged):
                table = self.lake.load(product.relation, file.location)
                if table is not None and table.metadata.snapshot_by_id(snapshot_id):
                    return table
        raise damaged

    def attach_build(self, product: Product, connection: duckdb.DuckDBPyConnection) -> Build | str:
        """Says that builds are not kept apart from candidates, which a refused run withdraws."""
        return (
            f"On target `{self.name}` the build of a refused run is not kept, so there is nothing "
            "to compare rows with. Name two publications with --from and --to."
        )

    def environments(self) -> set[str]:
        """Names of the environments that have tables, or files left by a drop that was stopped."""
        schemas = {relation.partition(".")[0] for relation in self.lake.stored()}
        if not self.lake.is_served:
            schemas |= {path.name for path in self._schema_folders()}
        return {split_schema(schema)[0] for schema in schemas} - {""}

    def drop(self, environment: str) -> None:
        """Removes an environment's tables from the catalog in one step, then their files.

        A catalog service removes the files itself, because another branch may refer to them.
        """
        if self.lake.is_served:
            self.lake.forget(environment)
            return
        folders = self._noted_folders(environment)
        self.lake.forget(environment)
        for path in self._schema_folders():
            if split_schema(path.name)[0] == environment:
                shutil.rmtree(path)
        for folder in folders:
            for file in storage.listing(folder):
                storage.delete(file.location)

    def _noted_folders(self, environment: str) -> list[str]:
        """Folders of an environment in an object store, also written to a file on disk.

        Only the catalog knows the folders, and only until it forgets the tables; the file lets a
        drop that was stopped go on. Listing the bucket would not help: another mesh may have an
        environment of the same name there.
        """
        home = workspace(self.lake.home, environment)
        note = home / "folders-to-drop.json"
        folders = set(json.loads(note.read_text())) if note.exists() else set()
        lake = self.lake.in_environment(environment)
        for relation in lake.states():
            with suppress(Damaged):  # its metadata file is lost, and with it the table's location
                table = lake.load(relation)
                folders |= {table.location()} if table is not None else set()
        folders = {folder for folder in folders if is_remote(folder)}
        folders |= set(folders_in_store(home))
        if folders:
            home.mkdir(parents=True, exist_ok=True)
            replace(note, json.dumps(sorted(folders)))
        return sorted(folders)

    def _schema_folders(self) -> list[Path]:
        return [path for path in self.lake.warehouse.glob("*") if path.is_dir()]


def readable(
    repository: Repository, domain: Domain, locations: Mapping[str, str]
) -> dict[str, str]:
    """Selects what a domain's models may read: its raw tables and the products it depends on.

    Args:
        repository: all declarations.
        domain: the domain that reads.
        locations: relation -> metadata location, of all visible tables.

    Returns:
        Relation -> metadata location.

    Raises:
        UsageError: a raw table of the domain has never been landed.
    """
    for raw in domain.raw_tables:
        if raw.relation not in locations:
            raise UsageError(
                f"{raw.relation} does not exist yet: topic `{raw.topic}` was never landed. "
                f"Run `mesh land {domain.name}` first."
            )
    wanted = {raw.relation for raw in domain.raw_tables} | {
        relation for product in repository.provided(domain) for relation in product.relations
    }
    return {relation: locations[relation] for relation in sorted(wanted) if relation in locations}
