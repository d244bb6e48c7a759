"""The history of a dbt snapshot outlives its build, and moves only with a publication."""

from __future__ import annotations

import shutil

import pytest

from tests.conftest import Mesh
from tests.support.engines_help import land_new as land
from tests.support.engines_help import published, run_local

PRODUCTS = "domains/shop/models/products"
SNAPSHOT = """\
snapshots:
  - name: customer_history
    relation: ref('stg_customers')
    config:
      unique_key: customer_id
      strategy: check
      check_cols: [spent]
"""
STAGING = """\
select customer_id, cast(sum(amount) as decimal(18, 2)) as spent
from {{ ref('stg_sales') }} group by customer_id
"""
PRODUCT = """\
select
    cast(customer_id as bigint) as customer_id,
    cast(count(*) as bigint) as versions,
    cast(min(spent) as decimal(18, 2)) as first_spent
from {{ ref('customer_history') }}
group by customer_id
"""
PROPERTIES = """\
version: 2
models:
  - name: spenders
    description: How often a customer's total changed. One row per customer.
    config: {access: public, group: shop, contract: {enforced: true}, meta: {grain: [customer_id]}}
    columns:
      - {name: customer_id, data_type: bigint, description: Who.}
      - {name: versions, data_type: bigint, description: How many totals were seen.}
      - {name: first_spent, data_type: "decimal(18,2)", description: The first of them.}
"""
CHECKS = """\
columns:
  - {name: customer_id, checks: [{missing: null}, {duplicate: null}]}
checks:
  - failed_rows: {qualifier: few, name: Not too many totals, expression: versions > 50}
"""


def seen(mesh: Mesh) -> tuple[int, float]:
    return mesh.row("select versions, cast(first_spent as double) from shop.spenders")


def sell_and_run(mesh: Mesh, number: int) -> list[str]:
    mesh.sell(number)
    land(mesh)
    return published(run_local(mesh, "shop", "spenders"))


@pytest.fixture(scope="module")
def mesh(new_mesh) -> Mesh:
    """A product of two recorded totals of one customer: 1.50 and 3.00."""
    mesh = new_mesh()
    mesh.write("domains/shop/models/staging/stg_customers.sql", STAGING)
    mesh.write("domains/shop/snapshots/customer_history.yml", SNAPSHOT)
    mesh.write(f"{PRODUCTS}/spenders.sql", PRODUCT)
    mesh.write(f"{PRODUCTS}/spenders.yml", PROPERTIES)
    mesh.write(f"{PRODUCTS}/spenders.checks.yml", CHECKS)
    for number in (1, 2):
        assert sell_and_run(mesh, number) == ["spenders"]
    assert seen(mesh) == (2, 1.5)
    return mesh


def test_consumers_do_not_see_the_history(mesh):
    shown = mesh.rows(
        "select table_schema || '.' || table_name from information_schema.tables "
        "where table_schema <> 'meshhouse'"
    )
    assert shown == [("shop.spenders",)]


def test_a_machine_without_the_build_goes_on_with_the_history(mesh):
    shutil.rmtree(mesh.home / "build")
    assert sell_and_run(mesh, 3) == ["spenders"]
    assert seen(mesh) == (3, 1.5)


def test_an_environment_goes_on_from_production_and_leaves_its_history_alone(mesh, monkeypatch):
    mesh.sell(4)
    land(mesh)
    with monkeypatch.context() as patch:
        patch.setenv("MESH_ENV", "ana")
        assert published(run_local(mesh, "shop", "spenders", force=True)) == ["spenders"]
        # What production had read, so no total is new.
        assert seen(mesh) == (3, 1.5)
    assert published(run_local(mesh, "shop", "spenders")) == ["spenders"]
    assert seen(mesh) == (4, 1.5)


def test_a_build_by_plain_dbt_is_no_part_of_the_history(mesh):
    """As if a run had been killed before it published."""
    mesh.sell(5)
    land(mesh)
    mesh.dbt("shop", "build", "--select", "+customer_history")
    mesh.sell(6)
    land(mesh)
    assert published(run_local(mesh, "shop", "spenders")) == ["spenders"]
    assert seen(mesh) == (5, 1.5)  # 7.50 was never published, 9.00 is


def test_a_rejected_run_does_not_change_the_history(mesh):
    mesh.edit(f"{PRODUCTS}/spenders.checks.yml", "versions > 50", "versions > 0")
    mesh.sell(7)
    land(mesh)
    assert run_local(mesh, "shop", "spenders").outcome == "rejected"
    mesh.edit(f"{PRODUCTS}/spenders.checks.yml", "versions > 0", "versions > 50")
    assert sell_and_run(mesh, 8) == ["spenders"]
    assert seen(mesh) == (6, 1.5)


def test_upkeep_keeps_the_history(mesh):
    mesh.run("maintain", "--older-than", "1h", "shop_build.customer_history")
    shutil.rmtree(mesh.home / "build")
    assert sell_and_run(mesh, 9) == ["spenders"]
    assert seen(mesh) == (7, 1.5)


def test_a_column_that_the_lake_cannot_keep_is_named(mesh):
    mesh.edit(
        "domains/shop/models/staging/stg_customers.sql",
        "as spent", "as spent, cast(1 as hugeint) as odd",
    )  # fmt: skip
    done = run_local(mesh, "shop", "spenders", force=True)
    assert not done.ok
    assert "The snapshot customer_history cannot keep its column `odd`" in done.message


def test_a_target_that_cannot_keep_the_history_refuses(mesh):
    from meshhouse.engines.snowflake.engine import SnowflakeEngine
    from meshhouse.engines.spark.engine import SparkEngine
    from meshhouse.errors import UsageError

    domain = mesh.repository.domain("shop")
    for engine in (SparkEngine, SnowflakeEngine):
        with pytest.raises(UsageError, match="kept only on target `local`"):
            engine.restore_snapshots(None, domain, ["customer_history"])  # type: ignore[arg-type]
