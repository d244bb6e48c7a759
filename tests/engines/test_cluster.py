"""A standalone Spark cluster of one master and two workers builds and publishes a domain."""

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
from chaos import wait_until
from spark_here import needs_spark

pytestmark = needs_spark
LONG = 120
WORKERS = 2


@dataclass(frozen=True)
class Cluster:
    address: str
    page: str

    def state(self) -> dict:
        """What the master's web page knows, as JSON."""
        with urllib.request.urlopen(f"{self.page}/json/") as answer:
            return json.load(answer)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """What pyspark ships, started as a cluster's own scripts do."""
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

    from meshhouse.spark.session import sparks_java

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
    """What a daemon's log says, once it does."""
    wait_until(lambda: re.search(pattern, log.read_text()), LONG, f"saying {pattern}")
    found = re.search(pattern, log.read_text())
    return next(filter(None, found.groups()))


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
