"""A real MariaDB server, from Debian's package `mariadb-server-core`.

Belongs here: starting and stopping it. Not here: what a test keeps in it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_NOBODY = 65534
_NEEDED = bool(os.environ.get("MESH_TESTS_NEED_MARIADB"))
_TABLES = Path("/usr/share/mysql")
_QUICK = (
    "--innodb-buffer-pool-size=16M", "--innodb-flush-log-at-trx-commit=0", "--skip-log-bin",
    "--skip-name-resolve", "--bind-address=127.0.0.1",
)  # fmt: skip


@dataclass(frozen=True)
class Mariadb:
    """A running server."""

    port: int
    password: str

    @property
    def url(self) -> str:
        """The connection, as an extraction reads it."""
        return f"mysql://mesh:{self.password}@127.0.0.1:{self.port}"

    def do(self, *statements: str) -> list[tuple]:
        """Executes statements in one transaction; returns the rows of the last."""
        import pymysql

        with pymysql.connect(host="127.0.0.1", port=self.port, user="mesh",
                             password=self.password, charset="utf8mb4") as connection:  # fmt: skip
            with connection.cursor() as cursor:
                for each in statements:
                    cursor.execute(each)
                rows = list(cursor.fetchall())
            connection.commit()
            return rows


@contextmanager
def running() -> Iterator[Mariadb]:
    """Starts a server on a free port of this machine; skips the test if it is not installed."""
    program = shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        reason = "no MariaDB: `make mariadb` installs Debian's mariadb-server-core"
        assert not _NEEDED, reason
        pytest.skip(reason)
    # Not pytest's folder: only its owner can open that, and the server does not run as root.
    folder = Path(tempfile.mkdtemp(prefix="maria", dir="/tmp"))
    folder.chmod(0o755)
    data = folder / "data"
    data.mkdir()
    server = Mariadb(_free_port(), secrets.token_hex(8))
    users = folder / "users.sql"
    users.write_text(
        f"create user mesh@'127.0.0.1' identified by '{server.password}';\n"
        "grant all on *.* to mesh@'127.0.0.1' with grant option;\n"
    )
    if os.geteuid() == 0:
        os.chown(data, _NOBODY, _NOBODY)
        os.chown(users, _NOBODY, _NOBODY)
    nobody = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    # The folder for temporary files may be closed to the user of the server.
    base = [program, "--no-defaults", f"--datadir={data}", f"--tmpdir={data}"]
    tables = [_TABLES / "mysql_system_tables.sql", _TABLES / "mysql_system_tables_data.sql"]
    script = "create database mysql;\nuse mysql;\n" + "".join(each.read_text() for each in tables)
    made = subprocess.run([*base, "--bootstrap"], input=script, check=False, text=True, cwd="/tmp",
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **nobody)  # fmt: skip
    assert made.returncode == 0, made.stdout
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen(
            [*base, *_QUICK, f"--port={server.port}", f"--socket={data}/s", f"--init-file={users}"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/tmp", **nobody,
        )  # fmt: skip
    try:
        _wait(running, folder / "log")
        yield server
    finally:
        running.kill()
        running.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait(running: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + 60
    while "ready for connections" not in log.read_text():  # its port is open before
        assert running.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]
