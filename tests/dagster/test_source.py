"""An asset says where its code is, with file and line."""

from __future__ import annotations

from meshhouse.dagster.source import model_source, product_source
from meshhouse.runs.parse import fresh_manifest


def test_models_and_products_show_their_sql_and_their_files(mesh):
    repository = mesh.repository
    shop = repository.domain("shop")
    model = model_source(repository, shop, fresh_manifest(repository, shop), "model.shop.orders")
    assert "{{ ref('stg_sales') }}" in model["raw SQL"].value
    [sql] = model["dagster/code_references"].code_references
    assert sql.file_path == str(mesh.root / "domains/shop/models/products/orders.sql")
    [orders] = [each for each in shop.products if each.name == "orders"]
    declared, *others = product_source(repository, orders)[
        "dagster/code_references"
    ].code_references
    assert declared.label == f"domains/shop/models/products/orders.yml:{declared.line_number}"
    lines = (mesh.root / "domains/shop/models/products/orders.yml").read_text().splitlines()
    assert lines[declared.line_number - 1].strip() == "- name: orders"
    assert [each.label for each in others] == [
        "domains/shop/models/products/orders.sql:1",
        "domains/shop/models/products/orders.checks.yml:1",
    ]
