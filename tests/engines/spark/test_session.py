"""The Spark session of a process: a dead session is replaced, one without Iceberg is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT, sale
from tests.support.spark_here import QUICK, needs_spark
from tests.support.tiny import TINY

pytestmark = [needs_spark, pytest.mark.server]
HERE = {"MESH_SPARK_MASTER": "local[1]", "MESH_SPARK_CONF": f"spark.driver.memory=700m;{QUICK}"}

# Runs in a new process, because the tests' session must survive.
LIVES = """
import os, signal
from pyspark.sql import SparkSession
from meshhouse.errors import UsageError
from meshhouse.engines.spark.session import session

foreign = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
try:
    session()
except UsageError as error:
    print(error)
foreign.stop()

def works():
    spark = session()
    assert spark is session()
    assert "Iceberg" in spark.conf.get("spark.sql.extensions")
    spark.conf.set("spark.sql.catalog.c", "org.apache.iceberg.spark.SparkCatalog")
    assert spark.range(3).count() == 3
    return spark.sparkContext

context = works()
context._jsc.stop()  # as after a fatal error in Spark
context = works()
os.kill(context._gateway.proc.pid, signal.SIGKILL)
works()
print("alive")
"""


def test_a_session_is_replaced_when_it_died_and_not_taken_without_iceberg():
    environment = {**os.environ, **HERE, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", LIVES], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    refusal, end = done.stdout.splitlines()
    assert refusal.startswith("A Spark session without Iceberg already runs in this process.")
    assert end == "alive"


def test_spark_that_dies_in_one_domain_is_there_for_the_next(mesh):
    copied = mesh.root / "domains" / "till"
    shutil.copytree(TINY / "domains" / "shop", copied)
    for path in copied.rglob("*.*"):
        if path.is_file():
            path.write_text(path.read_text().replace("shop", "till"))
    mesh.sell(*range(1, 20))
    mesh.send("till.sales", [sale(number) for number in range(1, 10)])
    mesh.edit("domains/shop/models/products/totals.sql", "count(*)",
              "java_method('java.lang.System', 'exit', 3)")  # fmt: skip
    mesh.run("land")
    done = mesh.run("run", "shop", "till", code=1, environment={"MESH_TARGET": "spark", **HERE})
    said = done.stdout + done.stderr
    assert said.index("shop.orders") < said.index("till.orders")
    [failed] = [line for line in done.stderr.splitlines() if line.startswith("failed")]
    assert "shop" in failed
    assert "Spark ended during its work" in failed
    assert "Traceback" not in said
    assert mesh.row("select orders from till.totals") == (9,)


def test_a_thrift_server_that_does_not_answer_is_said_in_one_line(mesh):
    mesh.sell(1)
    mesh.run("land")
    nowhere = {"MESH_TARGET": "spark", "MESH_SPARK_METHOD": "thrift", "MESH_SPARK_PORT": "1"}
    done = mesh.run("run", "shop", code=1, environment=nowhere)
    [failed] = [line for line in done.stderr.splitlines() if line.startswith("failed")]
    assert "no Thrift server answers; check MESH_SPARK_HOST" in failed
    assert "Traceback" not in done.stderr
