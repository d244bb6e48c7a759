"""Target `spark`: domains build Iceberg tables in Spark, publication copies nothing.

Belongs here: the catalogs that Spark sees, and registering its tables in the lake. Not here: the
session (session.py), dbt's settings (dbt.py), or anything that is the same on all targets.

Spark never sees the mesh's catalog. Each domain has its own catalog for runs, a SQLite file with
the tables that it builds and the tables that it may read, each pinned at one state. So no domain
waits for another's lock or sees another's half-built tables. Only the driver reads catalogs;
workers open data files by their full names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from meshhouse.engines.builds import audit_lake, work_folder, work_lake
from meshhouse.engines.dbt_snapshots import refuse_snapshots
from meshhouse.engines.iceberg import IcebergEngine
from meshhouse.engines.protocol import NOTHING, Candidate, PlainNames, Reader
from meshhouse.engines.spark.access import check_place, explained, session_of, session_settings
from meshhouse.engines.types import iceberg_types, require_contract_types
from meshhouse.errors import MeshError
from meshhouse.lake.states import write_metadata
from meshhouse.ledger import Staged
from meshhouse.repository import Domain, Product

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class SparkEngine(IcebergEngine):
    """Builds Iceberg tables in Spark; publishes the same files without a copy."""

    name = "spark"
    compute = "spark"
    builds_apart = True

    def prepare_dbt(self, domain: Domain) -> None:
        """See `meshhouse.engines.spark.dbt.prepare`."""
        from meshhouse.engines.spark.dbt import prepare

        prepare(self._repository, domain)

    def build_folder(self, domain: str) -> Path:
        """The folder of the domain's catalog and tables."""
        return work_folder(self._repository.workspace, domain)

    def pin(
        self,
        domain: Domain,
        as_read: Mapping[str, int | None] = NOTHING,
        files: Path | None = None,
    ) -> dict[str, str]:
        """See `IcebergEngine.pin`.

        Raises:
            UsageError: also if other machines could not read the builds.
        """
        check_place(self.lake)
        return super().pin(domain, as_read, files)

    def stage(self, product: Product) -> Candidate:
        """Stages the built table's newest snapshot; no row is copied.

        Raises:
            MeshError: dbt has not built the table, or its columns differ from the contract.
        """
        from meshhouse.lake.texts import Texts
        from meshhouse.lake.zero_copy import register_snapshot

        built = work_lake(self._repository.workspace, product.domain)
        schema = self._repository.build_schema(product.domain)
        table = built.load(f"{schema}.{product.build_name}")
        snapshot = table.current_snapshot() if table is not None else None
        if table is None or snapshot is None:
            raise MeshError(
                f"{product.relation} was not built as a table. Give its model "
                f"`materialized: table`, then run `mesh run {product.domain}`."
            )
        require_contract_types(product, iceberg_types(table.schema()))
        summary = snapshot.summary
        return Candidate(
            product=product,
            staged=register_snapshot(self.lake, product.relation, table, Texts.of(product)),
            rows=int(summary["total-records"] or 0) if summary else 0,
            bytes=int(summary["total-files-size"] or 0) if summary else 0,
        )

    @contextmanager
    def reader(
        self, domain: Domain, states: Mapping[str, str], empty: Mapping[str, str]
    ) -> Iterator[Reader]:
        """Opens a Spark session on a catalog that contains exactly these states."""
        audited = audit_lake(self._repository.workspace, domain.name)
        audited.register_external({}, own="")
        shown = dict(states)
        for relation, like in empty.items():
            model = self.lake.load(like, states[like])
            if model is not None:
                shown[relation] = write_metadata(audited.stage(relation, model.schema()))
        audited.register_external(shown, own="")
        with explained():
            # A new session: the default catalog is shared by all users of the same session.
            spark = session_of(self._repository.home).newSession()
            for name, value in session_settings(audited).items():
                spark.conf.set(name, value)
        yield SparkReader(spark)

    def restore_snapshots(self, domain: Domain, names: Sequence[str]) -> None:
        """See `refuse_snapshots`."""
        refuse_snapshots(domain, names)

    def stage_snapshots(self, domain: Domain, names: Sequence[str]) -> list[Staged]:
        """Returns an empty list: this target refuses snapshots."""
        return []

    def withdraw(self, candidates: Sequence[Candidate]) -> None:
        """Removes the staged metadata; dbt's tables stay for the next build."""
        for candidate in self.not_shown(candidates):
            self.lake.discard(candidate.staged)


class SparkReader(PlainNames):
    """Reads through Spark, for the audit."""

    engine = "spark"
    type_names: ClassVar[Mapping[str, str]] = {
        "timestamptz": "timestamp",
        "timestamp": "timestamp_ntz",
    }

    def __init__(self, spark: SparkSession) -> None:
        self._spark = spark

    def data_source(self, name: str) -> Any:
        """See `Reader`."""
        from soda_sparkdf.common.data_sources.sparkdf_data_source import (
            SparkDataFrameDataSourceImpl,
        )

        return SparkDataFrameDataSourceImpl.from_existing_session(self._spark, name=name)

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """See `Reader`."""
        with explained():
            return [row.asDict() for row in self._spark.sql(sql).collect()]

    def quote(self, identifier: str) -> str:
        """See `Reader`."""
        return "`" + identifier.replace("`", "``") + "`"

    def checksum(self, columns: Sequence[str]) -> tuple[str, str]:
        """See `Reader`."""
        return "xxhash64", f"cast(xxhash64({', '.join(columns) or '0'}) as decimal(20, 0))"
