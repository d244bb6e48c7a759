"""Reads in Spark's event logs: a recorded one, and one that Spark writes now."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from meshhouse.engines.histories import Known
from meshhouse.engines.spark.event_log import reads_of
from meshhouse.usage import ReadStore
from meshhouse.usage.reads import UNKNOWN
from tests.support.spark_here import needs_spark

RECORDED = Path(__file__).with_name("spark_logs") / "local-1796073498375"
KNOWN = Known(
    {
        "sales.orders": {each: each for each in ("basket_id", "household_id", "order_date",
                                                 "sales_value")},
        "customers.households": {each: each for each in ("household_id", "age", "income")},
    }
)  # fmt: skip


def recorded() -> list[str]:
    return RECORDED.read_text().splitlines()


def plan(name="BatchScan mesh.sales.orders", text="[basket_id#1L] IcebergScan(table=x)", **fields):
    node = {"nodeName": name, "simpleString": f"{name}{text}", "children": []}
    return {"nodeName": "Project", "simpleString": "Project", "children": [node]} | fields


def query(number, root=None, error="", **changed):
    sql = "org.apache.spark.sql.execution.ui.SparkListenerSQL"
    about = {"executionId": number, "rootExecutionId": number if root is None else root}
    start = {"Event": f"{sql}ExecutionStart", "time": 1_796_070_000_000} | about
    end = {"Event": f"{sql}ExecutionEnd", "time": 1_796_070_001_000, "errorMessage": error} | about
    return [json.dumps(start | {"sparkPlanInfo": plan(**changed)}), json.dumps(end)]


def test_a_recorded_log():
    reads = reads_of(recorded(), KNOWN)
    # The plan of `count(*)` scans nothing: Iceberg answers it from its metadata.
    assert [(each.product, each.columns) for each in reads] == [
        ("customers.households", ("age", "household_id", "income")),
        ("sales.orders", ("household_id", "order_date", "sales_value")),
        ("sales.orders", ("basket_id", "household_id")),
        ("sales.orders", ("sales_value",)),
    ]
    assert {each.user for each in reads} == {"ana"}
    joined = reads[:2]  # one query, whose stages read 8,269 and 70,458 bytes
    assert sum(each.bytes for each in joined) == 78_727
    assert sum(each.milliseconds for each in joined) == 10_210
    assert all(each.at.year == 2026 for each in reads)


@pytest.mark.parametrize(
    ("changed", "columns"),
    [
        ({}, ("basket_id",)),
        ({"text": "[] IcebergScan(table=x)"}, ()),
        ({"text": "[basket_id#1L, ... 30 more fields] IcebergScan(table=x)"}, None),
        ({"text": " (scans in another form)"}, None),
        ({"text": "[odd, name#1, b]#2L] IcebergScan(table=x)"}, ("b]", "odd, name")),
    ],
)
def test_columns_that_spark_leaves_out_are_unknown(changed, columns):
    [read] = reads_of(query(1, **changed), KNOWN)
    assert read.columns == columns


@pytest.mark.parametrize(
    "lines",
    [
        query(1, error="boom"),
        query(1)[:1],  # it did not end
        query(1, name="BatchScan mesh.sales.private"),
        query(1, name="BatchScan /lake/sales/orders"),
        query(1, name="BatchScan sales_work_0123abcd.sales.orders"),  # a run of the mesh
    ],
)
def test_what_is_not_a_read_of_a_product(lines):
    assert reads_of(lines, KNOWN) == []


def test_queries_that_spark_runs_for_another_one_are_one_read():
    begin, end = query(1)
    inner = query(2, root=1, text="[household_id#3L] IcebergScan(table=x)")
    [read] = reads_of([begin, *inner, end], KNOWN)
    assert (read.columns, read.count) == (("basket_id", "household_id"), 1)


def test_damaged_lines_are_reads_of_something_unknown():
    [read, unknown] = reads_of(["{half", "[]", "", *query(1)], KNOWN)
    assert (unknown.product, unknown.count) == (UNKNOWN, 2)
    assert read.product == "sales.orders"


@pytest.fixture
def logs(tmp_path):
    """A folder with the recorded log, which reads the tiny mesh's product."""
    folder = tmp_path / "event logs"
    folder.mkdir()
    text = RECORDED.read_text().replace("mesh.sales.orders", "mesh.shop.orders")
    (folder / RECORDED.name).write_text(text)
    return folder


def test_each_log_counts_once(mesh, logs):
    assert "Added 1 log." in mesh.run("usage", "import", "spark", str(logs)).stdout
    assert "Added 0 logs." in mesh.run("usage", "import", "spark", str(logs)).stdout
    shutil.copy(logs / RECORDED.name, logs / "app-2")
    assert "Added 1 log." in mesh.run("usage", "import", "spark", str(logs)).stdout


@pytest.mark.parametrize("form", ["zstd", "gz", "rolling"])
def test_compressed_and_rolling_logs(mesh, logs, form):
    plain = logs / RECORDED.name
    content = plain.read_bytes()
    plain.unlink()
    if form == "zstd":
        packed = pa.CompressedOutputStream(str(logs / f"{plain.name}.zstd"), "zstd")
        packed.write(content)
        packed.close()
    elif form == "gz":
        (logs / f"{plain.name}.gz").write_bytes(gzip.compress(content))
    else:
        folder = logs / f"eventlog_v2_{plain.name}"
        folder.mkdir()
        lines = content.splitlines(keepends=True)
        for at in range(0, len(lines), 3):
            number = at // 3 + 1
            (folder / f"events_{number}_{plain.name}").write_bytes(b"".join(lines[at : at + 3]))
        (folder / f"appstatus_{plain.name}.inprogress").touch()
        assert "Left out" in mesh.run("usage", "import", "spark", str(logs)).stderr
        (folder / f"appstatus_{plain.name}.inprogress").rename(folder / f"appstatus_{plain.name}")
    assert "Added 1 log." in mesh.run("usage", "import", "spark", str(logs)).stdout
    [row] = [each for each in rows(mesh) if each.columns == ("sales_value",)]
    assert row.user == "ana"


def rows(mesh):
    from meshhouse.usage import store_of

    return store_of(mesh.repository).read().reads


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["spark"], "spark.eventLog.dir"),
        (["spark", "/nothing/here"], "is not a folder"),
        (["hive"], "is not one of"),
        (["snowflake", "folder"], "has no folder"),
    ],
)
def test_misuse(mesh, arguments, said):
    assert said in mesh.run("usage", "import", *arguments, code=2).stderr


def test_other_files_are_named_and_left_out(mesh, logs):
    (logs / "empty").touch()
    (logs / "notes.txt").write_bytes(b"\x00\xff\n{}")
    done = mesh.run("usage", "import", "spark", str(logs))
    assert "Added 1 log." in done.stdout
    assert "Left out, not an event log: empty, notes.txt." in done.stderr
    assert UNKNOWN not in {each.product for each in rows(mesh)}


PACKED = gzip.compress(RECORDED.read_bytes())


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("app-1.zstd", b"not zstd at all", "app-1 ("),
        ("app-1.zstd", b"\x28\xb5\x2f\xfd\x00", "app-1 ("),
        ("app-1.gz", PACKED[: len(PACKED) // 2], "end-of-stream"),
        ("app-1.gz", PACKED[:60] + b"\xff" * 60 + PACKED[120:], "app-1 ("),
        ("app-1.lz4", b"LZ4Block", "spark.eventLog.compression.codec=zstd"),
    ],
)
def test_a_log_that_cannot_be_read_stops_no_other(mesh, logs, name, content, said):
    (logs / name).write_bytes(content)
    done = mesh.run("usage", "import", "spark", str(logs), code=1)
    assert "Added 1 log." in done.stdout
    assert "Left out, cannot be read: app-1 (" in done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def kept_of(reads, tmp_path):
    """The reads as a store has them."""
    store = ReadStore(tmp_path)
    store.add("spark", [("1", reads)])
    return store.read().reads


def test_what_a_log_says_is_bounded(tmp_path):
    begin, end = query(1)
    huge = [
        {"Event": "SparkListenerApplicationStart", "User": "\ud800a\x1b", "Timestamp": 1},
        {"Event": "SparkListenerEnvironmentUpdate",
         "Spark Properties": {"spark.meshhouse.consumer": "\udfff" + "f" * 500}},
        {"Event": "SparkListenerJobStart", "Stage IDs": [1],
         "Properties": {"spark.sql.execution.id": "1"}},
        {"Event": "SparkListenerStageCompleted", "Stage Info": {"Stage ID": 1, "Accumulables": [
            {"Name": "internal.metrics.input.bytesRead", "Value": 2**70}]}},
    ]  # fmt: skip
    back = end.replace("1796070001000", "1796060000000")  # the clock was set back meanwhile
    lines = [begin, *map(json.dumps, huge), "[" * 200_000, back]
    unknown, read = sorted(kept_of(reads_of(lines, KNOWN), tmp_path), key=lambda each: each.product)
    assert (unknown.product, unknown.count) == (UNKNOWN, 1)
    assert datetime.now(UTC) - unknown.at < timedelta(hours=1)
    assert (read.product, read.bytes, read.milliseconds) == ("sales.orders", None, None)
    assert (read.user, read.consumer) == ("a", "f" * 100)


def test_a_table_of_another_catalog_is_unknown():
    """It has the name of a product, and may be of this lake or of another one."""
    [read] = reads_of(query(1, name="BatchScan other.sales.orders"), KNOWN)
    assert (read.product, read.columns) == (UNKNOWN, None)


def test_an_environment_has_no_history(mesh, logs):
    done = mesh.run("usage", "import", "spark", str(logs), environment={"MESH_ENV": "dev"}, code=2)
    assert "Unset MESH_ENV" in done.stderr


READ = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from meshhouse.engines.spark.session import catalog_settings, session

lake = Path(sys.argv[1])
spark = session()
for name, value in catalog_settings("mesh", lake / "catalog.db", f"file://{lake}").items():
    spark.conf.set(name, value)
spark.sql("select sum(amount) as s from mesh.shop.orders where customer_id > 0").collect()
spark.stop()
"""


@pytest.mark.server
@needs_spark
def test_a_log_that_spark_writes(sold, tmp_path):
    (tmp_path / "logs").mkdir()
    settings = {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": f"file://{tmp_path / 'logs'}",
        "spark.meshhouse.consumer": "forecasts",
    }
    conf = ";".join(f"{name}={value}" for name, value in settings.items())
    environment = {**sold.environment, "MESH_SPARK_CONF": conf, "MESH_SPARK_MASTER": "local[1]"}
    command = [sys.executable, "-c", READ, str(sold.home / "lake")]
    subprocess.run(command, env=environment, cwd=sold.root, check=True)
    done = sold.run("usage", "import", "spark", str(tmp_path / "logs"))
    assert "Added 1 log." in done.stdout
    [found] = json.loads(sold.run("usage", "shop.orders", "--json").stdout)
    assert found["consumers"]["forecasts"]["reads_30_days"] == 1
    assert found["columns_30_days"] == {"amount": 1, "customer_id": 1}
