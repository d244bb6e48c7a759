"""Assets link to their pages in the catalog, and the catalog knows the addresses of assets."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from meshhouse.catalog import paths
from meshhouse.dagster.links import linked_column
from meshhouse.dagster.mesh import mesh_assets
from meshhouse.dagster.settings import Settings
from meshhouse.errors import UsageError
from meshhouse.repository import Repository
from tests.conftest import Mesh


def links(repository: Repository) -> dict[str, str | None]:
    """Asset -> what it says of the catalog."""
    specs = [
        spec for each in mesh_assets(repository, Settings(follows=None)) for spec in each.specs
    ]
    said = {spec.key.to_user_string(): spec.metadata.get("catalog") for spec in specs}
    return {key: getattr(value, "value", value) for key, value in said.items()}


def test_products_and_raw_tables_link_to_their_pages(mesh: Mesh, monkeypatch):
    monkeypatch.setenv("MESH_CATALOG_URL", "https://catalog.example/mesh/")
    found = links(mesh.repository)
    orders, sales = "products/shop/orders.html", "topics/shop/sales.html"
    assert found["shop/orders"] == f"https://catalog.example/mesh/{orders}"
    assert found["shop/raw.sales"] == f"https://catalog.example/mesh/{sales}"
    assert found["shop/build.orders"] is None


def test_nothing_links_to_a_catalog_that_is_not_published(mesh: Mesh, monkeypatch):
    monkeypatch.delenv("MESH_CATALOG_URL", raising=False)
    assert not any(links(mesh.repository).values())
    [orders, *_] = mesh.repository.domain("shop").products
    assert linked_column(orders, "order_id") == "order\\_id"
    assert paths.product_asset("shop.orders") is None
    assert paths.topic_asset("shop", "sales") is None


@pytest.mark.parametrize("address", ["catalog.example", "javascript:alert(1)", "//catalog.example"])
def test_a_wrong_address_is_shown_where_the_link_would_be(mesh: Mesh, monkeypatch, address):
    monkeypatch.setenv("MESH_CATALOG_URL", address)
    said = f"MESH_CATALOG_URL must begin with https://, http://, file://, but is `{address}`."
    found = links(mesh.repository)
    assert found["shop/orders"] == found["shop/raw.sales"] == said
    [orders, *_] = mesh.repository.domain("shop").products
    assert linked_column(orders, "order_id") == "order\\_id"
    monkeypatch.setenv("MESH_DAGSTER_URL", address)
    with pytest.raises(UsageError, match="MESH_DAGSTER_URL must begin with"):
        paths.product_asset("shop.orders")


def test_the_catalog_knows_the_address_of_every_product_and_raw_table(mesh: Mesh, monkeypatch):
    monkeypatch.setenv("MESH_DAGSTER_URL", "https://dagster.example/prefix/")
    repository = mesh.repository
    known = set()
    for domain in repository.domains:
        known |= {paths.product_asset(each.relation) for each in domain.products}
        known |= {paths.topic_asset(domain.name, each.name) for each in domain.raw_tables}
    # Dagster's page shows an asset at the parts of its key.
    assert {urlsplit(str(each)).path.removeprefix("/prefix/assets/") for each in known} == {
        key for key in links(repository) if "/build." not in key
    }


def test_the_name_of_a_column_is_text_wherever_it_is_shown(mesh: Mesh, monkeypatch):
    monkeypatch.setenv("MESH_CATALOG_URL", "https://catalog.example")
    [orders, *_] = mesh.repository.domain("shop").products
    assert linked_column(orders, "a](http://x) |b>") == (
        "[a\\]\\(http\\://x\\) \\|b\\>]"
        "(<https://catalog.example/products/shop/orders.columns.html#a%5D%28http%3A//x%29%20%7Cb%3E>)"
    )
