"""Runs of the tiny mesh in the tests' process, which has a Spark session."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshhouse.engines import engine
from meshhouse.lake.views import plain_path
from meshhouse.landing import LakeStore, land_table
from meshhouse.runs.outcome import DomainRun
from meshhouse.runs.run import run_domain
from tests.conftest import Mesh


def land_new(mesh: Mesh) -> None:
    repository = mesh.repository
    for raw in repository.domain("shop").raw_tables:
        land_table(repository, LakeStore(engine(repository).lake), raw)


def run(mesh: Mesh, domain: str, target: str = "spark", **options) -> DomainRun:
    """Runs a domain in this process, which has the tests' Spark session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MESH_TARGET", target)
        repository = mesh.repository
        # Tests edit models as they please; tests/runs/test_gate.py is about what is refused.
        options.setdefault("confirmed", "a test")
        return run_domain(repository, engine(repository), repository.domain(domain), **options)


def run_local(mesh: Mesh, domain: str, *products: str, **options) -> DomainRun:
    """Runs a domain, or some of its products, on target `local` in this process."""
    return run(mesh, domain, "local", products=products or None, **options)


def published(done: DomainRun) -> list[str]:
    """Names of the products that a successful run has published."""
    assert done.ok, done.message
    return sorted(entry["product"] for entry in done.published)


def data_files(mesh: Mesh, relation: str) -> list[Path]:
    table = engine(mesh.repository).lake.load(relation)
    return [Path(plain_path(task.file.file_path)) for task in table.scan().plan_files()]
