"""The macros of the platform and of the mesh belong to each domain, and no file names them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from dbt_common.exceptions import DbtRuntimeError

import dbt_meshhouse
from meshhouse.repository.project import PLATFORM_MACROS, project_files, shared_macros
from meshhouse.runs.parse import fresh_manifest
from tests.conftest import Mesh

PROJECT = "domains/shop/dbt_project.yml"
TOTALS = "domains/shop/models/products/totals.sql"


def test_a_change_of_a_platform_macro_is_one_of_the_code_wherever_it_is_installed(mesh: Mesh):
    mesh.edit(TOTALS, "count(*)", "count(*) + 0 * {{ days_between(\"date '2026-01-01'\", "
              "\"date '2026-01-01'\") }}")  # fmt: skip
    repository = mesh.repository
    shop = repository.domain("shop")
    [totals] = [each for each in shop.products if each.name == "totals"]
    parts = fresh_manifest(repository, shop).code_parts(totals)
    assert "meshhouse/macros/arithmetic.sql" in parts
    assert PLATFORM_MACROS / "arithmetic.sql" in project_files(repository, shop)


def test_macros_of_the_mesh_are_found_in_plain_dbt_without_a_line_about_them(mesh: Mesh):
    mesh.write("macros/plain_one.sql", "{% macro plain_one() %}1{% endmacro %}\n")
    mesh.edit(TOTALS, "count(*)", "count(*) * {{ plain_one() }}")
    assert "macro-paths" not in (mesh.root / PROJECT).read_text()
    mesh.dbt("shop", "parse")
    # A project may name the folder all the same, as older ones do.
    mesh.edit(PROJECT, "profile:", "macro-paths: [../../macros]\nprofile:")
    mesh.dbt("shop", "parse")


def test_a_mesh_needs_no_macros(tmp_path):
    assert shared_macros(tmp_path) == [PLATFORM_MACROS]


def test_dbt_without_its_command_is_refused_instead_of_parsed_without_macros(mesh, monkeypatch):
    flags = SimpleNamespace(PROJECT_DIR=str(mesh.root / "domains/shop"))
    monkeypatch.setattr(dbt_meshhouse, "get_flags", lambda: flags)
    with pytest.raises(DbtRuntimeError, match="the macros of the platform are missing"):
        dbt_meshhouse.MeshhousePlugin("shop")
    # Another project in the same environment has nothing to do with a mesh.
    assert dbt_meshhouse.MeshhousePlugin("another").get_nodes().models == {}
