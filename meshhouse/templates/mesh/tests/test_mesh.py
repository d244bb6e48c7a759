"""What must work before a change of this mesh is merged: `make test`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = sorted(ROOT.glob("domains/*/samples/*.jsonl"))
"""Events of the topic `<domain>.<file name>`."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty lake with the sample events."""
    folder = tmp_path_factory.mktemp("home")
    for path in SAMPLES:
        topic = f"{path.parents[1].name}.{path.stem}"
        mesh(folder, "topic", "create", topic)
        mesh(folder, "topic", "produce", topic, str(path))
    return folder


def mesh(home: Path, *arguments: str) -> str:
    """Runs `mesh ARGUMENTS` with another lake than `.mesh`, and without a broker."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("KAFKA_")}
    done = subprocess.run(
        [sys.executable, "-m", "meshhouse.cli.main", *arguments],
        cwd=ROOT,
        env={**kept, "MESH_HOME": str(home)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_declarations_have_no_findings(home: Path) -> None:
    mesh(home, "check")


def test_sample_events_become_published_products(home: Path) -> None:
    mesh(home, "run")
    assert mesh(home, "status", "--json").count('"published_at"')


def test_dagster_loads_every_definition(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_ROOT", str(ROOT))
    monkeypatch.setenv("MESH_HOME", str(home))
    from orchestration.definitions import defs

    dg.Definitions.validate_loadable(defs())
