"""What `mesh import` prints is safe for a terminal, and two imports do not meet."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshhouse.errors import MeshError
from meshhouse.locks import lock
from meshhouse.runs.import_project import import_project
from tests.conftest import Mesh
from tests.support.foreign import write


def test_names_of_a_project_cannot_move_the_cursor(mesh: Mesh, tmp_path: Path):
    source = '"a\\e[2J"'
    project = write(
        tmp_path / "hostile",
        {
            "dbt_project.yml": "name: hostile\nprofile: x\n",
            "seeds/raw_a.csv": "a\n1\n",
            "models/s.yml": f"sources:\n  - name: {source}\n    tables: [{{name: raw_a}}]\n",
            "models/a.sql": "select a from {{ ref('raw_a') }}",
        },
    )
    said = mesh.run("import", str(project))
    said = said.stdout + said.stderr
    assert "\\x1b[2J: models read the seeds raw_a" in said
    assert "\x1b" not in said


def test_an_import_waits_for_one_of_another_environment(mesh: Mesh, tmp_path: Path, monkeypatch):
    def say(line: str) -> None:
        raise MeshError(line)

    project = write(tmp_path / "bikes", {"dbt_project.yml": "name: bikes\nprofile: x\n"})
    monkeypatch.setenv("MESH_ENV", "mine")
    with (
        lock(mesh.home / "locks" / "import"),
        pytest.raises(MeshError, match="waiting for another import"),
    ):
        import_project(mesh.repository, project, None, None, say)
