"""Landing from Kafka, compared with Spark, Kafka Connect and dlt.

All programs read the same topic from the same broker on the same cores, each in separate
processes. A figure counts only if every event arrived. Each program gets its fastest
configuration, which its docstring describes.

    python -m benchmarks.peers [EVENTS]

The programs are fetched into the user's cache at first use, before the clock starts.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import kafka
from benchmarks.environments import CACHE, environment
from benchmarks.kafka import CLEAN, CLIENTS, COLUMNS, ROUNDS, fill, lake
from meshhouse.events.kafka.broker import Broker
from meshhouse.events.kafka.confluent import ConfluentClient
from meshhouse.events.kafka.python import arguments
from meshhouse.events.kafka.settings import KafkaSettings
from meshhouse.events.kafka.source import KafkaSource
from meshhouse.java import find_java, last_line
from meshhouse.lake import Lake
from meshhouse.lake.views import connect_memory, create_views
from meshhouse.locks import lock

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

EVENTS = int(os.environ.get("MESH_BENCH_PEER_EVENTS", "1000000"))
RELATION = "sales_raw.purchases"
PATIENCE = 120.0
"""Seconds without a new row after which a peer counts as stuck."""
LIMIT = 1_800.0
"""Seconds that one measurement may take, including downloads."""
WARM = 20_000
"""Events in the small topic that a peer lands before the clock starts."""

Row = tuple[str, str, str, str, str]
Measured = dict[str, Any]


def events_in(settings: KafkaSettings, topic: str) -> int:
    """The number of events in a topic."""
    partitions = KafkaSource(settings, ConfluentClient).describe(topic).partitions
    return sum(each.end - each.begin for each in partitions.values())


def check(relation: str, events: int, states: Mapping[str, str]) -> None:
    """Raises unless every event has arrived as a row with a value in each column."""
    counts = ", ".join(f"count({column.name})" for column in COLUMNS)
    with connect_memory() as connection:
        create_views(connection, states)
        query = f"select count(*), {counts} from {relation}"
        found = connection.execute(query).fetchone() or ()
    if set(found) != {events}:
        raise RuntimeError(f"{events} events were sent; rows and values per column: {found}")


# Spark Structured Streaming


def spark(settings: KafkaSettings, topic: str) -> Measured:
    """Structured Streaming into a typed Iceberg table, `local[2]`, warm.

    Before the clock starts, the session is running and has landed a small topic.
    """
    os.environ["MESH_SPARK_MASTER"] = "local[2]"
    from meshhouse.engines.spark.session import catalog_settings, session

    events = events_in(settings, topic)
    small = f"{topic}.warm.{time.time_ns()}"
    fill(settings, small, WARM)
    engine = session()
    try:
        with lake() as target:
            target.warehouse.mkdir(parents=True)
            catalog = catalog_settings(target.name, target.catalog_path, str(target.warehouse))
            for name, value in catalog.items():
                engine.conf.set(name, value)
            engine.sql(f"create namespace {target.name}.sales_raw")
            _spark_lands(engine, settings, small, f"{target.name}.sales_raw.small")
            seconds = _spark_lands(engine, settings, topic, f"{target.name}.{RELATION}")
            check(RELATION, events, target.states())
    finally:
        engine.stop()
    return {"rate": events / seconds}


def _spark_lands(engine: SparkSession, settings: KafkaSettings, topic: str, table: str) -> float:
    """Lands a topic in a new table; returns the seconds."""
    from pyspark.sql.functions import col, from_json

    # Spark's `timestamp` has a time zone.
    kinds = ((each.name, each.data_type.replace("timestamptz", "timestamp")) for each in COLUMNS)
    schema = ", ".join(f"{name} {kind}" for name, kind in kinds)
    engine.sql(f"create table {table} ({schema}) using iceberg")
    with tempfile.TemporaryDirectory() as checkpoint:
        started = time.perf_counter()
        values = (
            engine.readStream.format("kafka")
            .option("kafka.bootstrap.servers", settings.bootstrap_servers)
            .option("subscribe", topic)
            .option("startingOffsets", "earliest")
            .load()
        )
        typed = values.select(from_json(col("value").cast("string"), schema).alias("event"))
        query = (
            typed.select("event.*")
            .writeStream.format("iceberg")
            .outputMode("append")
            .trigger(availableNow=True)
            .option("checkpointLocation", checkpoint)
            .toTable(table)
        )
        query.awaitTermination()
        return time.perf_counter() - started


# Apache Iceberg's sink for Kafka Connect

_CONNECT = "connect-4.1.1-iceberg-1.12.0"
_CONNECT_ARTIFACTS = (
    "org.apache.kafka:connect-runtime:4.1.1",
    "org.apache.kafka:connect-json:4.1.1",
    "org.apache.iceberg:iceberg-kafka-connect:1.12.0",
    "org.apache.iceberg:iceberg-data:1.12.0",
    "org.apache.iceberg:iceberg-parquet:1.12.0",
    "org.apache.hadoop:hadoop-client-api:3.4.1",
    "org.apache.hadoop:hadoop-client-runtime:3.4.1",
    "org.xerial:sqlite-jdbc:3.50.3.0",
    "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3",
)
# The options of Kafka's own start script.
_CONNECT_JAVA = (
    "-Xms256M", "-Xmx2G", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
)  # fmt: skip
_LOG4J = """\
appenders = out
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %m (%c)%n
rootLogger.level = warn
rootLogger.appenderRefs = out
rootLogger.appenderRef.out.ref = out
"""


def connect(settings: KafkaSettings, topic: str) -> Measured:
    """Iceberg's sink in a standalone Kafka Connect worker, one task, a commit every 2 s.

    Before the clock starts, the tables exist with the same types as the mesh's, and the worker is
    running and has landed a small topic. The best of three rates counts; `basis` says which:

    - from the connector's start until the table holds every event;
    - from the first commit to the last, which leaves out the start;
    - from the first commit to the last but one, which also leaves out the wait for the last rows.
    """
    events, jars = events_in(settings, topic), connect_jars()
    small = f"{topic}.warm.{time.time_ns()}"
    fill(settings, small, WARM)
    with (
        lake() as target,
        tempfile.TemporaryDirectory() as folder,
        _connect_worker(settings, jars, Path(folder)) as address,
    ):
        _connect_lands(address, settings, target, small, "sales_raw.small")
        started, finished = _connect_lands(address, settings, target, topic, RELATION)
        check(RELATION, events, target.states())
        commits = _commits(target, RELATION)
    rates = {"from its connector's start": events / (finished - started)}
    (begun, before), *others = commits
    for name, found in (("last commit", others[-1:]), ("last but one", others[-2:-1])):
        for ended, after in found:
            if after - before < events / 2:
                continue  # too few events for a meaningful rate
            rates[f"from its first commit to its {name}"] = (after - before) / (ended - begun)
    basis = max(rates, key=lambda each: rates[each])
    return {"rate": rates[basis], "basis": basis, "rates": rates, "commits": len(commits)}


def _connect_lands(
    address: str, settings: KafkaSettings, target: Lake, topic: str, relation: str
) -> tuple[float, float]:
    """Lands a topic in a new table; returns the start and the arrival of the last event."""
    events, name = events_in(settings, topic), f"iceberg-{time.time_ns()}"
    _typed_table(target, relation)
    _create_control_topic(settings, name)
    connector = f"{address}/connectors/{name}"
    started = time.time()
    _ask(f"{connector}/config", "PUT", _sink(settings, target, topic, relation, name))
    finished = _until_all_arrived(target, relation, events, f"{connector}/status")
    _ask(connector, "DELETE")
    return started, finished


def connect_jars() -> list[Path]:
    """The jars of the worker, the sink and their dependencies, resolved and fetched once."""
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.maven import MavenContext, PythonResolver

    folder = CACHE / _CONNECT
    folder.mkdir(parents=True, exist_ok=True)
    with lock(folder / ".lock"):
        listing = folder / "jars.txt"
        if not listing.exists():
            address = os.environ.get("MESH_MAVEN_REPOSITORY", MAVEN_CENTRAL_URL)
            context = MavenContext(
                resolver=PythonResolver(),
                repo_cache=folder / ".maven",
                local_repos=[],
                remote_repos={"maven": address},
                timeout=60,
            )
            wanted = [context.create_dependency(each) for each in _CONNECT_ARTIFACTS]
            for each in wanted:
                each.raw = True  # otherwise its managed versions would apply to the others
            named, needed = context.resolver.resolve(wanted)
            runs = [each for each in needed if each.scope in ("compile", "runtime")]
            paths = [each.artifact.resolve() for each in (*named, *runs)]
            listing.write_text("\n".join(map(str, paths)))
        return [Path(line) for line in listing.read_text().splitlines()]


def _typed_table(target: Lake, relation: str) -> None:
    from meshhouse.lake.schema import iceberg_schema
    from meshhouse.lake.states import write_metadata
    from meshhouse.ledger import Staged
    from meshhouse.repository.types import parse_type

    schema = iceberg_schema((each.name, parse_type(each.data_type)) for each in COLUMNS)
    location = write_metadata(target.stage(relation, schema))
    target.commit([Staged(relation, None, location, None)])


@contextmanager
def _connect_worker(settings: KafkaSettings, jars: Iterable[Path], folder: Path) -> Iterator[str]:
    """Runs a standalone worker without connectors; yields its REST address."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        address = f"http://localhost:{probe.getsockname()[1]}"
    properties = {
        "bootstrap.servers": settings.bootstrap_servers,
        "listeners": address,
        "key.converter": "org.apache.kafka.connect.converters.ByteArrayConverter",
        "value.converter": "org.apache.kafka.connect.json.JsonConverter",
        "value.converter.schemas.enable": "false",
        "offset.storage.file.filename": str(folder / "offsets"),
        # Without new events, the sink answers its coordinator only when offsets are flushed. With
        # the default interval, the last rows of a topic would wait for up to a minute.
        "offset.flush.interval.ms": "1000",
        # All classes are on the class path; scanning each jar for plugins would take long.
        "plugin.discovery": "service_load",
    }
    worker, log = folder / "worker.properties", folder / "worker.log"
    worker.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
    (folder / "log4j2.properties").write_text(_LOG4J)
    java = find_java(
        "Kafka Connect", (17, 21), "Java 17 or 21", "Install one and set JAVA_HOME.", bundled=False
    )
    command = [
        str(java), *_CONNECT_JAVA, f"-Dlog4j2.configurationFile={folder / 'log4j2.properties'}",
        "-cp", os.pathsep.join(map(str, jars)),
        "org.apache.kafka.connect.cli.ConnectStandalone", str(worker),
    ]  # fmt: skip
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, cwd=folder
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            with suppress(OSError, RuntimeError):  # at first it answers with errors
                _ask(f"{address}/connectors")
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no Connect worker: {last_line(log.read_text())}")
            time.sleep(0.2)
        yield address
    finally:
        process.kill()  # its files are in folders that are removed anyway
        process.wait()


def _create_control_topic(settings: KafkaSettings, name: str) -> None:
    from kafka import KafkaAdminClient
    from kafka.admin import NewTopic

    admin = KafkaAdminClient(**arguments(settings))
    admin.create_topics([NewTopic(name, 1, 1)])
    admin.wait_for_topics([name])
    admin.close()


def _sink(
    settings: KafkaSettings, target: Lake, topic: str, relation: str, name: str
) -> Mapping[str, str]:
    return {
        "connector.class": "org.apache.iceberg.connect.IcebergSinkConnector",
        "tasks.max": "1",
        "topics": topic,
        "iceberg.tables": relation,
        "iceberg.tables.auto-create-enabled": "false",
        "iceberg.control.topic": name,
        "iceberg.control.commit.interval-ms": "2000",
        "iceberg.kafka.bootstrap.servers": settings.bootstrap_servers,
        "iceberg.catalog": target.name,
        "iceberg.catalog.type": "jdbc",
        "iceberg.catalog.uri": f"jdbc:sqlite:{target.catalog_path}",
        "iceberg.catalog.warehouse": str(target.warehouse),
        "iceberg.catalog.jdbc.schema-version": "V1",
    }


def _ask(address: str, method: str = "GET", content: Mapping[str, str] | None = None) -> Any:
    """The answer of the worker's REST API."""
    data = json.dumps(content).encode() if content else None
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(address, data, headers, method=method)
    # Ignore proxy settings: the worker runs on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        said = " ".join(error.read().decode().split())
        raise RuntimeError(f"Connect answers {error.code}: {said[:300]}") from error


def _until_all_arrived(target: Lake, relation: str, events: int, status: str) -> float:
    """Waits for the last event; returns the time when it was seen."""
    rows, changed = 0, time.monotonic()
    while True:
        commits = _commits(target, relation)
        now = commits[-1][1] if commits else 0
        if now >= events:
            return time.time()
        if now > rows:
            rows, changed = now, time.monotonic()
        if time.monotonic() - changed > PATIENCE:
            raise RuntimeError(f"stuck at {rows} of {events} rows")
        for task in _ask(status)["tasks"]:
            if task["state"] == "FAILED":
                causes = [each for each in task["trace"].splitlines() if "Caused by" in each]
                raise RuntimeError(f"its task failed: {causes[-1] if causes else task['trace']}")
        time.sleep(0.2)


def _commits(target: Lake, relation: str) -> list[tuple[float, int]]:
    """The time of each commit, and the number of rows in the table after it."""
    table = target.load(relation)
    assert table is not None
    return [
        (each.timestamp_ms / 1000, int(each.summary["total-records"]))
        for each in table.metadata.snapshots
        if each.summary
    ]


# dlt

_DLT = ("dlt[filesystem,parquet]==1.31.0", "confluent-kafka==2.16.1")
_DLT_PROGRAM = '''
"""Lands a topic as Parquet files with dlt; prints the seconds."""

import sys
import time

import dlt
import orjson
from confluent_kafka import Consumer, TopicPartition

servers, topic, folder = sys.argv[1:]


@dlt.resource(name="purchases")
def events():
    offsets = dlt.current.resource_state().setdefault("offsets", {})
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "peer"})
    places = [
        TopicPartition(topic, each, offsets.get(str(each), 0))
        for each in consumer.list_topics(topic).topics[topic].partitions
    ]
    ends = {str(each.partition): consumer.get_watermark_offsets(each)[1] for each in places}
    consumer.assign(places)
    while any(offsets.get(each, 0) < end for each, end in ends.items()):
        batch = []
        for message in consumer.consume(10_000, 3):
            if message.error():
                raise RuntimeError(str(message.error()))
            batch.append(orjson.loads(message.value()))
            offsets[str(message.partition())] = message.offset() + 1
        yield batch
    consumer.close()


pipeline = dlt.pipeline(
    "peer",
    pipelines_dir=folder + "/pipelines",
    destination=dlt.destinations.filesystem("file://" + folder + "/files"),
    dataset_name="landed",
)
started = time.perf_counter()
pipeline.run(events(), loader_file_format="parquet")
print(time.perf_counter() - started)
'''


def dlt(settings: KafkaSettings, topic: str) -> Measured:
    """dlt to Parquet files, from a resource modelled on dlt's verified source `kafka`.

    The code of that source is not in a package registry. This resource also consumes batches
    with confluent-kafka, parses JSON, and keeps offsets in dlt's state. Its batches are larger
    and it adds no columns for Kafka's metadata; both favour dlt. dlt infers the types; all other
    settings are dlt's defaults.
    """
    events = events_in(settings, topic)
    python = environment(_DLT[0].replace("[filesystem,parquet]==", "-"), [*_DLT]) / "python"
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "program.py"
        program.write_text(_DLT_PROGRAM)
        done = subprocess.run(
            [str(python), str(program), settings.bootstrap_servers, topic, folder],
            capture_output=True, text=True, check=False, cwd=folder,
            env={**os.environ, "DLT_DATA_DIR": folder, "RUNTIME__DLTHUB_TELEMETRY": "false"},
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(last_line(done.stderr))
        seconds = float(done.stdout.splitlines()[-1])
        check(f"read_parquet('{folder}/files/landed/purchases/*.parquet')", events, {})
    return {"rate": events / seconds}


# All together

PEERS: dict[str, Callable[[KafkaSettings, str], Measured]] = {
    "Spark Structured Streaming": spark,
    "Iceberg Kafka Connect sink": connect,
    "dlt to Parquet": dlt,
}
AIMS = {
    "Spark Structured Streaming": {"kafka-python": 1.3, "confluent-kafka": 4},
    "Iceberg Kafka Connect sink": {"kafka-python": 0.75, "confluent-kafka": 2},
    "dlt to Parquet": {"kafka-python": 2.5, "confluent-kafka": 7},
}


def measured(settings: KafkaSettings, name: str, topic: str) -> Measured:
    """Measures one peer in separate processes, and removes all its files afterwards.

    Raises:
        RuntimeError: the measurement failed, or took longer than `LIMIT`.
    """
    folder = tempfile.mkdtemp(prefix="mesh-bench-")
    java = f"{os.environ.get('JAVA_TOOL_OPTIONS', '')} -Djava.io.tmpdir={folder}".strip()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.peers", settings.bootstrap_servers, name, topic],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": folder, "JAVA_TOOL_OPTIONS": java},
        start_new_session=True,
    )  # fmt: skip
    try:
        output, errors = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"not finished after {LIMIT:g} s") from error
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # including its child processes
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)
    if process.returncode:
        raise RuntimeError(re.sub(r"^[\w.]+: ", "", last_line(errors)))  # the message only
    return json.loads(output.splitlines()[-1])


def in_turns(
    settings: KafkaSettings, names: Iterable[str], topic: str, rounds: int
) -> dict[str, Measured]:
    """Measures the mesh's clients and the peers alternately; returns the median run of each.

    A peer that fails is not measured again; its result is `failed` with the reason.
    """
    runs: dict[str, list[Measured]] = {name: [] for name in names}
    failed: dict[str, Measured] = {}
    for _ in range(rounds):
        for name, before in runs.items():
            if name in CLIENTS:
                before.append(kafka.measured(settings, "landed", name, topic))
            elif name not in failed:
                try:
                    before.append(measured(settings, name, topic))
                except RuntimeError as error:
                    failed[name] = {"failed": str(error)}
    medians = {
        name: sorted(each, key=lambda run: run["rate"])[len(each) // 2]
        for name, each in runs.items()
        if each
    }
    return medians | failed


def rows(
    settings: KafkaSettings, landed: Mapping[str, float], topic: str = CLEAN, rounds: int = ROUNDS
) -> Iterator[Row]:
    """Rows of the table: what, measured, beside, ratio, aim.

    Args:
        settings: the settings of the broker.
        landed: the mesh's rate with each client, for the same topic.
        topic: a topic that `benchmarks.kafka.fill` created.
        rounds: how often each peer is measured.
    """
    yield from _rows(landed, in_turns(settings, PEERS, topic, rounds))


def _rows(landed: Mapping[str, float], peers: Mapping[str, Measured]) -> Iterator[Row]:
    for peer, aims in AIMS.items():
        found = peers[peer]
        if "failed" in found:
            yield f"landed beside {peer}", f"not measured: {found['failed']}", "", "", ""
            continue
        basis = f" ({found['basis']})" if "basis" in found else ""
        for client, aim in aims.items():
            yield (
                f"{client}: landed beside {peer}",
                f"{landed[client]:,.0f}/s",
                f"{peer}: {found['rate']:,.0f}/s{basis}",
                f"{landed[client] / found['rate']:.2f}",
                f"at least {aim}",
            )


def main() -> None:
    """Prints the table; with two or more arguments, runs one measurement for it."""
    if len(sys.argv) > 2:
        settings = KafkaSettings({"bootstrap.servers": sys.argv[1]})
        print(json.dumps(PEERS[sys.argv[2]](settings, sys.argv[3])))
        return
    events = int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS
    # After SIGTERM, clean up as after an error.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = Path(tempfile.mkdtemp(prefix="mesh-bench-"))
    os.environ["TMPDIR"] = str(folder)  # child processes may be killed before they clean up
    broker = Broker(folder)
    try:
        broker.start(port=0)
        settings = KafkaSettings({"bootstrap.servers": broker.status().bootstrap_servers})
        fill(settings, CLEAN, events)
        found = in_turns(settings, [*CLIENTS, *PEERS], CLEAN, ROUNDS)
        landed = {client: found[client]["rate"] for client in CLIENTS}
        print(f"{events:,} events")
        for row in _rows(landed, found):
            print(" | ".join(row), flush=True)
    finally:
        broker.stop()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
