"""What steps in other processes report, passed on to the reporter of this one.

Belongs here: both ends of the socket. Not here: starting the processes (apart.py), or what a person
sees (cli/run.py).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from meshhouse.dagster.reporter import Reporter
from meshhouse.errors import MeshError, UsageError
from meshhouse.repository import RawTable

if TYPE_CHECKING:
    from meshhouse.landing import Landing
    from meshhouse.runs.outcome import DomainRun


class Relay:
    """A reporter in the process of a step; the other end is in `received`."""

    only_in_dagster = False

    def __init__(self, address: str, force: bool, full_refresh: bool, confirmed: str) -> None:
        self.force = force
        self.full_refresh = full_refresh
        self.confirmed = confirmed
        self._address = address
        self._connection: Connection | None = None

    def landing(self, raw: RawTable) -> Any:  # noqa: D102
        self._send("landing", raw)
        return lambda events: self._send("advance", raw.relation, events)

    def landed(self, landing: Landing) -> None:  # noqa: D102
        self._send("landed", landing)

    def say(self, line: str) -> None:  # noqa: D102
        self._send("say", line)

    def finished(self, run: DomainRun) -> None:  # noqa: D102
        self._send("finished", run)

    def failed(self, domain: str, message: str) -> None:  # noqa: D102
        self._send("failed", domain, message)

    def _send(self, *what: Any) -> None:
        if self._connection is None:
            self._connection = Client(self._address)
        self._connection.send(what)
        # Wait until it is printed: what Dagster records next comes after it.
        if (wrong := self._connection.recv()) is not None:
            is_misuse, message = wrong
            raise UsageError(message) if is_misuse else MeshError(message)


@contextmanager
def received(reporter: Reporter) -> Iterator[str]:
    """Passes on what steps report; yields the address that their relays need.

    The socket is in a folder that only this user can open.
    """
    with TemporaryDirectory(prefix="mesh-run-") as folder:
        address = str(Path(folder, "reports"))
        listener = Listener(address, backlog=64)
        lock = threading.Lock()
        threading.Thread(target=_accept, args=(listener, reporter, lock), daemon=True).start()
        try:
            yield address
        finally:
            listener.close()


def _accept(listener: Listener, reporter: Reporter, lock: threading.Lock) -> None:
    with suppress(OSError):  # closed: the run is over
        while True:
            connection = listener.accept()
            threading.Thread(
                target=_pass_on, args=(connection, reporter, lock), daemon=True
            ).start()


def _pass_on(connection: Connection, reporter: Reporter, lock: threading.Lock) -> None:
    progress: dict[str, Any] = {}
    with suppress(EOFError, OSError), connection:  # the step has ended
        while True:
            name, *values = connection.recv()
            wrong = None
            with lock, suppress(KeyboardInterrupt):  # Ctrl-C: the main thread ends the run
                try:
                    if name == "advance":
                        relation, events = values
                        progress[relation](events)
                    elif name == "landing":
                        progress[values[0].relation] = reporter.landing(values[0])
                    else:
                        getattr(reporter, name)(*values)
                except MeshError as error:  # such as a broker that is away: the step says so
                    wrong = isinstance(error, UsageError), str(error)
            connection.send(wrong)
