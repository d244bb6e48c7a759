"""Dagster's home folder and its settings: whose they are, and when they are written."""

from __future__ import annotations

import os

import pytest
import yaml

from meshhouse.dagster.home import dagster_home, unused_home
from meshhouse.errors import UsageError

OLD = """\
# Written by Meshhouse. Nothing about the use of this mesh leaves the machine.
telemetry:
  enabled: false
# No question for an e-mail address on the first visit.
nux:
  enabled: false
"""


def settings(mesh) -> str:
    return (mesh.home / "dagster" / "dagster.yaml").read_text()


def test_runs_wait_for_cores_and_nothing_leaves_the_machine(mesh, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert dagster_home(mesh.repository) == mesh.home / "dagster"
    written = yaml.safe_load(settings(mesh))
    assert written["concurrency"]["runs"] == {"max_concurrent_runs": 2}
    assert written["concurrency"]["pools"] == {"default_limit": 1, "granularity": "op"}
    assert written["telemetry"] == written["nux"] == {"enabled": False}


def test_settings_that_nobody_edited_are_upgraded_and_follow_the_machine(mesh, monkeypatch):
    home = dagster_home(mesh.repository)
    (home / "dagster.yaml").write_text(OLD)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    dagster_home(mesh.repository)
    assert "max_concurrent_runs: 4" in settings(mesh)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    dagster_home(mesh.repository)
    assert "max_concurrent_runs: 8" in settings(mesh)
    assert "default_limit: 4" in settings(mesh)


@pytest.mark.parametrize("edit", ["# mine\n", "run_retries:\n  enabled: true\n"])
def test_settings_that_a_user_edited_are_never_touched(mesh, monkeypatch, edit):
    home = dagster_home(mesh.repository)
    for text in (OLD + edit, settings(mesh) + edit):
        (home / "dagster.yaml").write_text(text)
        monkeypatch.setattr(os, "cpu_count", lambda: 16)
        dagster_home(mesh.repository)
        assert settings(mesh) == text


def test_a_users_home_counts_in_production_and_is_not_written_to(mesh, monkeypatch, tmp_path):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    before = sorted(tmp_path.iterdir())
    assert dagster_home(mesh.repository) == tmp_path
    assert sorted(tmp_path.iterdir()) == before
    assert unused_home(mesh.repository) == ""


def test_an_environment_keeps_its_own_home_and_says_so(mesh, monkeypatch, tmp_path):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("MESH_ENV", "pr1")
    home = dagster_home(mesh.repository)
    assert home.is_relative_to(mesh.home)
    assert home != mesh.home / "dagster"
    assert f"They are recorded in {home}" in unused_home(mesh.repository)
    monkeypatch.setenv("DAGSTER_HOME", str(home))  # as in a process that `mesh dev` started
    assert unused_home(mesh.repository) == ""


@pytest.mark.parametrize("value", ["relative/folder", "/nowhere/at/all"])
def test_a_home_that_is_no_folder_is_refused(mesh, monkeypatch, value):
    monkeypatch.setenv("DAGSTER_HOME", value)
    with pytest.raises(UsageError, match=f"DAGSTER_HOME is `{value}`"):
        dagster_home(mesh.repository)
