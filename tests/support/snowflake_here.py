"""A replacement for Snowflake: fakesnow as a server, which records its statements."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

_PYTHON = Path(sys.prefix, "fakesnow", "bin", "python")
_SERVER = Path(__file__).with_name("fakesnow_server.py")
MISSING = "" if _PYTHON.exists() else "fakesnow is not installed: run `make test`"
needs_snowflake = pytest.mark.skipif(bool(MISSING), reason=MISSING or "Snowflake is here")


@dataclass(frozen=True)
class Snowflake:
    """A server that answers as Snowflake does."""

    port: int
    key_file: Path
    log: Path

    def environment(self, database: str) -> dict[str, str]:
        """The environment variables of a user, for a given database."""
        return {
            "MESH_TARGET": "snowflake",
            "SNOWFLAKE_ACCOUNT": "fakesnow",
            "SNOWFLAKE_USER": "mesh",
            "SNOWFLAKE_PRIVATE_KEY_FILE": str(self.key_file),
            "SNOWFLAKE_DATABASE": database,
            "SNOWFLAKE_HOST": "localhost",
            "SNOWFLAKE_PORT": str(self.port),
            "SNOWFLAKE_PROTOCOL": "http",
        }

    def statements(self) -> list[str]:
        """All statements received so far, oldest first."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


def start(folder: Path) -> tuple[Snowflake, subprocess.Popen[bytes]]:
    """Starts a server; the caller ends its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Snowflake(port, folder / "key.p8", folder / "statements")
    server.key_file.write_bytes(private_key())
    server.log.touch()
    with (folder / "server.log").open("wb") as output:
        process = subprocess.Popen(
            [_PYTHON, _SERVER, str(port), server.log],
            stdout=output,
            stderr=output,
            # A killed server leaves its files of stages; pytest removes this folder.
            env={**os.environ, "TMPDIR": str(folder)},
        )
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return server, process
    process.kill()
    raise RuntimeError((folder / "server.log").read_text())


def private_key() -> bytes:
    """A private key, as a user would make it with openssl."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
