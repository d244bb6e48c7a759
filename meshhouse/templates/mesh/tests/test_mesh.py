"""What must work before a change of this mesh is merged: `make test`.

`domains/<domain>/samples/<raw table>.jsonl` holds sample events. A domain whose raw tables all have
some, and whose upstream domains are such, must publish its products from them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from meshhouse.repository import Domain, RawTable, Repository

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake without tables, every declared topic, and the sample events."""
    folder = tmp_path_factory.mktemp("home")
    tables = [raw for domain in Repository(ROOT).readings for raw in domain.raw_tables]
    for topic in sorted({raw.topic for raw in tables}):
        mesh(folder, "topic", "create", topic)
    for raw in tables:
        if samples(raw).exists():
            mesh(folder, "topic", "produce", raw.topic, str(samples(raw)))
    return folder


def samples(raw: RawTable) -> Path:
    """The file of a raw table's sample events."""
    return ROOT / "domains" / raw.domain / "samples" / f"{raw.name}.jsonl"


def sampled() -> list[Domain]:
    """The domains with products that can be built from sample events alone."""
    found: dict[str, Domain] = {}
    for domain in Repository(ROOT).domains:  # upstream domains come first
        if set(domain.upstream) <= set(found) and all(
            samples(raw).exists() for raw in domain.raw_tables
        ):
            found[domain.name] = domain
    return [domain for domain in found.values() if domain.products]


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
    domains = sampled()
    if not domains:
        pytest.skip("no domain with products has sample events for all of its raw tables")
    mesh(home, "run", *(domain.name for domain in domains))
    status = json.loads(mesh(home, "status", "--json"))
    published = {each["product"] for each in status if each["published_at"]}
    assert {each.relation for domain in domains for each in domain.products} <= published


def test_dagster_loads_every_definition(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_ROOT", str(ROOT))
    monkeypatch.setenv("MESH_HOME", str(home))
    from orchestration.definitions import defs

    dg.Definitions.validate_loadable(defs())
