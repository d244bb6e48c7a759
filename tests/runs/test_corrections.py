"""Rows that a correction changes or takes away do so in incremental products as well."""

from __future__ import annotations

import json
import random

import duckdb
import pytest

from meshhouse.engines import engine
from meshhouse.landing import reprocess_table
from meshhouse.landing.redrive import discard, redrive
from meshhouse.repository import RawTable
from tests.conftest import Mesh
from tests.support.engines_help import land_new, run

SHOP = "domains/shop/models"
STAGING = """\
select
    sale_id,
    customer_id,
    amount,
    sold_at,
    _timestamp as event_at,
    _landed_at as landed_at,
    _topic_partition as event_partition,
    _offset as event_offset
from {{ source('shop_raw', 'sales') }}
"""
ORDERS = """\
{{ config(materialized='incremental', incremental_strategy=replace_rows_strategy(),
          unique_key='order_id', on_schema_change='fail') }}
with new_events as (
    select * from {{ ref('stg_sales') }}
    {% if is_incremental() %}
        where {{ landed_since_last_build() }}
    {% endif %}
)
select
    cast(sale_id as bigint) as order_id,
    cast(customer_id as bigint) as customer_id,
    cast(amount as decimal(12, 2)) as amount,
    cast(sold_at as {{ type_timestamptz() }}) as sold_at,
    cast(landed_at as {{ type_timestamptz() }}) as landed_at
from {{ last_event_per_key('new_events', ['sale_id']) }} as events
"""
LANDED_AT = "      - {name: landed_at, data_type: timestamptz, description: When it landed.}\n"
CUSTOMER = "customer_id, data_type: bigint, description: Who bought."
REQUIRED = f"{CUSTOMER}, config: {{meta: {{required: true}}}}"
CUSTOMERS = """\
{{ config(materialized='incremental', incremental_strategy='append',
          on_schema_change='fail') }}
select
    cast(customer_id as bigint) as customer_id,
    cast(count(*) as bigint) as orders,
    cast(coalesce(sum(amount), 0) as decimal(18, 2)) as spent
from {{ ref('stg_shop__orders') }}
where customer_id is not null
{% if is_incremental() %}
    and customer_id > (select max(customer_id) from {{ this }})
{% endif %}
group by customer_id
"""


@pytest.fixture
def shop(mesh: Mesh) -> Mesh:
    """A mesh whose `shop.orders` adds up the last event of each sale."""
    mesh.write(f"{SHOP}/staging/stg_sales.sql", STAGING)
    mesh.write(f"{SHOP}/products/orders.sql", ORDERS)
    declared = mesh.root / SHOP / "products/orders.yml"
    text = declared.read_text()
    text = text.replace("promises: {", "promises: {keeps_rows_percent: 0, ")
    declared.write_text(text[: text.index("unit_tests:")] + LANDED_AT)
    return mesh


def raw(mesh: Mesh) -> RawTable:
    [table] = mesh.repository.domain("shop").raw_tables
    return table


def send(mesh: Mesh, sale: int, amount: float, customer: int | None) -> None:
    """An event of a sale; each sale has its partition, and may lack a customer."""
    value = {"sale_id": sale, "customer_id": customer, "amount": amount,
             "sold_at": "2017-01-01T12:00:00Z"}  # fmt: skip
    mesh.send("shop.sales", [(str(sale).encode(), json.dumps(value).encode())])


def correct(mesh: Mesh, how: str) -> None:
    repository = mesh.repository
    lake = engine(repository).lake
    if how == "again":
        reprocess_table(repository, lake, raw(mesh), "0")
    elif how == "replay":
        redrive(lake, raw(mesh))
    else:
        discard(lake, raw(mesh))


def require_customer(mesh: Mesh, required: bool) -> None:
    path = mesh.root / SHOP / "topics.yml"
    text = path.read_text().replace(REQUIRED, CUSTOMER)
    path.write_text(text.replace(CUSTOMER, REQUIRED) if required else text)


def publish(mesh: Mesh, **options: bool) -> dict[str, str]:
    done = run(mesh, "shop", "local", **options)
    assert done.ok, done.message
    return done.products


def right(mesh: Mesh) -> dict[int, float]:
    """Sale -> amount of its last event that is a row, straight from the raw table."""
    table = engine(mesh.repository).lake.load("shop_raw.sales")
    rows = table.scan().to_arrow().sort_by([("_offset", "ascending")]).to_pylist()
    return {row["sale_id"]: float(row["amount"]) for row in rows}


def shown(mesh: Mesh) -> dict[int, float]:
    return dict(mesh.rows("select order_id, cast(amount as double) from shop.orders"))


@pytest.mark.parametrize("seed", [1, 2])
def test_after_any_corrections_a_product_is_as_if_it_were_built_from_nothing(shop, seed):
    chance = random.Random(seed)
    send(shop, 1, 1.0, customer=1)
    land_new(shop)
    for step in range(4):
        for _ in range(chance.randint(1, 4)):
            customer = chance.choice([None, 1])
            send(shop, chance.randint(1, 3), chance.randint(1, 99), customer)
        land_new(shop)
        if step:
            require_customer(shop, chance.choice([True, False]))
            correct(shop, chance.choice(["again", "replay", "discard"]))
        publish(shop)
        assert shown(shop) == right(shop), f"step {step}"


def test_what_landing_again_takes_away_goes_and_what_a_replay_brings_is_old(shop):
    require_customer(shop, False)
    send(shop, 1, 1.0, customer=None)
    send(shop, 1, 2.0, customer=1)
    send(shop, 2, 3.0, customer=None)
    land_new(shop)
    publish(shop)
    assert shown(shop) == {1: 2.0, 2: 3.0}
    require_customer(shop, True)
    correct(shop, "again")
    publish(shop)
    assert shown(shop) == {1: 2.0}
    require_customer(shop, False)
    correct(shop, "replay")
    publish(shop)
    assert shown(shop) == {1: 2.0, 2: 3.0}  # the first event of sale 1 landed last
    assert set(publish(shop).values()) == {"unchanged"}


def test_a_full_refresh_builds_what_an_increment_would_keep(shop):
    shop.sell(1, 2)
    land_new(shop)
    publish(shop)
    [work] = shop.home.glob("build/shop/work.duckdb")
    with duckdb.connect(str(work)) as connection:
        connection.execute("update shop_build.orders set amount = 9 where order_id = 1")
    publish(shop, force=True)
    assert shown(shop) == {1: 9.0, 2: 1.5}
    shop.run("run", "shop.orders", "--full-refresh")
    assert shown(shop) == {1: 1.5, 2: 1.5}


def test_an_increment_of_another_domains_product_follows_its_corrections(shop):
    shop.write("domains/crm/models/products/customers.sql", CUSTOMERS)
    shop.sell(1, 2)
    land_new(shop)
    publish(shop)
    assert run(shop, "crm", "local").outcome == "published"
    shop.sell(3)
    land_new(shop)
    publish(shop)
    done = run(shop, "crm", "local")
    assert done.outcome == "published", done.message
    assert shop.rows("select orders from crm.customers") == [(3,)]
