"""What a domain need not write: settings of models, and the file that hides checks from dbt."""

from __future__ import annotations

import pytest

from meshhouse.lint import check
from meshhouse.repository import Repository
from meshhouse.repository.project import add_defaults
from tests.conftest import Mesh
from tests.support.engines_help import land_new, published, run_local
from tests.support.versioned import two_versions

SHOP = "domains/shop"
PROJECT = "name: shop\nprofile: meshhouse\n"
EVERY = {"+file_format": "iceberg", "+transient": False}


@pytest.fixture
def plain(mesh: Mesh) -> Mesh:
    """The shop with the shortest dbt_project.yml, and without .dbtignore."""
    mesh.write(f"{SHOP}/dbt_project.yml", PROJECT)
    (mesh.root / SHOP / ".dbtignore").unlink()
    return mesh


def test_a_product_is_a_table_and_its_checks_are_not_read_by_dbt(plain):
    mesh = plain
    assert check(mesh.repository) == []
    mesh.sell(1)
    land_new(mesh)
    assert published(run_local(mesh, "shop")) == ["orders", "totals"]
    # A private model becomes a product, in a project that dbt has parsed before.
    mesh.write(f"{SHOP}/models/marts/sums.sql", "select cast(1 as bigint) as one\n")
    mesh.dbt("shop", "parse")
    text = (mesh.root / SHOP / "models/products/totals.yml").read_text()
    mesh.write(
        f"{SHOP}/models/marts/sums.yml",
        text[: text.index("    columns:")].replace("totals", "sums").replace("[orders]", "[one]")
        + "    columns: [{name: one, data_type: bigint, description: One.}]\n",
    )
    assert "sums" in published(run_local(mesh, "shop"))


def test_versions_of_a_product_are_tables(plain):
    mesh = plain
    two_versions(mesh)
    mesh.sell(1)
    land_new(mesh)
    assert published(run_local(mesh, "shop")) == ["orders_v1", "orders_v2"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({}, {"shop": {"products": {"orders": {"+materialized": "table"},
                                    "totals": {"+materialized": "table"}}}}),
        ({"+materialized": "view"}, {"+materialized": "view"}),
        ({"shop": {"materialized": "view"}}, {"shop": {"materialized": "view"}}),
        ({"shop": {"products": {"+materialized": "incremental"}}},
         {"shop": {"products": {"+materialized": "incremental"}}}),
        ({"shop": {"products": {"orders": {"+materialized": "view"}, "totals": {"+tags": "x"}}}},
         {"shop": {"products": {"orders": {"+materialized": "view"},
                                "totals": {"+tags": "x", "+materialized": "table"}}}}),
        ({"shop": None}, {"shop": {"products": {"orders": {"+materialized": "table"},
                                                "totals": {"+materialized": "table"}}}}),
        ({"shop": {"products": "x"}}, {"shop": {"products": "x"}}),
    ],
)  # fmt: skip
def test_settings_of_the_domain_win(mesh, written, expected):
    models = dict(written)
    add_defaults(models, Repository(mesh.root).domain("shop"))
    assert models == {**EVERY, **expected}


def test_a_format_of_the_domain_stays(mesh):
    models = {"file_format": "parquet", "+transient": True, "+materialized": "table"}
    add_defaults(models, Repository(mesh.root).domain("shop"))
    assert models == {"file_format": "parquet", "+transient": True, "+materialized": "table"}


def test_a_product_that_is_a_view_is_a_finding(plain):
    mesh = plain
    mesh.write(f"{SHOP}/dbt_project.yml", f"{PROJECT}models:\n  shop:\n    +materialized: view\n")
    problems = {each.problem for each in check(mesh.repository)}
    assert "product shop.orders is built as `view`; only a table can be published." in problems
