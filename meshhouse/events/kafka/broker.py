"""A real single-node Kafka broker without Docker, for development and tests.

Belongs here: fetching Kafka's jars once, and starting, stopping and inspecting the broker. Not
here: reading topics (source.py), or anything that a production cluster needs.

It is Apache Kafka in KRaft mode: one process is broker and controller. Its files are in
`<home>/kafka`, its jars in the user's cache.
"""

from __future__ import annotations

import os
import random
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from meshhouse.errors import MeshError, UsageError
from meshhouse.java import Progress, fetch_jars, find_java, last_line
from meshhouse.locks import lock

KAFKA_VERSION = "4.1.1"
OLDEST_JAVA = 17
DEFAULT_PORT = 9092
_CHOSEN_PORTS = range(20_000, 32_768)
"""Linux takes the ports of outgoing connections from 32768 on, macOS and Windows from 49152 on."""
_START_SECONDS = 90
_STOP_SECONDS = 30


@dataclass(frozen=True)
class Status:
    """The state of a mesh's broker."""

    running: bool
    bootstrap_servers: str
    pid: int | None
    home: Path

    @property
    def log(self) -> Path:
        """The file with the broker's output."""
        return self.home / "server.log"


class Broker:
    """The broker of one mesh."""

    def __init__(self, home: Path) -> None:
        """`home` is the mesh's data folder; the broker's files are in `home/kafka`."""
        self.home = home / "kafka"
        self._pid_path = self.home / "pid"
        self._port_path = self.home / "port"

    def start(
        self,
        port: int = DEFAULT_PORT,
        progress: Progress = lambda done, all_: None,
        properties: Mapping[str, str] | None = None,
    ) -> bool:
        """Starts the broker and waits until it answers.

        Args:
            port: the port for clients on this machine; 0 chooses a free one.
            progress: called with the number of jars that were fetched.
            properties: broker settings that are added to the defaults, or replace them.

        Returns:
            Whether it was started; False if it was running.

        Raises:
            UsageError: no installed Java can run it, or the port is in use.
            MeshError: its jars cannot be fetched, or it stopped while starting.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        with lock(self.home / "lock"):
            if self.status().running:
                return False
            java = kafkas_java()
            jars = kafkas_jars(progress)
            port = port or _free_port()
            if _answers(port):
                raise UsageError(
                    f"Port {port} is in use by another program. Choose another port: "
                    "`mesh kafka start --port 9192`."
                )
            self._format(java, jars, port, properties or {})
            self._run(java, jars, port)
        return True

    def stop(self) -> bool:
        """Stops the broker; its topics stay. Returns False if it was not running."""
        status = self.status()
        if status.pid is None:
            return False
        os.kill(status.pid, signal.SIGTERM)
        if not _ends_within(status.pid, _STOP_SECONDS):
            self.kill()
        self._pid_path.unlink(missing_ok=True)
        return True

    def kill(self) -> None:
        """Kills the broker without a clean shutdown, as a power failure does."""
        status = self.status()
        if status.pid is not None:
            os.kill(status.pid, signal.SIGKILL)
            _ends_within(status.pid, _STOP_SECONDS)

    def status(self) -> Status:
        """Whether the broker is running, and its address."""
        try:
            pid: int | None = int(self._pid_path.read_text())
            port = int(self._port_path.read_text())
        except (FileNotFoundError, ValueError):
            pid, port = None, DEFAULT_PORT
        if not _is_ours(pid, self.home):
            pid = None
        return Status(
            running=pid is not None and _answers(port),
            bootstrap_servers=f"localhost:{port}",
            pid=pid,
            home=self.home,
        )

    def _format(self, java: Path, jars: list[Path], port: int, more: Mapping[str, str]) -> None:
        controller = _free_port()
        properties = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@localhost:{controller}",
            "listeners": f"PLAINTEXT://localhost:{port},CONTROLLER://localhost:{controller}",
            "advertised.listeners": f"PLAINTEXT://localhost:{port}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(self.home / "data"),
            "num.partitions": "4",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "auto.create.topics.enable": "false",
            # Retention counts from the events' own timestamps, which may be years old.
            "log.retention.ms": "-1",
            **more,
        }
        self._properties.write_text("".join(f"{key}={each}\n" for key, each in properties.items()))
        (self.home / "log4j2.yaml").write_text(_LOG4J)
        if (self.home / "data" / "meta.properties").exists():
            return
        command = [*self._java(java, jars), "kafka.tools.StorageTool"]
        command += ["format", "--cluster-id", _cluster_id(), "--config", str(self._properties)]
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise MeshError(
                f"Kafka's storage in {self.home / 'data'} could not be created: "
                f"{last_line(done.stderr or done.stdout)}"
            )

    def _run(self, java: Path, jars: list[Path], port: int) -> None:
        command = [*self._java(java, jars), "kafka.Kafka", str(self._properties)]
        with (self.home / "server.log").open("ab") as output:
            process = subprocess.Popen(  # noqa: S603
                command, stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                start_new_session=True, cwd=self.home,
            )  # fmt: skip
        self._pid_path.write_text(str(process.pid))
        self._port_path.write_text(str(port))
        if _until(lambda: process.poll() is not None or _answers(port), _START_SECONDS):
            if process.poll() is None:
                return
            self._pid_path.unlink(missing_ok=True)
        else:
            process.kill()
        log = self.home / "server.log"
        raise MeshError(
            f"Kafka did not start: {last_line(log.read_text(errors='replace'))}. "
            f"All of its output is in {log}."
        )

    @property
    def _properties(self) -> Path:
        return self.home / "server.properties"

    def _java(self, java: Path, jars: list[Path]) -> list[str]:
        return [
            str(java), "-Xmx512m", "-Xms128m", "-XX:+UseSerialGC",
            f"-Dlog4j2.configurationFile={self.home / 'log4j2.yaml'}",
            "-cp", os.pathsep.join(map(str, jars)),
        ]  # fmt: skip


def kafkas_java() -> Path:
    """The Java that runs the broker.

    Raises:
        UsageError: there is no Java, or none is new enough.
    """
    return find_java(
        "Kafka", range(OLDEST_JAVA, 1_000), f"Java {OLDEST_JAVA} or newer",
        "Install one and set JAVA_HOME, or run `make kafka`, which installs one.",
        bundled=True,
    )  # fmt: skip


def kafkas_jars(progress: Progress = lambda done, all_: None) -> list[Path]:
    """Kafka's jars; see `meshhouse.java.fetch_jars`."""
    listing = files(__package__).joinpath("jars.txt").read_text()
    return fetch_jars(f"kafka-{KAFKA_VERSION}", listing, "`make kafka`", progress)


def _cluster_id() -> str:
    """A random id in Kafka's format that does not begin like a command-line option."""
    import base64
    import uuid

    while True:
        made = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not made.startswith("-"):
            return made


def _free_port() -> int:
    """A free port below those of outgoing connections.

    From that range, the system could give the port of a stopped broker to a client that tries to
    reach the broker; Linux then connects such a client to itself, and the broker cannot start.
    """
    for port in random.sample(_CHOSEN_PORTS, len(_CHOSEN_PORTS)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("localhost", port))
            return port
    raise MeshError("There is no free port from 20000 to 32767.")


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("localhost", port), timeout=1):
            return True
    except OSError:
        return False


def _is_ours(pid: int | None, home: Path) -> bool:
    """Whether a process is this mesh's broker; another process may have got the same id."""
    if pid is None:
        return False
    try:
        with _reaped(pid):
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return _is_alive(pid) and not Path("/proc").exists()
    return str(home).encode() in command


@contextmanager
def _reaped(pid: int) -> Iterator[None]:
    """Reaps the process if it is a child that has ended; else it would remain as a zombie."""
    with suppress(ChildProcessError):  # started by another process
        os.waitpid(pid, os.WNOHANG)
    yield


def _ends_within(pid: int, seconds: float) -> bool:
    """Waits until a process and all of its threads have ended, so that its port is free.

    The command line of a killed process is empty before its last thread has closed the port: a
    broker that starts at once would find the port in use.
    """
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    except (AttributeError, OSError):  # only Linux since 5.3 has it
        return _until(lambda: not _is_alive(pid), seconds)
    try:
        ended = bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)
    with _reaped(pid):
        return ended


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    """Waits for a condition; False if it did not become true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


_LOG4J = """\
Configuration:
  status: error
  Appenders:
    Console:
      name: STDOUT
      PatternLayout: {pattern: "%d %p %m (%c)%n"}
  Loggers:
    Root:
      level: warn
      AppenderRef: [{ref: STDOUT}]
"""
