"""A real Cassandra server, from its jars and the Java of a Python wheel.

Belongs here: starting and stopping it. Not here: what sinks store in it.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshhouse.java import fetch_jars, find_java
from tests.support.postgres_here import _free_port

_JARS = Path(__file__).with_name("cassandra_jars.txt")
_SECONDS = 180
_SETTINGS = """\
cluster_name: mesh
num_tokens: 1
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
commitlog_sync: periodic
commitlog_sync_period: 10000ms
commitlog_total_space: 64MiB
memtable_heap_space: 64MiB
memtable_offheap_space: 64MiB
key_cache_size: 1MiB
endpoint_snitch: SimpleSnitch
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters: [{{seeds: "127.0.0.1:{gossip}"}}]
listen_address: 127.0.0.1
storage_port: {gossip}
rpc_address: 127.0.0.1
native_transport_port: {port}
auto_bootstrap: false
authenticator: PasswordAuthenticator
authorizer: AllowAllAuthorizer
client_encryption_options:
  enabled: true
  optional: true
  keystore: {keys}
  keystore_password: secret
  store_type: PKCS12
"""
_LOG = """\
<configuration><appender name="E" class="ch.qos.logback.core.ConsoleAppender"><encoder>
<pattern>%level %logger{0} %msg%n</pattern></encoder></appender>
<root level="WARN"><appender-ref ref="E"/></root></configuration>
"""
# What Cassandra's conf/jvm17-server.options opens, as far as a server for tests needs it.
_OPENS = (
    "java.base/java.io", "java.base/java.lang", "java.base/java.lang.module",
    "java.base/java.lang.reflect", "java.base/java.net", "java.base/java.nio",
    "java.base/java.util", "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic", "java.base/jdk.internal.loader",
    "java.base/jdk.internal.math", "java.base/jdk.internal.misc", "java.base/jdk.internal.module",
    "java.base/jdk.internal.ref", "java.base/jdk.internal.reflect", "java.base/sun.nio.ch",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry", "java.rmi/sun.rmi.server", "java.rmi/sun.rmi.transport.tcp",
    "jdk.management/com.sun.management.internal",
)  # fmt: skip


@dataclass(frozen=True)
class Cassandra:
    """A running server with the user `cassandra` and the keyspace `shop`."""

    port: int
    certificate: Path
    """That of the server, which signed it itself. Connections may be encrypted or not."""

    @property
    def connection(self) -> str:
        """As a sink's environment variable has it."""
        return f"cassandra://cassandra:cassandra@127.0.0.1:{self.port}"

    def query(self, cql: str) -> list[Any]:
        """Rows of a query."""
        from cassandra.auth import PlainTextAuthProvider
        from cassandra.cluster import Cluster

        user = PlainTextAuthProvider("cassandra", "cassandra")
        cluster = Cluster(["127.0.0.1"], port=self.port, auth_provider=user)
        try:
            return [tuple(each) for each in cluster.connect().execute(cql)]
        finally:
            cluster.shutdown()


@contextmanager
def running() -> Iterator[Cassandra]:
    """Starts a server on free ports of this machine, and stops it at the end."""
    jars = fetch_jars("cassandra-5.0.4", _JARS.read_text(), "`pip install jgo`")
    java = find_java("Cassandra", (11, 17, 21), "Java 11, 17 or 21", "", bundled=True)
    folder = Path(tempfile.mkdtemp(prefix="cassandra"))
    server = Cassandra(_free_port(), folder / "certificate.pem")
    keys = _certified(server.certificate)
    settings = folder / "cassandra.yaml"
    settings.write_text(_SETTINGS.format(port=server.port, gossip=_free_port(), keys=keys))
    (folder / "logback.xml").write_text(_LOG)
    agent = next(each for each in jars if each.name.startswith("jamm-"))
    command = [
        str(java), "-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
        f"-javaagent:{agent}", "-Djava.security.manager=allow",
        *(part for each in _OPENS for part in ("--add-opens", f"{each}=ALL-UNNAMED",
                                               "--add-exports", f"{each}=ALL-UNNAMED")),
        f"-Dcassandra.config={settings.as_uri()}", f"-Dcassandra.storagedir={folder / 'data'}",
        "-Dcassandra.skip_wait_for_gossip_to_settle=0", "-Dcassandra.initial_token=0",
        "-Dcassandra.ring_delay_ms=1", "-Dcassandra.superuser_setup_delay_ms=0",
        "-cp", ":".join(map(str, [folder, *jars])), "org.apache.cassandra.service.CassandraDaemon",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder
        )
    try:
        _wait(server, process, folder / "log")
        yield server
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _certified(certificate: Path) -> Path:
    """Writes a certificate for 127.0.0.1 and returns the file with it and its key."""
    key, keys = certificate.with_name("key.pem"), certificate.with_name("keys.p12")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", "/CN=cassandra", "-addext",
         "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    subprocess.run(
        ["openssl", "pkcs12", "-export", "-inkey", key, "-in", certificate, "-out", keys,
         "-passout", "pass:secret"],
        check=True, capture_output=True,
    )  # fmt: skip
    return keys


def _wait(server: Cassandra, process: subprocess.Popen[bytes], log: Path) -> None:
    """Waits until the user can connect, and makes the keyspace."""
    from cassandra.cluster import NoHostAvailable

    until = time.monotonic() + _SECONDS
    while True:
        try:
            server.query("create keyspace shop with replication = "
                         "{'class': 'SimpleStrategy', 'replication_factor': 1}")  # fmt: skip
            return
        except NoHostAvailable:
            text = log.read_text(errors="replace")[-2000:]
            assert process.poll() is None, f"Cassandra ended: {text}"
            assert time.monotonic() < until, f"Cassandra does not answer: {text}"
            time.sleep(0.5)
