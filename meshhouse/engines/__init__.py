"""The targets: where domains are built, audited and published.

Belongs here: the factory that turns the name in `MESH_TARGET` into an engine, and capabilities that
are chosen by that name. Not here: what every engine can do (protocol.py), or anything that is the
same on all targets.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from meshhouse.engines.protocol import Candidate, Engine
from meshhouse.errors import UsageError
from meshhouse.processes import cores, free_mib, jobs_by_default

if TYPE_CHECKING:
    from pathlib import Path

    from meshhouse.engines.histories import Imported
    from meshhouse.lake import Lake
    from meshhouse.landing import Lander
    from meshhouse.repository import Repository

_MIB_OF_LIBRARIES = 450
"""Memory of a process that has loaded dbt, Dagster and Soda."""
_LEAST_MIB = 200
"""What DuckDB needs to get along; it writes to the disk what does not fit."""
_MIB_OF_A_JOB = 1_000

LANDERS = ("python", "spark")
"""Programs that can land: this Python process, or a Spark that it starts or connects to."""

HISTORIES = ("snowflake", "spark")
"""What keeps a history of queries that `import_history` reads."""


def dbt_variables(domain: str) -> dict[str, str]:
    """Environment variables that dbt needs on the current target to build one domain."""
    if os.environ.get("MESH_TARGET") == "snowflake":
        from meshhouse.engines.snowflake.session import private_key_file, warehouse_of

        return {
            "SNOWFLAKE_WAREHOUSE": warehouse_of(domain),
            "SNOWFLAKE_PRIVATE_KEY_FILE": str(private_key_file()),
        }
    return {}


def jobs_at_once() -> int:
    """How many domains a run builds at once, if nobody says: by cores and memory."""
    return 1 if os.environ.get("MESH_TARGET") == "spark" else jobs_by_default(_MIB_OF_A_JOB)


def check_jobs(jobs: int) -> None:
    """Refuses a number of domains at once that the current target cannot build.

    Raises:
        UsageError: it builds one domain at a time.
    """
    if jobs > 1 and os.environ.get("MESH_TARGET") == "spark":
        raise UsageError(
            f"--jobs {jobs}: the target spark builds one domain at a time, because all domains "
            "share one session. Leave out --jobs."
        )


def variables_of_jobs(jobs: int) -> dict[str, str]:
    """Environment variables that divide this machine among processes that build at once."""
    if (os.environ.get("MESH_TARGET") or "local") != "local":
        return {}
    memory = max(_LEAST_MIB, free_mib() // jobs - _MIB_OF_LIBRARIES)
    return {"MESH_JOB_MIB": str(memory), "MESH_JOB_THREADS": str(max(1, cores() // jobs))}


def host_programs() -> dict[str, str]:
    """Programs that the current target needs besides Python packages -> their paths.

    Raises:
        UsageError: a program is missing, or not in the right version.
    """
    if os.environ.get("MESH_TARGET") == "spark":
        from meshhouse.engines.spark.session import sparks_java  # for this target alone

        return {"java": str(sparks_java())}
    return {}


def engine(repository: Repository, target: str | None = None) -> Engine:
    """Returns the engine of a target; by default of the current one, `MESH_TARGET`.

    Raises:
        UsageError: the target does not exist.
    """
    target = target or os.environ.get("MESH_TARGET", "local")
    if target == "local":
        from meshhouse.engines.duckdb.engine import DuckDBEngine

        return DuckDBEngine(repository)
    if target == "spark":
        from meshhouse.engines.spark.engine import SparkEngine

        return SparkEngine(repository)
    if target == "snowflake":
        from meshhouse.engines.snowflake.engine import SnowflakeEngine

        return SnowflakeEngine(repository)
    raise UsageError(
        f"There is no target `{target}`. Targets: local, snowflake, spark. Set MESH_TARGET."
    )


def import_history(name: str, repository: Repository, folder: Path | None) -> Imported:
    """Adds the reads that the history of one of `HISTORIES` has, each query once.

    Args:
        name: which one.
        repository: whose products are read.
        folder: where its files are, if it is files.

    Raises:
        UsageError: the history cannot be found, or an environment is in use.
        MeshError: it cannot be read.
    """
    if repository.environment:
        raise UsageError(
            f"A history has the reads of production, and {repository.environment} is an "
            "environment. Unset MESH_ENV."
        )
    from meshhouse.engines.histories import Known
    from meshhouse.usage.store import store_of

    products = (each for domain in repository.readings for each in domain.products)
    store, known = store_of(repository), Known.of(products, repository.domain_names)
    if name == "spark":
        from meshhouse.engines.spark.event_log import import_logs

        return import_logs(store, folder, known)
    if folder is not None:
        raise UsageError(f"The history of {name} is a query, so it has no folder.")
    from meshhouse.engines.snowflake import history

    done = history.import_history(store, known)
    if engine(repository).answers_queries:  # then every read is in this history
        store.note_since(datetime.now(UTC) - history.FIRST)
    return done


def lake_of(engine: Engine) -> Lake:
    """Returns the lake of a target that keeps its tables as Iceberg tables.

    Raises:
        UsageError: the target has its own table format and no lake.
    """
    if engine.lake is None:
        raise UsageError(
            f"This command works on tables of the lake. Target `{engine.name}` keeps its own "
            "tables and maintains them itself. Set MESH_TARGET to local or spark."
        )
    return engine.lake


def lander(name: str, repository: Repository, engine: Engine) -> Lander | None:
    """Returns one of `LANDERS`; None for this process, which lands by default.

    Raises:
        UsageError: the lander cannot land into this target.
    """
    if name == "python":
        return None
    from meshhouse.engines.spark.landing import SparkLander

    if engine.lake is None:
        raise UsageError(
            "Spark lands into the lake, and this target has no lake. Leave out `--engine spark`."
        )
    return SparkLander.of(repository, engine.lake)


__all__ = [
    "HISTORIES",
    "LANDERS",
    "Candidate",
    "Engine",
    "dbt_variables",
    "engine",
    "host_programs",
    "import_history",
    "jobs_at_once",
    "lake_of",
    "lander",
    "variables_of_jobs",
]
