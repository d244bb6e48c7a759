"""The assets of a domain's models show at least what dagster-dbt shows of the same manifest."""

from __future__ import annotations

import json

import dagster as dg
import pytest
from dagster_dbt import DagsterDbtTranslator

from meshhouse.dagster.domain import domain_assets
from meshhouse.dagster.reporter import Silent
from meshhouse.dagster.settings import Settings
from meshhouse.repository.manifest_file import manifest_path
from tests.conftest import Mesh


@pytest.fixture(scope="module")
def both(new_mesh) -> dict[str, tuple[dg.AssetSpec, dg.AssetSpec]]:
    """Name of each model -> the asset of the mesh, and the one of dagster-dbt."""
    mesh: Mesh = new_mesh()
    domain = mesh.repository.domain("shop")
    [_, step] = domain_assets(mesh.repository, domain, Settings(), Silent())
    own = {each.key.path[-1]: each for each in step.specs}
    manifest = json.loads(manifest_path(mesh.repository, "shop").read_text())
    translator = DagsterDbtTranslator()
    return {
        node["name"]: (
            own[f"build.{node['name']}"], translator.get_asset_spec(manifest, identifier, None)
        )
        for identifier, node in manifest["nodes"].items()
        if node["resource_type"] == "model" and node["package_name"] == "shop"
    }  # fmt: skip


def test_every_model_is_an_asset(both):
    assert set(both) == {"stg_sales", "orders", "totals"}


def test_descriptions_code_tags_and_kinds_are_those_of_dagster_dbt(both):
    for name, (own, reference) in both.items():
        described = (reference.description or "").partition("\n")[0]
        assert (own.description or "").startswith(described) or not described, name
        assert bool(own.code_version) == bool(reference.code_version), name
        assert reference.kinds - {"table", "view"} <= own.kinds, name
        ours = {tag for tag in own.tags if not tag.startswith("dagster/kind")}
        assert {tag for tag in reference.tags if not tag.startswith("dagster/kind")} <= ours, name


def test_an_asset_reads_as_many_assets_as_dagster_dbt_says(both):
    for name, (own, reference) in both.items():
        assert len(own.deps) == len(reference.deps), name
        tails = {each.asset_key.path[-1].rpartition(".")[2] for each in own.deps}
        assert tails == {each.asset_key.path[-1] for each in reference.deps}, name


def test_columns_and_materialization_are_there(both):
    for name, (own, reference) in both.items():
        materialized = reference.metadata["dagster-dbt/materialization_type"]
        assert own.metadata["materialized"] == materialized, name
        columns = reference.metadata.get("dagster/column_schema")
        if columns is not None:
            shown = {each.name for each in own.metadata["dagster/column_schema"].columns}
            assert {each.name for each in columns.columns} <= shown, name
