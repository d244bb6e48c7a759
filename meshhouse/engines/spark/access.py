"""Access to Spark for builds, audits and dbt.

Belongs here: the session's log and catalog settings, and one-line messages for Spark's errors, for
the engine and dbt-spark alike. Not here: starting a session (session.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from meshhouse.engines.spark.session import catalog_settings, session
from meshhouse.errors import MeshError, UsageError
from meshhouse.java import last_line
from meshhouse.lake import Lake
from meshhouse.lake.object_store import WAREHOUSE, warehouse

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def check_place(lake: Lake) -> None:
    """Refuses a catalog service whose tables would be files that only this machine can read.

    Raises:
        UsageError: the catalog is a service, and the warehouse is a local folder.
    """
    if lake.is_served and warehouse() is None:
        raise UsageError(
            "Target `spark` with a catalog service builds tables in an object store: set "
            f"{WAREHOUSE}=s3://bucket/folder."
        )


def session_of(home: Path) -> SparkSession:
    """The Spark session of this process, with its log in the mesh's folder."""
    return session(log=home / "logs" / "spark.log")


def session_settings(lake: Lake) -> dict[str, str]:
    """Settings that make a lake's catalog a session's default catalog.

    Spark reads a catalog's settings only at its first use, so each catalog file has its own name.
    """
    return {
        **catalog_settings(lake.name, lake.catalog_path, lake.location),
        "spark.sql.defaultCatalog": lake.name,
    }


@contextmanager
def explained() -> Iterator[None]:
    """Turns Spark's errors inside the block into a one-line message."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (Py4JError, PySparkException, ConnectionError) as error:
        raise MeshError(
            f"Spark failed: {last_line(str(error).partition('JVM stacktrace')[0])}. Nothing was "
            "published. Spark's log is `.mesh/logs/spark.log`; run the same command again."
        ) from error
