"""From the wheel alone to a mesh: `mesh init`, the tutorial, Dagster, and the mesh's own tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.installed import Installed, install
from tests.support.tiny import ROOT
from tests.support.tutorial import steps


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return install(tmp_path_factory.mktemp("installed"))


def test_a_mesh_from_the_wheel_runs_and_loads_in_dagster(installed: Installed, tmp_path: Path):
    mesh = tmp_path / "café mesh"
    installed.run("mesh", "init", str(mesh), folder=tmp_path)
    places = installed.run(
        "python", "-c", "import sys, meshhouse, dbt_meshhouse as plugin\n"
        "print(*sys.path, meshhouse.__file__, plugin.__file__, sep='\\n')", folder=mesh,
    )  # fmt: skip
    assert str(ROOT) not in [each.rstrip("/") for each in places.splitlines()]
    assert places.count(str(installed.folder)) >= 3
    assert "published shop.drink_sales: 4 rows" in installed.run("mesh", "run", folder=mesh)
    assert " 0 findings" in f" {installed.run('mesh', 'check', folder=mesh)}"
    assert '"espresso",12,14,35.00' in installed.run(
        "mesh", "sql", "select * from shop.drink_sales", "--format", "csv", folder=mesh
    )
    # Plain dbt finds the macros of the platform, too.
    built = installed.run(
        "python", "-m", "dbt.cli.main", "build", "--profiles-dir", "../../profiles",
        folder=mesh / "domains" / "shop",
    )  # fmt: skip
    assert "Completed successfully" in built
    validated = installed.run("python", "-m", "dagster", "definitions", "validate", folder=mesh)
    assert "Validation successful for code location orchestration.definitions" in validated
    assert "3 passed" in installed.run("python", "-m", "pytest", "-q", folder=mesh)


def test_the_tutorial_works_as_written(installed: Installed, tmp_path: Path):
    folder, printed = tmp_path, ""
    for step in steps((ROOT / "docs" / "tutorial.md").read_text()):
        if step.kind == "file":
            path = folder / step.note
            path.parent.mkdir(exist_ok=True)
            path.write_text(step.text)
        elif step.kind == "text":
            said = [each for each in step.text.splitlines() if each not in printed]
            assert not said, printed
        elif step.note != "install":
            script = f"set -e\n{step.text}"
            printed = installed.run("bash", "-c", script, folder=folder, code=step.exit_code)
            folder = next(iter(tmp_path.glob("bikes")), tmp_path)
    # Topics without sample events, and the example's removal, leave the mesh's own tests green.
    assert "3 passed" in installed.run("python", "-m", "pytest", "-q", folder=folder)
    shutil.rmtree(folder / "domains" / "shop")
    assert "2 passed, 1 skipped" in installed.run("python", "-m", "pytest", "-q", folder=folder)
