"""Dagster's own tools work in the root of the repository, without arguments."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dagster._core.instance.config import dagster_instance_config

from meshhouse.dagster.origin import MODULE
from tests.conftest import ROOT, Mesh


@pytest.fixture(scope="module")
def checkout(new_mesh) -> Mesh:
    """A small mesh with the pyproject.toml and the orchestration of the real one."""
    mesh = new_mesh()
    mesh.sell(1, 2)
    for name in ("pyproject.toml", "orchestration"):
        (mesh.root / name).symlink_to(ROOT / name)
    mesh.run("prepare")
    return mesh


def tool(mesh: Mesh, *command: str) -> str:
    program = str(Path(sys.executable).with_name(command[0]))
    home = mesh.home / "dagster"
    home.mkdir(exist_ok=True)
    done = subprocess.run(
        [program, *command[1:]],
        cwd=mesh.root,
        env={**mesh.environment, "DAGSTER_HOME": str(home), "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_definitions_validate(checkout):
    assert "Validation successful for code location orchestration.definitions" in tool(
        checkout, "dagster", "definitions", "validate"
    )


def test_dg_check_defs(checkout):
    assert "All definitions loaded successfully" in tool(checkout, "dg", "check", "defs")


def test_dg_launch(checkout):
    tool(checkout, "dg", "launch", "--job", "run_shop")
    assert checkout.row("select count(*) from shop.orders") == (2,)


def test_the_examples_of_the_deployment_page_are_valid(tmp_path, monkeypatch):
    examples = ROOT / "docs" / "deployment"
    settings, _ = dagster_instance_config(str(examples))
    assert settings["concurrency"]["runs"]["max_concurrent_runs"] == 4
    assert yaml.safe_load((examples / "values.yaml").read_text())["postgresql"]["enabled"]
    # `mesh run` gives its runs to this code location.
    values = yaml.safe_load((examples / "values.yaml").read_text())
    [deployment] = values["dagster-user-deployments"]["deployments"]
    assert values["dagsterWebserver"]["workspace"] == {
        "enabled": True,
        "servers": [{"host": deployment["name"], "port": deployment["port"], "name": MODULE}],
    }
    [served] = yaml.safe_load((examples / "workspace.yaml").read_text())["load_from"]
    assert served["grpc_server"]["location_name"] == MODULE
    [template] = (ROOT / "meshhouse" / "templates").glob("mesh/pyproject.toml.j2")
    for project in (template, ROOT / "pyproject.toml"):
        assert f'code_location_name = "{MODULE}"' in project.read_text()
    for unit in examples.glob("*.service"):
        start = next(
            line for line in unit.read_text().splitlines() if line.startswith("ExecStart=")
        )
        program = Path(start.partition("=")[2].split()[0])
        assert os.access(Path(sys.executable).with_name(program.name), os.X_OK)
