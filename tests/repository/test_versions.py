"""What a version of a model declares: its own, over that of the model."""

from __future__ import annotations

import pytest

from meshhouse.lint import check
from meshhouse.repository import Product
from tests.support.versioned import PRODUCTS, version_files, version_orders


def names(product: Product | None) -> list[str]:
    assert product is not None
    return [column.name for column in product.columns]


def test_each_version_has_the_columns_grain_and_description_that_it_declares(mesh):
    version_orders(mesh)
    version_files(mesh)
    shop = mesh.repository.domain("shop")
    assert [each.name for each in shop.products] == ["orders_v1", "orders_v2"]
    first, second = shop.products
    assert names(first) == ["order_id", "customer_id", "amount", "sold_at"]
    assert names(second) == ["order_id", "amount", "sold_at", "store_id"]
    assert second.columns[1].data_type == "decimal(14,2)"
    assert (first.grain, second.grain) == (("order_id", "customer_id"), ("order_id",))
    assert second.description.startswith("What was bought, and where.")
    in_shop = mesh.root / "domains/shop"
    assert [str(each) for each in check(mesh.repository) if in_shop in each.path.parents] == []


@pytest.mark.parametrize(
    ("versions", "line", "problem"),
    [
        ("versions: [{v: beta}]", 0, "version `beta` of model `orders` cannot be used"),
        ("versions: [{v: 2.5}]", 0, "version `2.5` of model"),
        ("versions: [{v: 2.0}]", 0, "version `2.0` of model"),
        ('versions: [{v: "2"}]', 0, "a whole number from 1, without quotation marks"),
        ("versions: [{v: true}]", 0, "version `True` of model"),
        ("versions: [{v: 0}]", 0, "version `0` of model"),
        ("versions: [{v: 1}, {v: -1}]", 0, "version `-1` of model"),
        ("versions: [{v: 1}, {defined_in: orders}]", 0, "version `None` of model"),
        ("versions:\n      - v: 1\n      - v: 1", 2, "declares version 1 twice"),
        ("versions: []", 0, "must be a list of entries such as `v: 1`"),
        ("versions: 3", 0, "must be a list of entries such as `v: 1`"),
        ("versions: [{v: 1}, 2]", 0, "must be a list of entries such as `v: 1`"),
        ("latest_version: 3\n    versions: [{v: 1}, {v: 2}]", 0, "is `3`, but the versions are"),
        ("latest_version: b\n    versions: [{v: 1}, {v: 2}]", 0, "but the versions are 1, 2."),
    ],
)
def test_a_version_must_be_a_whole_number(mesh, versions, line, problem):
    version_orders(mesh, f"    {versions}\n")
    declared = (mesh.root / PRODUCTS / "orders.yml").read_text().splitlines()
    at = declared.index(f"    {versions.splitlines()[0]}") + 1
    [broken] = mesh.repository.broken
    assert any(problem in each.problem and each.line == at + line for each in broken.problems)
    assert any(problem in each.problem and each.line == at + line
               for each in check(mesh.repository))  # fmt: skip
