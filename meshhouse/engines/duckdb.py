"""Target `local`: domains build in DuckDB, products are Iceberg tables in the lake."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshhouse.engines import Candidate
from meshhouse.errors import MeshError, UsageError
from meshhouse.lake import Lake, Staged
from meshhouse.lake.scan import (
    connect_memory,
    create_views,
    plain_path,
    quote,
    quote_relation,
)
from meshhouse.repository import Domain, Product, Repository
from meshhouse.repository.types import parse_type

if TYPE_CHECKING:
    import duckdb
    from pyiceberg.table import Table

_ROWS_PER_BATCH = 122_880
"""DuckDB's own row group: rows handed over at once on the way to Parquet."""


class DuckDBEngine:
    """Builds in one DuckDB file a domain; publishes to Iceberg."""

    name = "local"

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self.lake = Lake(repository.home)

    def pin(self, domain: Domain) -> dict[str, str]:
        """What the domain may read now.

        Raises:
            UsageError: a raw table of the domain has never been landed.
        """
        return readable(self._repository, domain, self.lake.pointers())

    def stage(self, product: Product) -> Candidate:
        """Copies a built table into Iceberg data files that no reader sees yet.

        Raises:
            MeshError: dbt has not built it.
        """
        from meshhouse.lake.schema import iceberg_schema

        schema = iceberg_schema(
            (column.name, parse_type(column.data_type)) for column in product.columns
        )
        table = self.lake.stage(product.relation, schema)
        base = table.metadata_location or None
        with closing(self._open(product)) as connection:
            columns = ", ".join(quote(column.name) for column in product.columns)
            relation = f"{quote(f'{product.domain}_build')}.{quote(product.build_name)}"
            batches = connection.execute(f"select {columns} from {relation}").to_arrow_reader(
                _ROWS_PER_BATCH
            )
            files = _replace(table, batches)
        return Candidate(
            product=product,
            staged=self.lake.staged(table, base),
            rows=sum(file.record_count for file in files),
            bytes=sum(file.file_size_in_bytes for file in files),
        )

    @contextmanager
    def reader(
        self, states: Mapping[str, str], empty: Mapping[str, str]
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """A DuckDB connection with one view a relation."""
        with closing(connect_memory()) as connection:
            create_views(connection, states)
            for relation, like in empty.items():
                schema = quote(relation.partition(".")[0])
                connection.execute(f"create schema if not exists {schema}")
                connection.execute(
                    f"create view {quote_relation(relation)} as "
                    f"select * from {quote_relation(like)} where false"
                )
            yield connection

    def row_counts(self, domain: Domain) -> dict[str, int]:
        """Rows of each table that stands in the domain's build schema."""
        path = work_file(self._repository.home, domain.name)
        if not path.exists():
            return {}
        with closing(_read_only(path)) as connection:
            names = connection.execute(
                "select table_name from duckdb_tables() where schema_name = ?",
                [domain.build_schema],
            ).fetchall()
            counts = {}
            for (name,) in names:
                relation = f"{quote(domain.build_schema)}.{quote(name)}"
                (counts[name],) = connection.execute(f"select count(*) from {relation}").fetchone()
            return counts

    def withdraw(self, candidates: Sequence[Candidate]) -> None:
        """Removes metadata and data files that only the candidates use."""
        for candidate in candidates:
            table = self.lake.load(candidate.product.relation, candidate.staged.metadata_location)
            snapshot = table.current_snapshot() if table else None
            if table is None or snapshot is None:
                continue
            for manifest in snapshot.manifests(table.io):
                for entry in manifest.fetch_manifest_entry(table.io):
                    if entry.snapshot_id == snapshot.snapshot_id:
                        Path(plain_path(entry.data_file.file_path)).unlink(missing_ok=True)
            self.lake.discard(candidate.staged)

    def restore(self, product: Product, snapshot_id: int) -> Staged:
        """Stages the product as it was at an earlier snapshot, columns included.

        Raises:
            MeshError: that snapshot is no longer kept.
        """
        from pyiceberg.table.update import SetCurrentSchemaUpdate, update_table_metadata

        table = self.lake.load(product.relation)
        snapshot = table.metadata.snapshot_by_id(snapshot_id) if table else None
        if table is None or snapshot is None:
            raise MeshError(
                f"The previous publication of {product.relation} is no longer kept, so it cannot "
                "be shown again. Run the domain again to publish a new one."
            )
        base = table.metadata_location
        if snapshot.schema_id is not None:
            table.metadata = update_table_metadata(
                table.metadata, (SetCurrentSchemaUpdate(schema_id=snapshot.schema_id),)
            )
        table.manage_snapshots().set_current_snapshot(snapshot_id=snapshot_id).commit()
        return self.lake.staged(table, base)

    def _open(self, product: Product) -> duckdb.DuckDBPyConnection:
        path = work_file(self._repository.home, product.domain)
        if not path.exists():
            raise MeshError(
                f"{product.relation} has not been built: run `mesh run {product.domain}`."
            )
        return _read_only(path)


def _read_only(path: Path) -> duckdb.DuckDBPyConnection:
    import duckdb

    connection = duckdb.connect(str(path), read_only=True)
    connection.execute("set TimeZone = 'UTC'")
    return connection


def work_file(home: Path, domain: str) -> Path:
    """The DuckDB file in which dbt builds one domain."""
    return home / "build" / domain / "work.duckdb"


def readable(repository: Repository, domain: Domain, pointers: Mapping[str, str]) -> dict[str, str]:
    """What a domain's models may read now: its raw tables, and products of its upstream.

    Returns:
        relation -> metadata file.

    Raises:
        UsageError: a raw table of the domain has never been landed.
    """
    for raw in domain.raw_tables:
        if raw.relation not in pointers:
            raise UsageError(
                f"{raw.relation} does not exist yet: topic `{raw.topic}` was never landed. "
                f"Run `mesh land {domain.name}` first."
            )
    wanted = {raw.relation for raw in domain.raw_tables} | {
        product.relation for name in domain.upstream for product in repository.domain(name).products
    }
    return {relation: pointers[relation] for relation in sorted(wanted) if relation in pointers}


def _replace(table: Table, batches: Any) -> list[Any]:
    """Writes batches as the table's whole content, in one snapshot; bounded in memory.

    Returns:
        pyiceberg's data files.
    """
    import uuid

    from meshhouse.lake.files import write_files
    from meshhouse.lake.rewrite import exchange_files

    old = [task.file for task in table.scan().plan_files()]
    write_id = uuid.uuid4()
    with table.transaction() as transaction:
        files = write_files(table.io, transaction.table_metadata, batches, write_id)
        exchange_files(transaction, old, files, write_id)
    return files
