"""Target `spark`: domains build Iceberg tables in Spark, publication copies nothing.

Belongs here: the catalogs that Spark sees, and handing what it built to the lake. Does
not: the session (spark/session.py), or anything that is the same on all targets.

Spark never sees the mesh's catalog. For each run a domain has one of its own, a SQLite
file with the tables it builds and, pinned at one state, those that it may read. So no
domain waits for another's lock or sees its half-built tables, whatever the cluster. Only
the driver reads catalogs; workers open data files by their full names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from meshhouse.engines import Candidate, Reader
from meshhouse.engines.iceberg import IcebergEngine, pinned, readable
from meshhouse.errors import MeshError, UsageError
from meshhouse.java import last_line
from meshhouse.lake import Lake
from meshhouse.lake.catalog import write_metadata
from meshhouse.lake.object_store import WAREHOUSE, warehouse
from meshhouse.lake.storage import read_bytes
from meshhouse.repository import Domain, Product, Repository
from meshhouse.spark import catalog_settings, session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class SparkEngine(IcebergEngine):
    """Builds Iceberg tables in Spark; publishes the very files that it built."""

    name = "spark"

    def build_folder(self, domain: str) -> Path:
        """Where the domain's catalog and tables are."""
        return _folder(self._repository.home, domain)

    def pin(self, domain: Domain) -> dict[str, str]:
        """What the domain may read now.

        Raises:
            UsageError: a raw table of the domain has never been landed, or there is a catalog
                service and no object store.
        """
        _check_place(self.lake)
        return super().pin(domain)

    def stage(self, product: Product) -> Candidate:
        """Stages the built table's newest snapshot; no row is copied.

        Raises:
            MeshError: dbt has not built it.
        """
        from meshhouse.lake.adopt import adopt

        built = _work(self._repository, product.domain)
        table = built.load(f"{product.domain}_build.{product.build_name}")
        snapshot = table.current_snapshot() if table is not None else None
        if table is None or snapshot is None:
            raise MeshError(
                f"{product.relation} was not built as a table: give its model "
                f"`materialized: table` and run `mesh run {product.domain}`."
            )
        summary = snapshot.summary
        return Candidate(
            product=product,
            staged=adopt(self.lake, product.relation, table),
            rows=int(summary["total-records"] or 0) if summary else 0,
            bytes=int(summary["total-files-size"] or 0) if summary else 0,
        )

    @contextmanager
    def reader(
        self, domain: Domain, states: Mapping[str, str], empty: Mapping[str, str]
    ) -> Iterator[Reader]:
        """Reads through Spark in a catalog that shows just these states."""
        folder = self._repository.home / "build" / domain.name / "spark-audit"
        audited = Lake(
            folder,
            _name(self._repository, f"{domain.name}_audit"),
            location=f"file://{folder / 'lake'}",  # it makes none but empty ones
        )
        audited.lend({}, own="")
        shown = dict(states)
        for relation, like in empty.items():
            model = self.lake.load(like, states[like])
            if model is not None:
                shown[relation] = write_metadata(audited.stage(relation, model.schema()))
        audited.lend(shown, own="")
        with _explained():
            # Of its own: what a session takes for its catalog is one for all that share it.
            spark = _session(self._repository.home).newSession()
            _show(audited, spark)
        yield SparkReader(spark)

    def row_counts(self, domain: Domain) -> dict[str, int]:
        """Rows of each table that stands in the domain's build schema."""
        built = _work(self._repository, domain.name)
        counts = {}
        for relation, location in built.pointers().items():
            schema, _, name = relation.partition(".")
            if schema == domain.build_schema:
                metadata = json.loads(read_bytes(location))
                current = metadata.get("current-snapshot-id")
                for snapshot in metadata.get("snapshots", []):
                    if snapshot["snapshot-id"] == current:
                        counts[name] = int(snapshot["summary"].get("total-records", 0))
        return counts

    def withdraw(self, candidates: Sequence[Candidate]) -> None:
        """Removes what was staged; the tables that dbt built stay, for the next build."""
        for candidate in self.not_shown(candidates):
            self.lake.discard(candidate.staged)


class SparkReader:
    """Reads for the audit through Spark."""

    type_names: ClassVar[Mapping[str, str]] = {"timestamptz": "timestamp"}

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
        with _explained():
            return [row.asDict() for row in self._spark.sql(sql).collect()]

    def quote(self, identifier: str) -> str:
        """See `Reader`."""
        return "`" + identifier.replace("`", "``") + "`"


def prepare(repository: Repository, domain: Domain) -> None:
    """Lets Spark see what a domain may read, as of now or as pinned, and build beside it.

    What dbt builds by itself, outside a run, is kept apart: a run that is at work would
    read and publish it otherwise.

    Raises:
        UsageError: a raw table of the domain has never been landed, or Spark cannot run.
    """
    pins = pinned()
    if pins is not None:
        work = _work(repository, domain.name)
    else:
        lake = Lake(repository.home)
        _check_place(lake)
        pins = readable(repository, domain, lake.pointers())
        folder = repository.home / "build" / domain.name / "spark"
        work = Lake(
            folder, _name(repository, f"{domain.name}_dbt"), _in_store("tries", domain.name)
        )
    work.lend(pins, own=domain.build_schema)
    with _explained():
        _show(work, _session(repository.home))


def _check_place(lake: Lake) -> None:
    """Refuses to show everybody, by a service, tables that only this machine can read."""
    if lake.is_served and warehouse() is None:
        raise UsageError(
            "Target `spark` with a catalog service builds tables in an object store: set "
            f"{WAREHOUSE}=s3://bucket/folder."
        )


def _session(home: Path) -> SparkSession:
    return session(log=home / "logs" / "spark.log")


def _show(lake: Lake, spark: SparkSession) -> None:
    """Makes a lake's catalog the one in which Spark looks for `schema.table`."""
    # Spark reads a catalog's settings when it is first used; a name stands for one file.
    for name, value in catalog_settings(lake.name, lake.catalog_path, lake.location).items():
        spark.conf.set(name, value)
    spark.conf.set("spark.sql.defaultCatalog", lake.name)


@contextmanager
def _explained() -> Iterator[None]:
    """Turns what Spark raises inside the block into one line."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (Py4JError, PySparkException, ConnectionError) as error:
        raise MeshError(
            f"Spark failed: {last_line(str(error).partition('JVM stacktrace')[0])}. Nothing was "
            "published. What it said is in `.mesh/logs/spark.log`; run the same command again."
        ) from error


def _work(repository: Repository, domain: str) -> Lake:
    name = _name(repository, f"{domain}_work")
    return Lake(_folder(repository.home, domain), name, _in_store("builds", domain))


def _in_store(purpose: str, domain: str) -> str | None:
    """The folder of what Spark builds, if the warehouse is an object store."""
    folder = warehouse()
    # With a hyphen, which no schema's folder has: upkeep looks into those.
    return f"{folder}/spark-{purpose}/{domain}" if folder else None


def _folder(home: Path, domain: str) -> Path:
    # Not where builds are on other targets: publications name these tables' files.
    return home / "spark" / domain


def _name(repository: Repository, purpose: str) -> str:
    """A catalog's name in Spark, of which one process may hold several meshes' in its life."""
    digest = hashlib.sha256(str(repository.home).encode()).hexdigest()[:8]
    return f"{purpose}_{digest}"
