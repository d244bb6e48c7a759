"""The one Spark session of a process, and its settings.

Belongs here: starting and replacing the session, its jars, and the settings of a catalog. Not here:
the use of the session by builds (access.py) or landing (landing.py).

A session takes 6 to 13 s to start, so dbt, Soda, landing and publication share one.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from meshhouse.addresses import refuse_credentials
from meshhouse.errors import MeshError, UsageError
from meshhouse.java import Progress, fetch_jars, find_java, last_line
from meshhouse.lake.object_store import access, warehouse
from meshhouse.settings import value as value_of

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

JAVA_VERSIONS = (17, 21)
_JARS = "spark-4.1.1"
_INSTALL = "`make spark`"
_EXTENSIONS = "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions"
_LOCK = threading.Lock()


def session(progress: Progress = lambda done, all_: None, log: Path | None = None) -> SparkSession:
    """Returns the Spark session of this process; the first call starts it.

    `MESH_SPARK_MASTER` names a cluster; by default, Spark uses all cores of this machine.
    `MESH_SPARK_CONF` holds further settings of Spark, as `name=value` separated by `;`. A session
    whose process has ended is replaced by a new one.

    Args:
        progress: is called with the number of fetched jars.
        log: file for Spark's output, for the whole life of the session; by default none.

    Raises:
        UsageError: pyspark is not installed, no suitable Java is found, a setting is malformed, or
            another program has started a session without Iceberg in this process.
        MeshError: the jars cannot be fetched, or the session did not start.
    """
    with _LOCK:
        return _session(progress, log)


def _session(progress: Progress, log: Path | None) -> SparkSession:
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise UsageError(
            f"Target `spark` needs packages that are not installed: run {_INSTALL}."
        ) from error
    active = _alive()
    if active is not None:
        return active
    java = sparks_java()
    # pyspark prefers JAVA_HOME to the `java` on PATH.
    os.environ["JAVA_HOME"] = str(java.resolve().parent.parent)
    jars = iceberg_jars(progress)
    builder = SparkSession.builder.appName("meshhouse")
    chosen = settings(jars)
    if chosen["spark.master"].startswith("local"):
        # Otherwise Spark's workers run the `python3` on PATH, without this environment's packages.
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    for name, value in chosen.items():
        builder = builder.config(name, value)
    for logger in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        logging.getLogger(logger).disabled = True  # the failure is raised as well
    logging.getLogger().addFilter(_not_of_py4j)
    try:
        with _standard_error_to(log):
            return builder.getOrCreate()
    except Exception as error:
        raise MeshError(
            f"Spark did not start: {last_line(str(error))}. Check MESH_SPARK_MASTER and "
            "MESH_SPARK_CONF, and whether the cluster answers."
        ) from error


def _not_of_py4j(record: logging.LogRecord) -> bool:
    """Filter for the root logger: drops records of py4j, which raises the same errors."""
    return record.module not in ("java_gateway", "clientserver")


def _alive() -> SparkSession | None:
    """Returns the active session, or removes the remains of one whose process has ended.

    Raises:
        UsageError: the active session was started by another program and cannot read Iceberg.
    """
    from py4j.protocol import Py4JError
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    context = SparkContext._active_spark_context
    try:
        if context is not None and context._jsc and not context._jsc.sc().isStopped():
            if _EXTENSIONS not in (context.getConf().get("spark.sql.extensions") or ""):
                raise UsageError(
                    "A Spark session without Iceberg already runs in this process. Stop it, or "
                    f"start it with the setting spark.sql.extensions={_EXTENSIONS} and Iceberg's "
                    "jar. Then try again."
                )
            return SparkSession.getActiveSession()
    except (Py4JError, OSError):
        pass  # Spark's process has ended
    _bury(context)
    return None


def _bury(context: SparkContext | None) -> None:
    """Makes pyspark start a new Java process; without this it keeps using the first one."""
    from py4j.protocol import Py4JError
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    if context is not None:
        context._jsc = None  # the Java process does not answer any more
        context.stop()
    SparkSession._instantiatedSession = SparkSession._activeSession = None
    gateway = SparkContext._gateway
    process = getattr(gateway, "proc", None)
    if gateway is None or process is None:  # this process did not start Java
        return
    SparkContext._gateway = SparkContext._jvm = None
    with suppress(Py4JError, OSError):
        gateway.shutdown()
    process.stdin.close()  # ends the process if it still runs
    process.wait()


@contextmanager
def _standard_error_to(log: Path | None) -> Iterator[None]:
    """Sends the standard error of programs started inside the block to a file, or nowhere."""
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
    original = os.dup(2)
    try:
        with open(log or os.devnull, "ab") as file:  # noqa: PTH123 - a device has no Path
            os.dup2(file.fileno(), 2)
        yield
    finally:
        os.dup2(original, 2)
        os.close(original)


def iceberg_jars(progress: Progress = lambda done, all_: None) -> list[Path]:
    """Returns the jars that a session needs besides Spark's own, and fetches missing ones.

    Raises:
        UsageError: the package that fetches jars is not installed.
        MeshError: the jars cannot be fetched.
    """
    listing = files(__package__).joinpath("jars.txt").read_text()
    if warehouse():
        listing += files(__package__).joinpath("s3-jars.txt").read_text()
    return fetch_jars(_JARS, listing, _INSTALL, progress)


def sparks_java() -> Path:
    """Returns the Java program that runs Spark.

    Raises:
        UsageError: Java is not installed, or not in the right version.
    """
    return find_java(
        "Spark", JAVA_VERSIONS, "Java 17 or 21", "Install one and set JAVA_HOME.", bundled=False
    )


def settings(jars: list[Path]) -> dict[str, str]:
    """Returns Spark's settings for a session with these jars.

    Raises:
        UsageError: MESH_SPARK_CONF is malformed.
    """
    return {
        "spark.master": _master(),
        "spark.jars": ",".join(map(str, jars)),
        "spark.driver.memory": "1500m",
        "spark.sql.extensions": _EXTENSIONS,
        "spark.sql.session.timeZone": "UTC",
        # Spark's default of 200 makes small tables slow; MESH_SPARK_CONF sets it for a cluster.
        "spark.sql.shuffle.partitions": "4",
        "spark.sql.catalogImplementation": "in-memory",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        **_more_settings(),
    }


def _master() -> str:
    master = value_of("MESH_SPARK_MASTER")
    instead = "Write spark://host:port alone; MESH_SPARK_CONF takes spark.authenticate.secret."
    refuse_credentials("MESH_SPARK_MASTER", master, instead)
    return master


def _more_settings() -> dict[str, str]:
    found = {}
    for number, setting in enumerate(value_of("MESH_SPARK_CONF").split(";"), start=1):
        name, equals, value = setting.partition("=")
        if not setting.strip():
            continue
        if not equals or not name.strip().startswith("spark."):
            # The message does not quote the part, which may belong to a password.
            raise UsageError(
                f"Part {number} of MESH_SPARK_CONF is not a setting of Spark. Write "
                "`spark.name=value`, with `;` between settings and none within."
            )
        found[name.strip()] = value.strip()
    return found


def catalog_settings(name: str, path: Path, location: str) -> Mapping[str, str]:
    """Returns Spark's settings for an Iceberg catalog in a SQLite file (JDBC catalog, V1).

    If the mesh's warehouse is an object store, the settings give access to it. Spark finds the
    credentials where the AWS SDK looks for them.

    Args:
        name: Spark's name for the catalog; also its name in the file.
        path: the SQLite file.
        location: the folder for tables that Spark creates.
    """
    prefix = f"spark.sql.catalog.{name}"
    return {
        prefix: "org.apache.iceberg.spark.SparkCatalog",
        f"{prefix}.type": "jdbc",
        f"{prefix}.uri": f"jdbc:sqlite:{path}",
        f"{prefix}.warehouse": location,
        f"{prefix}.jdbc.schema-version": "V1",
        # Other processes change the catalog file.
        f"{prefix}.cache-enabled": "false",
        **{f"{prefix}.{name}": value for name, value in _store_settings().items()},
    }


def _store_settings() -> dict[str, str]:
    if not warehouse():
        return {}
    found = access()
    return {
        # Chosen by each file's location: the audit's empty tables are always local files.
        "io-impl": "org.apache.iceberg.io.ResolvingFileIO",
        "client.region": found.region,
        "s3.endpoint": found.endpoint,
        "s3.path-style-access": str(not found.is_amazon).lower(),
    }
