"""What tests share: a small mesh of their own, and ways to use it as people do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TINY = ROOT / "tests" / "fixtures" / "tiny"


@dataclass(frozen=True)
class Mesh:
    """A repository in a folder of its own, used through the command line."""

    root: Path

    @property
    def home(self) -> Path:
        return self.root / ".mesh"

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MESH_")}
        return {**kept, "MESH_ROOT": str(self.root), "COLUMNS": "200", "NO_COLOR": "1"}

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "meshhouse.cli.main", *arguments]

    def run(self, *arguments: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Runs `mesh ARGUMENTS` in a process of its own; `code` is the expected exit code."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return done

    def query(self, sql: str) -> list[dict]:
        """Rows as consumers see them."""
        return json.loads(self.run("sql", sql, "--format", "json").stdout)

    def send(self, topic: str, events: list[tuple[bytes | None, bytes | None]]) -> None:
        """Writes events (key, value) to a topic of the event log."""
        from meshhouse.events import event_log

        log = event_log(self.home)
        log.create_topic(topic, 2)
        now = int(datetime.now(UTC).timestamp() * 1000)
        log.append_events(topic, [(key, value, now, []) for key, value in events], "test")

    def edit(self, path: str, old: str, new: str) -> None:
        """Replaces text in a file of the repository."""
        file = self.root / path
        text = file.read_text()
        assert old in text, f"{old!r} is not in {path}"
        file.write_text(text.replace(old, new))


def sale(number: int, customer: int = 1, amount: float = 1.5) -> tuple[bytes, bytes]:
    """An event of the tiny mesh's topic `shop.sales`."""
    value = {
        "sale_id": number,
        "customer_id": customer,
        "amount": amount,
        "sold_at": "2017-01-01T12:00:00Z",
    }
    return str(customer).encode(), json.dumps(value).encode()


def make_mesh(folder: Path) -> Mesh:
    """A copy of the tiny mesh, with the real macros and profiles."""
    shutil.copytree(TINY, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("target", "logs"))
    for name in ("macros", "profiles"):
        shutil.copytree(ROOT / name, folder / name, dirs_exist_ok=True)
    return Mesh(folder)


@pytest.fixture
def mesh(tmp_path: Path) -> Mesh:
    """A small mesh with nothing in it: domains shop -> crm -> mesh."""
    return make_mesh(tmp_path / "tiny")


@pytest.fixture(scope="session")
def published_template(tmp_path_factory: pytest.TempPathFactory) -> Mesh:
    mesh = make_mesh(tmp_path_factory.mktemp("template") / "tiny")
    mesh.send("shop.sales", [sale(number, customer=number % 10) for number in range(100)])
    mesh.run("run")
    return mesh
