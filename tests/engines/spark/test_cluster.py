"""A standalone Spark cluster of one master and two workers builds and publishes a domain, through
the session of `mesh` or of a Thrift server."""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.chaos import wait_until
from tests.support.spark_here import NO_COMPILER, QUICK, needs_spark

pytestmark = [needs_spark, pytest.mark.server]
LONG = 120
WORKERS = 2


@dataclass(frozen=True)
class Cluster:
    address: str
    page: str

    def state(self) -> dict:
        """The contents of the master's web page, as JSON."""
        with urllib.request.urlopen(f"{self.page}/json/") as answer:
            return json.load(answer)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster from pyspark's files, started as the cluster's scripts do."""
    folder = tmp_path_factory.mktemp("cluster")
    started: list[subprocess.Popen] = []
    try:
        started.append(_daemon(folder, "master.Master", "--port", "0", "--webui-port", "0"))
        log = folder / "master.Master.log"
        address = _said(log, r"Starting Spark master at (spark://\S+)")
        page = _said(log, r"MasterWebUI at (http://\S+)|started at (http://\S+)")
        cluster = Cluster(address, page)
        for number in range(WORKERS):
            options = ("--cores", "1", "--memory", "1g", "--webui-port", "0", "-d")
            started.append(
                _daemon(folder, "worker.Worker", *options, str(folder / str(number)), address)
            )
        wait_until(lambda: cluster.state()["aliveworkers"] == WORKERS, LONG, "starting workers")
        yield cluster
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait()


def _daemon(folder: Path, name: str, *arguments: str) -> subprocess.Popen:
    import pyspark

    from meshhouse.engines.spark.session import sparks_java

    home = Path(pyspark.__file__).parent
    command = [home / "bin" / "spark-class", f"org.apache.spark.deploy.{name}"]
    command += ["--host", "localhost", *arguments]
    variables = {
        **os.environ,
        "SPARK_HOME": str(home),
        "JAVA_HOME": str(sparks_java().resolve().parent.parent),
        "SPARK_DAEMON_MEMORY": "256m",
    }
    with (folder / f"{name}.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=variables, cwd=folder)


def _said(log: Path, pattern: str) -> str:
    """Waits for a pattern in a daemon's log; returns its first group."""

    def found() -> re.Match | None:
        return re.search(pattern, log.read_text(errors="replace"))

    wait_until(found, LONG, f"saying {pattern}")
    return next(filter(None, found().groups()))


@pytest.fixture(scope="module")
def thrift(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Thrift server whose queries run on the cluster; yields the variables that name it.

    It takes all cores of the cluster, so tests without it come first. Several meshes use it, as
    teams do.
    """
    import pyspark

    from meshhouse.engines.spark.session import iceberg_jars, settings, sparks_java

    home = Path(pyspark.__file__).parent
    jars = iceberg_jars()
    folder = tmp_path_factory.mktemp("thrift")
    chosen = {
        **settings(jars),
        **NO_COMPILER,
        "spark.master": cluster.address,
        "spark.driver.extraClassPath": ":".join(map(str, jars)),
        "spark.driver.memory": "700m",
        "spark.executor.memory": "700m",
    }
    command = [home / "bin" / "spark-submit"]
    command += ["--class", "org.apache.spark.sql.hive.thriftserver.HiveThriftServer2"]
    command += [f"--conf={name}={value}" for name, value in chosen.items()]
    command += ["spark-internal", "--hiveconf", "hive.server2.thrift.port=0"]
    variables = {**os.environ, "JAVA_HOME": str(sparks_java().resolve().parent.parent)}
    with (folder / "thrift.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=variables, cwd=folder)
    try:
        port = _said(folder / "thrift.log", r"Starting ThriftBinaryCLIService on port (\d+)")
        yield {
            "MESH_TARGET": "spark",
            "MESH_SPARK_METHOD": "thrift",
            "MESH_SPARK_PORT": port,
            # For the audit's session: the Thrift server uses all the cluster's workers.
            "MESH_SPARK_MASTER": "local[1]",
            "MESH_SPARK_CONF": QUICK,
        }
    finally:
        process.terminate()
        process.wait()


def test_workers_of_a_cluster_build_and_audit_what_is_published(mesh, cluster):
    mesh.sell(*range(1, 20))
    mesh.run("land")
    environment = {
        "MESH_TARGET": "spark",
        "MESH_SPARK_MASTER": cluster.address,
        "MESH_SPARK_CONF": "spark.executor.memory=700m",
    }
    mesh.run("run", "shop", environment=environment)
    assert mesh.row("select orders, amount from shop.totals") == (19, pytest.approx(28.5))
    [done] = cluster.state()["completedapps"]
    assert done["name"] == "meshhouse"
    assert done["cores"] == WORKERS
    assert done["state"] == "FINISHED"


def test_a_thrift_server_builds_what_is_audited_and_published(mesh, cluster, thrift):
    by_customer = """{{ config(materialized='incremental', unique_key='customer_id',
        incremental_strategy=replace_rows_strategy()) }}
    select customer_id, count(*) as orders, max(landed_at) as landed_at
    from {{ ref('stg_sales') }}
    {% if is_incremental() %}
    where customer_id in (select customer_id from {{ ref('stg_sales') }}
                          where {{ landed_since_last_build() }})
    {% endif %}
    group by customer_id"""
    mesh.write("domains/shop/models/by_customer.sql", by_customer)
    mesh.edit("domains/shop/models/products/totals.sql", "count(*)",
              "(select sum(orders) from {{ ref('by_customer') }})")  # fmt: skip
    mesh.edit("domains/shop/models/products/totals.sql", "{{ ref('orders') }}",
              "{{ ref('orders') }} -- {{ ref('by_customer') }}")  # fmt: skip
    mesh.sell(*range(1, 20))
    mesh.run("land")
    mesh.run("run", environment=thrift)
    assert mesh.row("select customers, spent from mesh.overview") == (1, pytest.approx(28.5))
    mesh.sell(*range(20, 30), customer=2)
    mesh.run("run", "shop", environment=thrift)  # merged into the existing table
    assert mesh.row("select orders, amount from shop.totals") == (29, pytest.approx(43.5))
    [running] = cluster.state()["activeapps"]
    assert (running["name"].partition(":")[0], running["cores"]) == ("SparkSQL", WORKERS)


def test_a_failure_on_a_thrift_server_is_one_line(mesh, thrift):
    mesh.sell(1)
    mesh.run("land")
    mesh.edit("domains/shop/models/products/orders.sql", "customer_id as", "nobody as")
    done = mesh.run("run", "shop", code=1, environment=thrift)
    [line] = [line for line in done.stderr.splitlines() if line.startswith("failed")]
    assert "`nobody` cannot be resolved" in line
    assert line.rstrip()[-1].isdigit()  # ends with the position: no Java trace, no plan
