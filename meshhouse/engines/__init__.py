"""The targets: where domains are built, audited and published.

Belongs here: choosing the engine of `MESH_TARGET`, and what can be had from one by name. Not here:
what every engine can do (protocol.py), or anything that is the same on all targets.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from meshhouse.engines.protocol import Candidate, Engine
from meshhouse.errors import UsageError

if TYPE_CHECKING:
    from meshhouse.lake import Lake
    from meshhouse.landing import Lander
    from meshhouse.repository import Repository

LANDERS = ("python", "spark")
"""What can land: this process, or a Spark that it starts or connects to."""


def dbt_variables(domain: str) -> dict[str, str]:
    """What dbt is told in its environment, for the target in use and one domain."""
    if os.environ.get("MESH_TARGET") == "snowflake":
        from meshhouse.engines.snowflake.session import private_key_file, warehouse_of

        return {
            "SNOWFLAKE_WAREHOUSE": warehouse_of(domain),
            "SNOWFLAKE_PRIVATE_KEY_FILE": str(private_key_file()),
        }
    return {}


def host_programs() -> dict[str, str]:
    """What the target in use needs beside Python packages -> where it was found."""
    if os.environ.get("MESH_TARGET") == "spark":
        from meshhouse.java import find_java

        return {"java": str(find_java())}
    return {}


def engine(repository: Repository, target: str | None = None) -> Engine:
    """The engine of a target; by default of the one in use, `MESH_TARGET`.

    Raises:
        UsageError: there is no such target.
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


def lake_of(engine: Engine) -> Lake:
    """The lake of a target whose tables are Iceberg's.

    Raises:
        UsageError: the target keeps its own tables.
    """
    if engine.lake is None:
        raise UsageError(
            f"This is about tables of the lake; target `{engine.name}` keeps its own tables, and "
            "maintains them itself. Set MESH_TARGET to local or spark."
        )
    return engine.lake


def lander(name: str, repository: Repository, engine: Engine) -> Lander | None:
    """One of `LANDERS`; None for this process, which lands by default.

    Raises:
        UsageError: that lander cannot land into this target.
    """
    if name == "python":
        return None
    from meshhouse.engines.spark.landing import SparkLander

    if engine.lake is None:
        raise UsageError("Spark lands into the lake: leave out `--engine spark` on this target.")
    return SparkLander(repository, engine.lake)


__all__ = [
    "LANDERS",
    "Candidate",
    "Engine",
    "dbt_variables",
    "engine",
    "host_programs",
    "lake_of",
    "lander",
]
