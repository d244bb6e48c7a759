"""`mesh init`: a new mesh in an empty folder, beside other files, or not at all."""

from __future__ import annotations

import stat
from pathlib import Path

from tests.conftest import Mesh


def init(folder: Path, *arguments: str, code: int = 0, **environment: str) -> str:
    folder.parent.mkdir(exist_ok=True)
    done = Mesh(folder).run(
        "init", *(arguments or [str(folder)]), code=code, folder=folder.parent,
        environment=environment,
    )  # fmt: skip
    return done.stderr


def test_a_new_mesh_has_no_finding_and_publishes_a_product(tmp_path):
    folder = tmp_path / "my café's mesh"
    said = init(folder)
    assert "sent     24 sample events to the topic shop.orders" in said
    assert f"  cd '{tmp_path}/my café'\"'\"'s mesh'\n  mesh run\n" in said
    mesh = Mesh(folder)
    assert mesh.run("check").stderr.startswith("0 findings in 2 domains")
    said = mesh.run("run", "--force").stderr  # the root domain has neither topics nor models yet
    assert "not run" not in said
    [espresso] = mesh.query("select * from shop.drink_sales where drink = 'espresso'")
    assert (espresso["orders"], espresso["quantity"], espresso["sales_value"]) == (12, 14, "35.00")
    assert 'name = "my-caf-s-mesh"' in (folder / "pyproject.toml").read_text()
    assert stat.S_IMODE((folder / ".mesh").stat().st_mode) == 0o700


def test_files_that_are_there_stay(tmp_path):
    folder = tmp_path / "mesh"
    folder.mkdir()
    (folder / ".git").mkdir()
    (folder / "LICENSE").write_text("mine")
    init(folder)
    assert (folder / "LICENSE").read_text() == "mine"
    assert (folder / "domains").is_dir()


def test_a_file_is_never_overwritten_and_then_nothing_is_written(tmp_path):
    folder = tmp_path / "mesh"
    folder.mkdir()
    (folder / "README.md").write_text("mine")
    (folder / "tests").symlink_to("nowhere")
    said = init(folder, code=2)
    assert said.splitlines() == [
        "mesh: mesh/README.md exists already, and is never overwritten. Remove it first, or "
        "choose another name."
    ]
    assert sorted(each.name for each in folder.iterdir()) == ["README.md", "tests"]
    (folder / "README.md").unlink()
    assert "mesh: mesh/tests is not a folder" in init(folder, code=2)
    assert [each.name for each in folder.iterdir()] == ["tests"]


def test_a_second_mesh_in_the_same_place_is_refused(tmp_path):
    folder = tmp_path / "mesh"
    init(folder)
    assert "is a mesh already. `mesh new domain NAME` adds a domain" in init(folder, code=2)
    inner = folder / "domains" / "x"
    assert f"{inner} is inside the mesh {folder}." in init(folder, str(inner), code=2)
    assert not inner.exists()


def test_where_nothing_can_be_written_nothing_is_left(tmp_path):
    (tmp_path / "file").write_text("")
    said = init(tmp_path / "x", str(tmp_path / "file" / "mesh"), code=2)
    assert said.startswith("mesh: file is not a folder, so nothing can be written below it.")


def test_a_folder_without_a_name_is_not_the_working_directory(tmp_path):
    """As `mesh init "$FOLDER"` asks for where the variable is not set."""
    assert "FOLDER is empty." in init(tmp_path / "x", "", code=2)
    assert [*tmp_path.iterdir()] == []


def test_events_that_nobody_asked_for_go_nowhere_else(tmp_path):
    home = tmp_path / "home"
    said = init(tmp_path / "mesh", MESH_HOME=str(home))
    assert "sample events" not in said
    assert "  mesh topic create shop.orders\n  mesh topic produce shop.orders domains/" in said
    assert not home.exists()
