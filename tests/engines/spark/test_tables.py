"""Features of models that work on Spark: partitions, order, merges, views, bad input."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from meshhouse.engines import engine
from meshhouse.lake.ledger import LakeLedger
from meshhouse.maintenance import maintain
from meshhouse.runs.publication import rollback
from tests.conftest import Mesh
from tests.support.engines_help import data_files, land_new, run
from tests.support.spark_here import needs_spark

pytestmark = [needs_spark, pytest.mark.server]
ORDERS = "domains/shop/models/products/orders.sql"
TOTALS = "domains/shop/models/products/totals.sql"


def sell(mesh: Mesh, *numbers: int, day: int = 1, **fields) -> None:
    """Sends sales of one day, by seven customers, and lands them."""
    events = []
    for number in numbers:
        value = {"sale_id": number, "customer_id": number % 7, "amount": 1.5,
                 "sold_at": f"2017-01-{day:02}T12:00:00Z", **fields}  # fmt: skip
        events.append((str(number).encode(), json.dumps(value).encode()))
    mesh.send("shop.sales", events)
    land_new(mesh)


def configure(mesh: Mesh, **config) -> None:
    """Replaces the configuration of model `orders`."""
    path = mesh.root / ORDERS
    sql = path.read_text()
    sql = sql[sql.index("select") :]
    arguments = ", ".join(f"{name}={value!r}" for name, value in config.items())
    path.write_text(f"{{{{ config({arguments}) }}}}\n{sql}" if config else sql)


def published(mesh: Mesh, domain: str, target: str) -> None:
    done = run(mesh, domain, target)
    assert done.message == ""
    assert done.outcome == "published"


def orders(mesh: Mesh, where: str = "true") -> list[int]:
    rows = mesh.rows(f"select order_id from shop.orders where {where} order by order_id")
    return [number for (number,) in rows]


def partitions(mesh: Mesh) -> list[str]:
    table = engine(mesh.repository).lake.load("shop.orders")
    return [field.name for field in table.spec().fields]


def test_partitions_are_published_and_change_with_the_model(mesh, spark):
    sell(mesh, *range(1, 10), day=1)
    sell(mesh, *range(10, 20), day=2)
    everything = list(range(1, 20))
    configure(mesh, partition_by=["days(sold_at)", "bucket(2, customer_id)"])
    published(mesh, "shop", "spark")
    assert partitions(mesh) == ["sold_at_day", "customer_id_bucket"]
    assert len(data_files(mesh, "shop.orders")) == 4
    assert orders(mesh) == everything
    assert orders(mesh, "sold_at >= timestamptz '2017-01-02 00:00:00Z'") == everything[9:]
    assert orders(mesh, "customer_id = 3") == [3, 10, 17]
    published(mesh, "crm", "spark")  # Spark reads what was published in partitions
    assert mesh.row("select sum(orders) from crm.customers") == (19,)
    configure(mesh, partition_by="customer_id")
    published(mesh, "shop", "spark")
    assert partitions(mesh) == ["customer_id"]
    assert orders(mesh, "customer_id = 3") == [3, 10, 17]
    configure(mesh, partition_by="truncate(5, order_id)")
    published(mesh, "shop", "local")  # target `local` writes files without partitions
    assert partitions(mesh) == []
    assert orders(mesh) == everything
    configure(mesh)
    published(mesh, "shop", "spark")
    assert (partitions(mesh), orders(mesh)) == ([], everything)
    published(mesh, "crm", "spark")


def test_a_column_that_rows_were_partitioned_by_may_go(mesh, spark):
    sell(mesh, *range(1, 10))
    configure(mesh, partition_by=["customer_id", "days(sold_at)"])
    published(mesh, "shop", "spark")
    shop = "domains/shop/models/products/orders"
    configure(mesh)
    mesh.edit(f"{shop}.sql", ",\n    cast(sold_at as {{ type_timestamptz() }}) as sold_at", "")
    mesh.edit(
        f"{shop}.yml", "\n      - {name: sold_at, data_type: timestamptz, description: When.}", ""
    )
    published(mesh, "shop", "spark")
    published(mesh, "crm", "spark")  # Spark can still read the table
    assert orders(mesh) == list(range(1, 10))


MERGED = {
    "materialized": "incremental",
    "unique_key": "order_id",
    "incremental_strategy": "merge",
    "on_schema_change": "fail",
    "post_hook": "{{ sort_rows(['customer_id', 'order_id']) }}",
}


def test_an_incremental_table_merges_into_its_partitions_in_order(mesh, spark):
    sell(mesh, *range(1, 10), day=1)
    configure(mesh, partition_by=["days(sold_at)"], **MERGED)
    published(mesh, "shop", "spark")
    sell(mesh, 5, day=1, amount=9)
    sell(mesh, *range(10, 15), day=2)
    mesh.edit("domains/shop/models/staging/stg_sales.sql", "from {{",
              "from (select *, row_number() over (partition by sale_id order by amount desc)"
              " as newest from {{")  # fmt: skip
    mesh.edit("domains/shop/models/staging/stg_sales.sql", "}}\n", "}})\nwhere newest = 1\n")
    published(mesh, "shop", "spark")
    assert orders(mesh) == list(range(1, 15))
    assert mesh.row("select amount from shop.orders where order_id = 5") == (9,)
    assert orders(mesh, "sold_at >= timestamptz '2017-01-02 00:00:00Z'") == list(range(10, 15))
    table = engine(mesh.repository).lake.load("shop.orders")
    assert [field.source_id for field in table.sort_order().fields] == [2, 1]
    # dbt drops an incremental table whose code changed, and makes one with other partitions.
    configure(mesh, partition_by=["customer_id"], **MERGED)
    published(mesh, "shop", "spark")
    sell(mesh, 17, day=3)
    published(mesh, "shop", "spark")
    assert partitions(mesh) == ["customer_id"]
    assert orders(mesh, "customer_id = 3") == [3, 10, 17]
    published(mesh, "crm", "spark")
    assert mesh.row("select sum(orders) from crm.customers") == (15,)


def test_a_moved_mesh_goes_on_with_its_incremental_builds(mesh, spark, tmp_path):
    sell(mesh, *range(1, 10))
    configure(mesh, **MERGED, partition_by=["customer_id", "days(sold_at)"])
    published(mesh, "shop", "spark")
    there = Mesh(mesh.root.rename(tmp_path / "moved"))
    sell(there, 10, 11)
    published(there, "shop", "spark")
    assert orders(there) == list(range(1, 12))


DAYS = """{{{{ config(materialized='incremental', unique_key='customer_id',
    incremental_strategy=replace_rows_strategy() {more}) }}}}
select customer_id, count(*) as orders, sum(amount) as amount, max(landed_at) as landed_at
from {{{{ ref('stg_sales') }}}}
{{% if is_incremental() %}}
where customer_id in (
    select customer_id from {{{{ ref('stg_sales') }}}} where {{{{ landed_since_last_build() }}}}
)
{{% endif %}}
group by customer_id
"""


@pytest.mark.parametrize("target", ["local", "spark"])
def test_new_events_are_merged_into_an_existing_table(mesh, spark, target):
    mesh.write("domains/shop/models/by_customer.sql",
               DAYS.format(more=", partition_by='bucket(3, customer_id)'"))  # fmt: skip
    mesh.write(
        TOTALS,
        """select cast(sum(orders) as bigint) as orders,
        cast(sum(amount) as decimal(18, 2)) as amount from {{ ref('by_customer') }}""",
    )
    sell(mesh, *range(1, 10))
    published(mesh, "shop", target)
    sell(mesh, *range(10, 30), amount=2)
    done = run(mesh, "shop", target)
    compiled = next(node.compiled_sql for node in done.nodes if node.name == "by_customer")
    assert "where customer_id in" in compiled  # built incrementally
    assert mesh.row("select orders, amount from shop.totals") == (29, pytest.approx(53.5))


def test_a_model_may_be_a_view_and_a_table_in_turn(mesh, spark):
    """Also for a model that others read, in an existing build."""
    sell(mesh, *range(1, 10))
    staging = "domains/shop/models/staging/stg_sales.sql"
    view = (mesh.root / staging).read_text()
    for count, kind in enumerate(("view", "table", "view", "incremental", "view"), start=1):
        (mesh.root / staging).write_text(f"{{{{ config(materialized='{kind}') }}}}\n{view}")
        sell(mesh, 100 + count)
        published(mesh, "shop", "spark")
        assert mesh.row("select orders from shop.totals") == (9 + count,)


@pytest.mark.parametrize("target", ["local", "spark"])
def test_a_cast_that_fails_fails_the_model_wherever_it_runs(mesh, spark, target):
    mesh.edit("domains/shop/models/topics.yml", "          - {name: sold_at",
              "          - {name: weight, data_type: string, description: Of all.}\n"
              "          - {name: sold_at")  # fmt: skip
    mesh.edit("domains/shop/models/staging/stg_sales.sql", "    sale_id,",
              "    sale_id,\n    weight,")  # fmt: skip
    mesh.edit(TOTALS, "cast(count(*) as bigint)", "cast(sum(cast(weight as bigint)) as bigint)")
    mesh.edit(TOTALS, "{{ ref('orders') }}", "{{ ref('stg_sales') }} -- {{ ref('orders') }}")
    sell(mesh, 1, weight="12")
    sell(mesh, 2, weight="30")
    published(mesh, "shop", target)
    sell(mesh, 3, weight="12 kg")
    done = run(mesh, "shop", target)
    assert done.outcome == "failed"
    assert "model totals" in done.message
    assert "12 kg" in done.message
    assert mesh.row("select orders from shop.totals") == (42,)
    safe = "{{ dbt.safe_cast('weight', 'bigint') }}"
    mesh.edit(TOTALS, "cast(weight as bigint)", safe)
    published(mesh, "shop", target)
    assert mesh.row("select orders from shop.totals") == (42,)


def test_maintenance_keeps_current_and_earlier_publications(mesh, spark):
    for count in range(1, 4):
        sell(mesh, count)
        published(mesh, "shop", "spark")
    sell(mesh, 4, amount=-1)
    assert run(mesh, "shop").outcome == "rejected"
    lake = engine(mesh.repository).lake
    built = mesh.home / "spark" / "shop"
    before = len(list(built.rglob("*.parquet")))
    now = timedelta(0)
    done = maintain(lake, older_than=now, retention=now)
    assert next(each for each in done if each.relation == "builds of shop").orphans_removed > 0
    # Three publications of two products, and the rejected build.
    assert len(list(built.rglob("*.parquet"))) == before
    ledger = LakeLedger(lake)
    [product] = [each for each in mesh.repository.domain("shop").products if each.name == "orders"]
    for shown in ([1, 2, 3], [1, 2], [1]):
        assert orders(mesh) == shown
        if len(shown) > 1:
            rollback(engine(mesh.repository), ledger, product)
    mesh.edit("domains/shop/models/products/orders.checks.yml", "valid_min: 0", "valid_min: -9")
    sell(mesh, 5)
    published(mesh, "shop", "spark")
    assert orders(mesh) == [1, 2, 3, 4, 5]
