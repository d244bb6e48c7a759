"""The one Spark session of a process, and the catalogs that it reads.

Starting one takes 6 to 13 s, so dbt, Soda, landing and publication share it.
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
    """The Spark session of this process; started by the first call.

    `MESH_SPARK_MASTER` names a cluster (by default all cores of this machine are used), and
    `MESH_SPARK_CONF` more of Spark's settings, as `name=value` separated by `;`.

    Args:
        progress: is told how many jars were fetched.
        log: where Spark's own words go, all its life long; by default nowhere.

    One that has died is replaced by a new one.

    Raises:
        UsageError: pyspark is not installed, there is no Java that runs it, a setting is no
            setting, or somebody else's session without Iceberg is in this process.
        MeshError: its jars cannot be fetched, or it did not start.
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
    # pyspark looks there before it looks at the path.
    os.environ["JAVA_HOME"] = str(java.resolve().parent.parent)
    jars = iceberg_jars(progress)
    builder = SparkSession.builder.appName("meshhouse")
    chosen = settings(jars)
    if chosen["spark.master"].startswith("local"):
        # Its workers run whatever `python3` is on the path otherwise, without our packages.
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    for name, value in chosen.items():
        builder = builder.config(name, value)
    for logger in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        logging.getLogger(logger).disabled = True  # what failed is raised as well
    logging.getLogger().addFilter(_not_of_py4j)
    try:
        with _standard_error_to(log):
            return builder.getOrCreate()
    except Exception as error:
        raise MeshError(
            f"Spark did not start: {last_line(str(error))}. Look at MESH_SPARK_MASTER and "
            "MESH_SPARK_CONF, and whether the cluster answers."
        ) from error


def _not_of_py4j(record: logging.LogRecord) -> bool:
    """Whether a record of the root logger is not what py4j says there when it also raises."""
    return record.module not in ("java_gateway", "clientserver")


def _alive() -> SparkSession | None:
    """The session that is active already; what is left of one that has died is removed.

    Raises:
        UsageError: it is somebody else's, and cannot read Iceberg.
    """
    from py4j.protocol import Py4JError
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    context = SparkContext._active_spark_context
    try:
        if context is not None and context._jsc and not context._jsc.sc().isStopped():
            if _EXTENSIONS not in (context.getConf().get("spark.sql.extensions") or ""):
                raise UsageError(
                    "A Spark session without Iceberg runs in this process already. Stop it, or "
                    f"start it with the setting spark.sql.extensions={_EXTENSIONS} and Iceberg's "
                    "jar; then try again."
                )
            return SparkSession.getActiveSession()
    except (Py4JError, OSError):
        pass  # Spark's process is gone
    _bury(context)
    return None


def _bury(context: SparkContext | None) -> None:
    """Lets pyspark start a new Java process: by itself it keeps to its first one."""
    from py4j.protocol import Py4JError
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    if context is not None:
        context._jsc = None  # nobody answers there
        context.stop()
    SparkSession._instantiatedSession = SparkSession._activeSession = None
    gateway = SparkContext._gateway
    process = getattr(gateway, "proc", None)
    if gateway is None or process is None:  # nothing started, or not by this process
        return
    SparkContext._gateway = SparkContext._jvm = None
    with suppress(Py4JError, OSError):
        gateway.shutdown()
    process.stdin.close()  # which ends it, if it still runs
    process.wait()


@contextmanager
def _standard_error_to(log: Path | None) -> Iterator[None]:
    """Gives programs that are started inside another standard error than ours."""
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
    ours = os.dup(2)
    try:
        with open(log or os.devnull, "ab") as file:  # noqa: PTH123 - a device has no Path
            os.dup2(file.fileno(), 2)
        yield
    finally:
        os.dup2(ours, 2)
        os.close(ours)


def iceberg_jars(progress: Progress = lambda done, all_: None) -> list[Path]:
    """The jars that a session needs beside Spark's own.

    Raises:
        UsageError: the package that fetches them is not installed.
        MeshError: they cannot be fetched.
    """
    listing = files(__package__).joinpath("jars.txt").read_text()
    if warehouse():
        listing += files(__package__).joinpath("s3-jars.txt").read_text()
    return fetch_jars(_JARS, listing, _INSTALL, progress)


def sparks_java() -> Path:
    """The Java that runs Spark.

    Raises:
        UsageError: there is none, or none of the right version.
    """
    return find_java(
        "Spark", JAVA_VERSIONS, "Java 17 or 21", "Install one and set JAVA_HOME.", bundled=False
    )


def settings(jars: list[Path]) -> dict[str, str]:
    """Spark's settings for a session with these jars.

    Raises:
        UsageError: MESH_SPARK_CONF holds something else.
    """
    return {
        "spark.master": _master(),
        "spark.jars": ",".join(map(str, jars)),
        "spark.driver.memory": "1500m",
        "spark.sql.extensions": _EXTENSIONS,
        "spark.sql.session.timeZone": "UTC",
        # Its default of 200 makes small tables slow; a cluster sets its own.
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
            # Not quoted: it may be part of a password.
            raise UsageError(
                f"Part {number} of MESH_SPARK_CONF is no setting of Spark. Write "
                "`spark.name=value`, with `;` between settings and none within."
            )
        found[name.strip()] = value.strip()
    return found


def catalog_settings(name: str, path: Path, location: str) -> Mapping[str, str]:
    """Spark's settings of an Iceberg catalog in a SQLite file (Iceberg's JDBC catalog, V1).

    Where the mesh's warehouse is an object store, its tables can be read there: Spark finds
    credentials itself, where AWS's programs look for them.

    Args:
        name: what Spark calls the catalog; also its name in the file.
        path: the SQLite file.
        location: the folder of tables that Spark makes there.
    """
    prefix = f"spark.sql.catalog.{name}"
    return {
        prefix: "org.apache.iceberg.spark.SparkCatalog",
        f"{prefix}.type": "jdbc",
        f"{prefix}.uri": f"jdbc:sqlite:{path}",
        f"{prefix}.warehouse": location,
        f"{prefix}.jdbc.schema-version": "V1",
        # What the catalog says may change at any moment.
        f"{prefix}.cache-enabled": "false",
        **{f"{prefix}.{name}": value for name, value in _store_settings().items()},
    }


def _store_settings() -> dict[str, str]:
    if not warehouse():
        return {}
    found = access()
    return {
        # By each file's own location: what the audit is to find empty is in a local folder.
        "io-impl": "org.apache.iceberg.io.ResolvingFileIO",
        "client.region": found.region,
        "s3.endpoint": found.endpoint,
        "s3.path-style-access": str(not found.is_amazon).lower(),
    }
