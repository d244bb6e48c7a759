"""Target `spark`: the same domains, built and audited by Spark, published into the same lake."""

from __future__ import annotations

import pytest

from meshhouse.engines import engine
from meshhouse.errors import UsageError
from meshhouse.lake import Lake
from meshhouse.lake.ledger import LakeLedger
from meshhouse.lake.texts import COMMENT, NOT_NULL, OWNER
from meshhouse.runs.publication import product_history, rollback
from tests.conftest import Mesh
from tests.support.engines_help import data_files, land_new, run
from tests.support.spark_here import needs_spark
from tests.support.versioned import two_versions

pytestmark = [needs_spark, pytest.mark.server]


@pytest.fixture
def sold(mesh: Mesh) -> Mesh:
    """Nineteen sales, landed."""
    mesh.sell(*range(1, 20))
    land_new(mesh)
    return mesh


def test_a_domain_is_built_audited_and_published_without_copying_a_row(sold, spark):
    done = run(sold, "shop")
    assert (done.outcome, done.message) == ("published", "")
    assert {each["product"]: each["rows"] for each in done.published} == {"orders": 19, "totals": 1}
    assert all(check.outcome == "passed" for _, audit in done.audited for check in audit.checks)
    assert sold.row("select * from shop.totals") == (19, pytest.approx(28.5))
    types = [(name, kind) for name, kind, *_ in sold.rows("describe shop.orders")]
    assert types == [
        ("order_id", "BIGINT"),
        ("customer_id", "BIGINT"),
        ("amount", "DECIMAL(12,2)"),
        ("sold_at", "TIMESTAMP WITH TIME ZONE"),
    ]
    table = Lake(sold.home).load("shop.orders")
    assert [each.doc for each in table.schema().fields] == [
        "The order.", "Who bought.", "What was paid.", "When.",
    ]  # fmt: skip
    assert (table.properties[COMMENT], table.properties[OWNER], table.properties[NOT_NULL]) == (
        "What was bought. One row per order.", "shop team", '["order_id"]',
    )  # fmt: skip
    built = sold.home / "spark" / "shop"
    assert all(path.is_relative_to(built) for path in data_files(sold, "shop.orders"))


def test_domains_on_either_engine_read_what_the_other_published(sold, spark):
    for domain, target in (("shop", "spark"), ("crm", "local"), ("mesh", "spark")):
        assert run(sold, domain, target).outcome == "published"
    assert sold.row("select customers, spent from mesh.overview") == (1, pytest.approx(28.5))
    sold.sell(20)
    land_new(sold)
    for domain, target in (("shop", "local"), ("crm", "spark"), ("mesh", "local")):
        assert run(sold, domain, target).outcome == "published"
    assert sold.row("select customers, spent from mesh.overview") == (1, pytest.approx(30))


def test_a_candidate_that_fails_a_check_leaves_consumers_what_they_have(sold, spark):
    run(sold, "shop")
    sold.sell(20, amount=-1)
    land_new(sold)
    done = run(sold, "shop")
    assert done.outcome == "rejected"
    assert "No negative amounts (column amount): found 1, must be 0" in done.message
    [failed] = [check for _, audit in done.audited for check in audit.checks if not check.ok]
    assert [row["order_id"] for row in failed.samples] == [20]
    assert sold.row("select count(*), min(amount) from shop.orders") == (19, pytest.approx(1.5))


def test_what_was_published_before_can_be_shown_again(sold, spark):
    run(sold, "shop")
    sold.sell(20)
    land_new(sold)
    run(sold, "shop")
    assert sold.row("select orders from shop.totals") == (20,)
    chosen = engine(sold.repository)
    ledger = LakeLedger(chosen.lake)
    product = next(each for each in sold.repository.domain("shop").products
                   if each.name == "totals")  # fmt: skip
    rollback(chosen, ledger, product)
    assert sold.row("select orders from shop.totals") == (19,)
    assert [each["kind"] for each in product_history(ledger, product)] == [
        "publish", "publish", "rollback",
    ]  # fmt: skip


def test_what_did_not_change_is_built_again_by_another_engine_only(sold, spark):
    """Otherwise one engine's numbers would be published as the other's."""
    run(sold, "shop")
    assert run(sold, "shop").outcome == "unchanged"
    assert run(sold, "shop", "local").outcome == "published"


def test_a_target_that_there_is_not_is_named_beside_those_there_are(sold, monkeypatch):
    monkeypatch.setenv("MESH_TARGET", "teradata")
    with pytest.raises(UsageError, match="Targets: local, snowflake, spark"):
        engine(sold.repository)


def test_a_setting_that_is_none_is_refused(monkeypatch):
    from meshhouse.engines.spark.session import settings

    monkeypatch.setenv("MESH_SPARK_CONF", "spark.executor.memory=2g;memory")
    with pytest.raises(UsageError, match="Part 2 of MESH_SPARK_CONF is not a setting"):
        settings([])


def test_versions_are_published_side_by_side_and_the_plain_name_shows_the_latest(sold, spark):
    two_versions(sold)
    sold.write("domains/crm/models/staging/stg_shop__orders.sql",
               "select o.order_id, f.customer_id, o.amount\nfrom {{ ref('shop', 'orders') }} o\n"
               "join {{ ref('shop', 'orders', v=1) }} f on f.order_id = o.order_id\n"
               "where o.store_id = 7\n")  # fmt: skip
    sold.edit("domains/crm/models/products/customers.checks.yml", "from shop.orders)",
              "from shop.orders_v1)")  # fmt: skip
    assert run(sold, "shop").message == ""
    assert run(sold, "crm").message == ""
    assert sold.row("select customer_id, orders from crm.customers") == (1, 19)
    sold.sell(20)
    land_new(sold)
    assert run(sold, "shop").message == ""
    assert sold.row("select sum(store_id) from shop.orders") == (140,)
    chosen = engine(sold.repository)
    rollback(chosen, chosen.ledger, sold.repository.product("shop.orders"))
    states = chosen.states()
    assert states["shop.orders"] == states["shop.orders_v2"]
    counts = [sold.row(f"select count(*) from shop.{name}")[0]
              for name in ("orders", "orders_v2", "orders_v1")]  # fmt: skip
    assert counts == [19, 19, 20]


def test_checks_follow_from_the_contract_without_a_checks_file(sold, spark):
    """Spark itself ignores `not_null` on Iceberg tables, so only the audit can find a null."""
    products = "domains/shop/models/products"
    for name in ("orders", "totals"):
        (sold.root / products / f"{name}.checks.yml").unlink()
    text = (sold.root / products / "orders.yml").read_text()
    sold.write(f"{products}/orders.yml", text[: text.index("unit_tests:")])
    sold.edit(f"{products}/orders.yml", "grain: [order_id]", "grain: [order_id, sold_at]")
    sold.edit(f"{products}/orders.yml", "description: Who bought.}",
              "description: Who bought., constraints: [{type: not_null}]}")  # fmt: skip
    assert run(sold, "shop").outcome == "published"
    sold.edit(f"{products}/orders.sql", "cast(customer_id as bigint)",
              "cast(nullif(customer_id, 1) as bigint)")  # fmt: skip
    sold.edit(f"{products}/orders.sql", "from {{ ref('stg_sales') }}",
              "from {{ ref('stg_sales') }}, (select explode(sequence(1, 2)) as twice)")  # fmt: skip
    done = run(sold, "shop")
    assert done.outcome == "rejected"
    assert "Rows without a value (column customer_id): found 38, must be 0" in done.message
    assert "Rows that repeat the grain order_id, sold_at: found 19, must be 0" in done.message
    assert sold.row("select count(*), count(customer_id) from shop.orders") == (19, 19)
