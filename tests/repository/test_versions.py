"""Each version of a model publishes, and is checked against, its own declaration."""

from __future__ import annotations

import pytest

from meshhouse.engines import engine
from meshhouse.errors import MeshError
from meshhouse.lint import check
from meshhouse.repository import Product
from meshhouse.runs.publication import rollback
from tests.conftest import Mesh
from tests.support.engines_help import land_new, run

PRODUCTS = "domains/shop/models/products"
VERSIONS = """\
    latest_version: 2
    versions:
      - v: 1
        config: {meta: {grain: [order_id, customer_id]}}
      - v: 2
        description: What was bought, and where. One row per order.
        columns:
          - include: all
            exclude: [customer_id]
          - {name: store_id, data_type: integer, description: The store.}
          - {name: amount, data_type: "decimal(14,2)", description: What was paid.}
      - v: 3
        config: {access: protected}
        columns:
          - include: [order_id]
"""
SECOND = """\
select
    cast(sale_id as bigint) as order_id,
    cast(amount as decimal(14, 2)) as amount,
    cast(sold_at as {{ type_timestamptz() }}) as sold_at,
    cast(7 as integer) as store_id
from {{ ref('stg_sales') }}
"""


def version_orders(mesh: Mesh, versions: str = VERSIONS) -> None:
    folder = mesh.root / PRODUCTS
    for path in (*folder.glob("totals.*"), *folder.glob("orders*.sql")):
        if path.name != "orders.sql":
            path.unlink()
    declared = folder / "orders.yml"
    text = declared.read_text()
    declared.write_text(text[: text.index("unit_tests:")] + versions)


def version_files(mesh: Mesh) -> None:
    folder = mesh.root / PRODUCTS
    first, checks = folder / "orders.sql", folder / "orders.checks.yml"
    (folder / "orders_v3.sql").write_text("select cast(sale_id as bigint) as order_id\n"
                                          "from {{ ref('stg_sales') }}\n")  # fmt: skip
    (folder / "orders_v2.sql").write_text(SECOND)
    (folder / "orders_v2.checks.yml").write_text(checks.read_text())
    grain = "checks:\n  - duplicate: {columns: [order_id, customer_id]}\n"
    (folder / "orders_v1.checks.yml").write_text(checks.read_text().replace("checks:\n", grain, 1)
        if checks.read_text().startswith("checks:") else
        checks.read_text().replace("\nchecks:\n", f"\n{grain}", 1))  # fmt: skip
    checks.unlink()
    first.rename(folder / "orders_v1.sql")


def names(product: Product | None) -> list[str]:
    assert product is not None
    return [column.name for column in product.columns]


def test_each_version_publishes_the_columns_that_it_declares_and_is_rolled_back_within(mesh):
    mesh.sell(1, 2)
    land_new(mesh)
    assert run(mesh, "shop", "local").outcome == "published"
    version_orders(mesh)
    version_files(mesh)
    shop = mesh.repository.domain("shop")
    assert [each.name for each in shop.products] == ["orders_v1", "orders"]
    first, second = shop.products
    assert names(first) == ["order_id", "customer_id", "amount", "sold_at"]
    assert names(second) == ["order_id", "amount", "sold_at", "store_id"]
    assert second.columns[1].data_type == "decimal(14,2)"
    assert (first.grain, second.grain) == (("order_id", "customer_id"), ("order_id",))
    assert second.description.startswith("What was bought, and where.")
    in_shop = mesh.root / "domains/shop"
    assert [str(each) for each in check(mesh.repository) if in_shop in each.path.parents] == []

    done = run(mesh, "shop", "local")
    assert done.products == {"orders_v1": "published", "orders": "published"}, done.message
    rows = mesh.query("select * from shop.orders order by order_id")
    assert list(rows[0]) == ["order_id", "amount", "sold_at", "store_id"]
    assert list(mesh.query("select * from shop.orders_v1")[0]) == names(first)

    # Before, `shop.orders` was version 1. Its columns must not come back under version 2.
    chosen = engine(mesh.repository)
    with pytest.raises(MeshError, match="shows version 2, and the publication before is of versi"):
        rollback(chosen, chosen.ledger, second)
    assert mesh.query("select * from shop.orders order by order_id") == rows
    assert run(mesh, "shop", "local", force=True).outcome == "published"
    assert rollback(chosen, chosen.ledger, second)["version"] == 2


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
