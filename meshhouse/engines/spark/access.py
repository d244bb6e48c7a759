"""Access to Spark for building, reading and dbt: its sessions, and one line for its failures.

Belongs here: what an engine and dbt-spark both need of a session. Not here: starting one
(session.py).
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
    """Refuses to show everybody, by a service, tables that only this machine can read.

    Raises:
        UsageError: the catalog is a service and the warehouse a folder.
    """
    if lake.is_served and warehouse() is None:
        raise UsageError(
            "Target `spark` with a catalog service builds tables in an object store: set "
            f"{WAREHOUSE}=s3://bucket/folder."
        )


def session_of(home: Path) -> SparkSession:
    """The session of this process, which logs into the mesh's folder."""
    return session(log=home / "logs" / "spark.log")


def session_settings(lake: Lake) -> dict[str, str]:
    """Settings with which a session looks for `schema.table` in a lake's catalog.

    Spark reads a catalog's settings when it is first used; a name stands for one file.
    """
    return {
        **catalog_settings(lake.name, lake.catalog_path, lake.location),
        "spark.sql.defaultCatalog": lake.name,
    }


@contextmanager
def explained() -> Iterator[None]:
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
