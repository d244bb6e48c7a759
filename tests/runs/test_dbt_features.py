"""Features of dbt that the reference calls usable publish the right figures, run after run."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.conftest import Mesh
from tests.support.engines_help import land_new as land
from tests.support.engines_help import published, run_local

FOLDER = "domains/shop/models/products"

KEYED = """{{{{ config(materialized='incremental', {settings}) }}}}
select
    cast(sale_id as bigint) as order_id,
    cast(amount as decimal(12, 2)) as amount,
    cast(landed_at as {{{{ type_timestamptz() }}}}) as landed_at
from {{{{ ref('stg_sales') }}}}
{{% if is_incremental() %}}
where {{{{ landed_since_last_build() }}}}
{{% endif %}}
"""
FROM = """{{{{ config(materialized='table'{settings}) }}}}
select
    cast(order_id as bigint) as order_id,
    cast(amount as decimal(12, 2)) as amount,
    cast(landed_at as {{{{ type_timestamptz() }}}}) as landed_at
from {{{{ ref('{source}') }}}}
"""


def keyed(settings: str) -> str:
    return KEYED.format(settings=settings)


def table_of(source: str, settings: str = "") -> str:
    return FROM.format(source=source, settings=settings)


NEWEST = """select sale_id as order_id, amount, landed_at from (
    select *, row_number() over (partition by sale_id order by landed_at desc) as recency
    from {{ ref('stg_sales') }}
) as sales where recency = 1
"""
PRIVATE = {
    "newest_view": NEWEST,
    "newest_ephemeral": "{{ config(materialized='ephemeral') }}" + NEWEST,
    "newest_table": "{{ config(materialized='table', alias='called_otherwise') }}" + NEWEST,
    "newest_twice": "{{ config(materialized='ephemeral') }}"
    "select * from {{ ref('newest_ephemeral') }}",
    "newest_doubled": "select order_id, amount * factor as amount, landed_at "
    "from {{ ref('newest_view') }} cross join {{ ref('factors') }}",
}
PYTHON = """\
def model(dbt, session):
    dbt.config(materialized="table")
    return dbt.ref("newest_view").filter("order_id > 0")
"""
PRODUCTS = {
    "of_a_view": table_of("newest_view"),
    "of_an_ephemeral_model": table_of("newest_twice"),
    "of_an_aliased_model": table_of("newest_table"),
    "of_a_seed": table_of("newest_doubled"),
    "of_a_python_model": table_of("newest_python"),
    "by_key": keyed("unique_key='order_id', on_schema_change='fail'"),
    "by_list_of_keys": keyed("unique_key=['order_id'], on_schema_change='append_new_columns'"),
    "by_merge": keyed(
        "unique_key='order_id', incremental_strategy='merge', on_schema_change='fail'"
    ),
    "by_replacing": keyed(
        "unique_key='order_id', incremental_strategy=replace_rows_strategy(), "
        "on_schema_change='append_new_columns'"
    ),
    "hooked": table_of("newest_view", ", post_hook='delete from {{ this }} where order_id = 1'"),
    "always_from_nothing": keyed(
        "unique_key='order_id', on_schema_change='fail', full_refresh=true"
    )
    .replace("stg_sales", "newest_view")
    .replace("sale_id", "order_id"),
}
PROPERTIES = """\
  - name: {name}
    description: Newest amounts. One row per order.
    config: {{access: public, group: shop, contract: {{enforced: true}}, meta: {{grain: [order_id]}}}}
    columns:
      - {{name: order_id, data_type: bigint, description: The order.}}
      - {{name: amount, data_type: "decimal(12,2)", description: What was paid.}}
      - {{name: landed_at, data_type: timestamptz, description: When it landed.}}
"""  # noqa: E501 - YAML as people write it
CHECKS = "columns:\n  - {name: order_id, checks: [{missing: null}, {duplicate: null}]}\n"
FIRST = {1: Decimal("1.50"), 2: Decimal("1.50"), 3: Decimal("1.50")}
# Order 2 is corrected, and one lands late whatever its number.
SECOND = {**FIRST, 2: Decimal("9.25"), 0: Decimal("4.00")}


def expected(product: str, orders: dict[int, Decimal]) -> dict[int, Decimal]:
    if product == "of_a_seed":
        return {order: 2 * amount for order, amount in orders.items()}
    if product in ("of_a_python_model", "hooked"):
        left_out = 0 if product == "of_a_python_model" else 1
        return {order: amount for order, amount in orders.items() if order != left_out}

    return orders


def shown(mesh: Mesh, product: str) -> dict[int, Decimal]:
    return dict(mesh.rows(f"select order_id, amount from shop.{product}"))


@pytest.fixture(scope="module")
def mesh(new_mesh) -> Mesh:
    """All features in one domain; one YAML file declares all products."""
    mesh = new_mesh()
    for name, sql in PRIVATE.items():
        mesh.write(f"domains/shop/models/private/{name}.sql", sql)
    mesh.write("domains/shop/models/private/newest_python.py", PYTHON)
    mesh.write("domains/shop/seeds/factors.csv", "factor\n2\n")
    for name, sql in PRODUCTS.items():
        mesh.write(f"{FOLDER}/{name}.sql", sql)
        mesh.write(f"{FOLDER}/{name}.checks.yml", CHECKS)
    declared = "".join(PROPERTIES.format(name=name) for name in PRODUCTS)
    exposure = (
        "exposures:\n  - name: report\n    type: dashboard\n"
        "    owner: {name: ana, email: ana@tiny.example}\n    depends_on: [ref('by_key')]\n"
    )
    mesh.write(f"{FOLDER}/many.yml", f"version: 2\nmodels:\n{declared}{exposure}")
    return mesh


@pytest.fixture(scope="module")
def first(mesh: Mesh) -> dict[str, dict[int, Decimal]]:
    mesh.sell(*FIRST)
    land(mesh)
    assert set(published(run_local(mesh, "shop"))) >= set(PRODUCTS)
    return {product: shown(mesh, product) for product in PRODUCTS}


@pytest.fixture(scope="module")
def second(mesh: Mesh, first: dict) -> dict[str, dict[int, Decimal]]:
    mesh.sell(2, amount=9.25)
    mesh.sell(0, amount=4.0)
    # The tiny mesh's own products have no key.
    for name in ("orders", "totals"):
        for file in (mesh.root / FOLDER).glob(f"{name}.*"):
            file.unlink()
    land(mesh)
    assert set(published(run_local(mesh, "shop"))) == set(PRODUCTS)
    return {product: shown(mesh, product) for product in PRODUCTS}


@pytest.mark.parametrize("product", PRODUCTS)
def test_the_first_run_publishes_the_right_figures(first, product):
    assert first[product] == expected(product, FIRST)


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_later_run_publishes_the_right_figures(second, product):
    assert second[product] == expected(product, SECOND)
