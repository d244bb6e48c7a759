"""Target `local`: domains build in DuckDB, products are Iceberg tables in the lake.

Belongs here: staging, auditing and withdrawing builds of a DuckDB file. Not here: dbt's connection
to that file (plugin.py), the history of dbt snapshots (snapshots.py), or anything that Spark does
in the same way (engines/iceberg.py).
"""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from meshhouse import settings
from meshhouse.engines.duckdb import snapshots as duckdb_snapshots
from meshhouse.engines.iceberg import IcebergEngine
from meshhouse.engines.protocol import Build, Candidate, PlainNames, Reader
from meshhouse.engines.types import contract_types, duckdb_type, require_contract_types
from meshhouse.errors import MeshError, UsageError
from meshhouse.lake.object_store import explained
from meshhouse.lake.storage import delete, exists
from meshhouse.lake.views import Size, connect_memory, create_views
from meshhouse.ledger import Staged
from meshhouse.repository import Domain, Product, Repository
from meshhouse.repository.types import DataType
from meshhouse.sql import literal, quote, quote_relation

if TYPE_CHECKING:
    import duckdb
    from pyiceberg.table import Table

    from meshhouse.lake.texts import Texts

_COPIED = Size(rows=100_000, bytes=2**20)
"""Relations up to this size are read once for an audit. A dozen queries read each candidate, and
every scan of an Iceberg table opens its metadata again: 2.6 ms of CPU instead of 0.2 ms."""
_ROWS_PER_BATCH = 122_880
"""Size of DuckDB's row groups: so many rows are passed to the Parquet writer at once."""


class DuckDBEngine(IcebergEngine):
    """Builds each domain in one DuckDB file; publishes to Iceberg."""

    name = "local"
    compute = "duckdb"

    def __init__(self, repository: Repository) -> None:
        """See `IcebergEngine`.

        Raises:
            UsageError: MESH_MEMORY_LIMIT does not hold a size.
        """
        super().__init__(repository)
        limit = settings.value("MESH_MEMORY_LIMIT")
        if not re.fullmatch(r"\s*\d+(\.\d+)?\s*[KMGT]i?B\s*", limit, re.IGNORECASE):
            raise UsageError(f"MESH_MEMORY_LIMIT is `{limit}`. Write a size, such as 1500MiB.")

    def build_folder(self, domain: str) -> Path:
        """The folder of the domain's DuckDB file."""
        return work_file(self._repository.workspace, domain).parent

    @contextmanager
    def staging(self, domain: Domain) -> Iterator[None]:
        """Keeps the domain's DuckDB file open: opening it takes 10 ms for each product.

        DuckDB gives a second connection of this process to the same file what the first one holds.
        """
        path = work_file(self._repository.workspace, domain.name)
        with closing(_read_only(path)) if path.exists() else nullcontext():
            yield

    @explained()
    def stage(self, product: Product) -> Candidate:
        """Copies a built table into Iceberg data files that are not visible to readers yet.

        Raises:
            MeshError: dbt has not built the table, or the columns differ from the contract.
        """
        from meshhouse.lake.texts import Texts

        columns = list(contract_types(product).items())
        with closing(self._open(product)) as connection:
            schema = self._repository.build_schema(product.domain)
            built = f"{quote(schema)}.{quote(product.build_name)}"
            described = connection.execute(f"describe {built}").fetchall()
            require_contract_types(
                product, {name: duckdb_type(data_type) for name, data_type, *_ in described}
            )
            staged, files = self._stage(
                product.domain, product.relation, columns, connection, built, Texts.of(product)
            )
        return Candidate(
            product=product,
            staged=staged,
            rows=sum(file.record_count for file in files),
            bytes=sum(file.file_size_in_bytes for file in files),
        )

    def _stage(
        self,
        domain: str,
        relation: str,
        columns: Sequence[tuple[str, DataType]],
        connection: duckdb.DuckDBPyConnection,
        built: str,
        texts: Texts | None = None,
    ) -> tuple[Staged, list[Any]]:
        """Stages a built table as a relation's whole content; also returns its data files."""
        from meshhouse.lake.schema import EMPTY, iceberg_schema

        schema = iceberg_schema(columns, texts.docs if texts else EMPTY)
        table = self.lake.stage(relation, schema, writer=domain)
        base = table.metadata_location or None
        names = ", ".join(quote(name) for name, _ in columns)
        rows = connection.execute(f"select {names} from {built}")
        files = _replace(table, rows.to_arrow_reader(_ROWS_PER_BATCH), texts)
        return self.lake.staged(table, base), files

    @explained()
    def restore_snapshots(self, domain: Domain, names: Sequence[str]) -> None:
        """See `duckdb_snapshots.restore`."""
        if names:
            file = work_file(self._repository.workspace, domain.name)
            schema = self._repository.build_schema(domain.name)
            duckdb_snapshots.restore(self.lake, domain, names, file, schema)

    @explained()
    def stage_snapshots(self, domain: Domain, names: Sequence[str]) -> list[Staged]:
        """Stages the whole history of each snapshot.

        The result is published at once and never withdrawn. Maintenance removes the files that a
        refused commit or a killed run leaves behind.

        Raises:
            MeshError: the lake cannot store a column of a snapshot.
        """
        if not names:
            return []
        schema = self._repository.build_schema(domain.name)
        staged = []
        with closing(_read_only(work_file(self._repository.workspace, domain.name))) as connection:
            for name in names:
                columns = list(duckdb_snapshots.columns_of(connection, schema, name))
                built = f"{quote(schema)}.{quote(name)}"
                relation = duckdb_snapshots.history_of(domain, name)
                change, _ = self._stage(domain.name, relation, columns, connection, built)
                staged.append(change)
        return staged

    @contextmanager
    def reader(
        self, domain: Domain, states: Mapping[str, str], empty: Mapping[str, str]
    ) -> Iterator[Reader]:
        """Opens a DuckDB connection with one view per relation."""
        with closing(connect_memory()) as connection:
            create_views(connection, states, copied=_COPIED)
            for relation, like in empty.items():
                schema = quote(relation.partition(".")[0])
                connection.execute(f"create schema if not exists {schema}")
                connection.execute(
                    f"create view {quote_relation(relation)} as "
                    f"select * from {quote_relation(like)} where false"
                )
            yield DuckDBReader(connection)

    def attach_build(self, product: Product, connection: duckdb.DuckDBPyConnection) -> Build | str:
        """Attaches the domain's DuckDB file, read-only."""
        import duckdb

        path = work_file(self._repository.workspace, product.domain)
        schema = self._repository.build_schema(product.domain)
        if not path.exists():
            return f"{product.relation} has no build here: run `mesh run {product.domain}`."
        try:
            connection.execute(f"attach {literal(str(path))} as built (read_only)")
        except duckdb.IOException as error:
            raise MeshError(
                f"The builds of {product.domain} cannot be read while a run or dbt uses them. "
                "Run the same command again later."
            ) from error
        found = connection.execute(
            "select 1 from duckdb_tables() where database_name = 'built' and schema_name = ? "
            "and table_name = ?",
            [schema, product.build_name],
        ).fetchone()
        if found is None:
            return f"{product.relation} has no build here: run `mesh run {product.domain}`."
        return Build(
            relation=f"{quote('built')}.{quote(schema)}.{quote(product.build_name)}",
            place=f"table {schema}.{product.build_name} of {path.name}",
            written_at=datetime.fromtimestamp(path.stat().st_mtime, UTC),
        )

    def withdraw(self, candidates: Sequence[Candidate]) -> None:
        """Removes the metadata and data files that only these candidates use."""
        for candidate in self.not_shown(candidates):
            location = candidate.staged.state
            if not exists(location):
                continue  # removed by a refused commit; maintenance removes the data files
            table = self.lake.load(candidate.product.relation, location)
            snapshot = table.current_snapshot() if table else None
            if table is None or snapshot is None:
                continue
            for manifest in snapshot.manifests(table.io):
                for entry in manifest.fetch_manifest_entry(table.io):
                    if entry.snapshot_id == snapshot.snapshot_id:
                        delete(entry.data_file.file_path)
            self.lake.discard(candidate.staged)

    def _open(self, product: Product) -> duckdb.DuckDBPyConnection:
        path = work_file(self._repository.workspace, product.domain)
        if not path.exists():
            raise MeshError(
                f"{product.relation} has not been built: run `mesh run {product.domain}`."
            )
        return _read_only(path)


class DuckDBReader(PlainNames):
    """Reads through a DuckDB connection, for the audit."""

    engine = "duckdb"
    type_names: ClassVar[Mapping[str, str]] = {
        "string": "varchar",
        "timestamptz": "timestamp with time zone",
    }

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def data_source(self, name: str) -> Any:
        """See `Reader`."""
        from soda_duckdb.common.data_sources.duckdb_data_source import DuckDBDataSourceImpl

        return DuckDBDataSourceImpl.from_existing_cursor(self._connection, name=name)

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """See `Reader`."""
        cursor = self._connection.execute(sql)
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def quote(self, identifier: str) -> str:
        """See `Reader`."""
        return quote(identifier)

    def checksum(self, columns: Sequence[str]) -> tuple[str, str]:
        """See `Reader`; DuckDB does not promise that `hash` stays the same in later versions.

        An MD5 of the row's text would, and took seven times as long over 1.5 million rows.
        """
        import duckdb

        return f"hash of {duckdb.__version__}", f"hash({', '.join(columns) or '0'})"


def _read_only(path: Path) -> duckdb.DuckDBPyConnection:
    import duckdb

    try:
        connection = duckdb.connect(str(path), read_only=True)
    except duckdb.ConnectionException:
        # dbt leaves its connection to the garbage collector where the frames of an error hold it.
        gc.collect()
        connection = duckdb.connect(str(path), read_only=True)
    connection.execute("set TimeZone = 'UTC'")
    return connection


def work_file(workspace: Path, domain: str) -> Path:
    """The DuckDB file in which dbt builds one domain."""
    return workspace / "build" / domain / "work.duckdb"


def _replace(table: Table, batches: Any, texts: Texts | None) -> list[Any]:
    """Replaces the table's whole content by batches, in one snapshot and bounded memory.

    Returns:
        The new data files, as pyiceberg's objects.
    """
    import uuid

    from meshhouse.lake.files import write_files
    from meshhouse.lake.rewrite import exchange_files

    old = [task.file for task in table.scan().plan_files()]
    write_id = uuid.uuid4()
    with table.transaction() as transaction:
        files = write_files(table.io, transaction.table_metadata, batches, write_id)
        exchange_files(transaction, old, files, write_id)
        if texts is not None:
            now = transaction.table_metadata
            without_null = texts.columns_without_null(now.schema(), files)
            wanted = texts.properties(now.properties, without_null)
            transaction.set_properties(wanted)
            transaction.remove_properties(*(now.properties.keys() - wanted.keys()))
    return files
