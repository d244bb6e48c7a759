"""A process that lives reads declarations again exactly when one may have changed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from benchmarks.generated import mesh_of
from meshhouse.catalog.declared import Declarations

_AN_HOUR = 3600


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A mesh of two domains, all of whose files are an hour old."""
    mesh_of(tmp_path / "mesh", 2, 1)
    for path in (tmp_path / "mesh").rglob("*"):
        _date(path)
    return tmp_path / "mesh"


def _date(path: Path, ago: float = _AN_HOUR) -> None:
    os.utime(path, (time.time() - ago, time.time() - ago))


def described(declarations: Declarations) -> str:
    [product] = declarations.now().domain("d000").products
    return product.description


def test_unchanged_files_are_not_read_again(root):
    declarations = Declarations(root)
    first = declarations.now()
    assert declarations.now() is first


def test_a_changed_file_is_read_again(root):
    declarations = Declarations(root)
    assert described(declarations) == "One row per id."
    file = root / "domains" / "d000" / "models" / "p0.yml"
    file.write_text(file.read_text().replace("One row per id.", "One row per key."))
    _date(file, _AN_HOUR / 2)
    assert described(declarations) == "One row per key."


def test_a_file_that_changed_just_now_is_read_again_each_time(root):
    declarations = Declarations(root)
    file = root / "domains" / "d000" / "models" / "p0.yml"
    file.touch()
    first = declarations.now()
    assert declarations.now() is not first


def test_a_new_domain_is_seen(root):
    declarations = Declarations(root)
    assert declarations.now().domain_names == ("d000", "d001", "mesh")
    (root / "domains" / "d001").rename(root / "domains" / "d002")
    assert declarations.now().domain_names == ("d000", "d002", "mesh")


def test_a_changed_file_behind_a_linked_folder_is_read_again(root, tmp_path):
    (root / "domains" / "d001").rename(tmp_path / "elsewhere")
    (root / "domains" / "d001").symlink_to(tmp_path / "elsewhere")
    declarations = Declarations(root)
    first = declarations.now()
    assert declarations.now() is first
    _date(tmp_path / "elsewhere" / "models" / "p0.yml", _AN_HOUR / 2)
    assert declarations.now() is not first


def test_folders_outside_the_repository_are_read_each_time(root):
    project = root / "domains" / "d000" / "dbt_project.yml"
    project.write_text(project.read_text() + "macro-paths: [../../../macros]\n")
    _date(project)
    declarations = Declarations(root)
    first = declarations.now()
    assert declarations.now() is not first


def test_a_hidden_folder_of_models_is_read_each_time(root):
    project = root / "domains" / "d000" / "dbt_project.yml"
    project.write_text(project.read_text() + "macro-paths: [.macros]\n")
    _date(project)
    declarations = Declarations(root)
    first = declarations.now()
    assert declarations.now() is not first
