"""Versions of `shop.orders` in the tiny mesh.

Belongs here: the files of two versions beside each other. Not here: what tests expect of them.
"""

from __future__ import annotations

from tests.conftest import Mesh

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


def two_versions(mesh: Mesh, latest: int = 2) -> None:
    """Declares versions 1, 2 and a protected 3 of `shop.orders`, with their files.

    If version 1 is the latest, it promises what `shop.orders` promised without versions.
    """
    versions = VERSIONS.replace("latest_version: 2", f"latest_version: {latest}")
    if latest == 1:
        versions = versions.replace(
            "        config: {meta: {grain: [order_id, customer_id]}}\n", ""
        )
    version_orders(mesh, versions)
    version_files(mesh)
