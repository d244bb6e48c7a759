"""One change of a contract over three domains and three targets, from the edit to the end of v1.

Shop publishes orders; crm and billing read the column that shop renames.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import pytest

from meshhouse.engines import Engine, engine
from meshhouse.engines.snowflake.session import connect
from meshhouse.errors import MeshError, UsageError
from meshhouse.landing import land_table
from meshhouse.runs.outcome import DomainRun
from meshhouse.runs.retirement import retire
from meshhouse.runs.run import run_domain
from tests.conftest import Mesh
from tests.support.snowflake_here import needs_snowflake
from tests.support.spark_here import needs_spark

PRODUCTS = "domains/shop/models/products"
SALES = 60
PAID = sum(number + 0.25 for number in range(SALES))
CRM_READS = "domains/crm/models/staging/stg_shop__orders.sql"
BILLING_READS = "domains/billing/models/staging/stg_shop__orders.sql"
SAME = "The column was renamed, and means what it meant."
INVOICES = """\
version: 2
models:
  - name: invoices
    description: What is owed. One row per order.
    config:
      access: public
      group: billing
      contract: {enforced: true}
      meta:
        grain: [order_id]
    columns:
      - {name: order_id, data_type: bigint, description: The order.}
      - {name: due, data_type: "decimal(12,2)", description: What is owed.}
"""

INVOICES_SQL = """\
select
    cast(order_id as bigint) as order_id,
    cast(due as decimal(12, 2)) as due
from {{ ref('stg_shop__orders') }}
"""


@dataclass(frozen=True)
class Place:
    """A mesh on one target, used in this process, which has the target's session."""

    mesh: Mesh
    target: str
    rows: Callable[[str], list[tuple]]

    @property
    def engine(self) -> Engine:
        return engine(self.mesh.repository)

    def land(self) -> None:
        repository, store = self.mesh.repository, self.engine.store
        for raw in repository.domain("shop").raw_tables:
            land_table(repository, store, raw)

    def run(self, name: str, confirmed: str = "") -> DomainRun:
        repository = self.mesh.repository
        domain = repository.domain(name)
        return run_domain(repository, engine(repository), domain, confirmed=confirmed)

    def publishes(self, name: str, confirmed: str = "") -> set[str]:
        """The products that a successful run published."""
        done = self.run(name, confirmed)
        assert done.ok, done.message
        return {each["product"] for each in done.published}

    def refused(self, name: str) -> str:
        """The message of a run that left every consumer what it had."""
        before = self.shown()
        done = self.run(name)
        assert (done.outcome, done.published) == ("rejected", []), done.message
        assert self.shown() == before
        assert done.message.startswith("Not published; consumers keep what they had.")
        return done.message

    def shown(self) -> dict[str, str]:
        """What consumers see: relation -> the state of its table."""
        states = self.engine.states()
        return {name: states[name] for name in states if not name.startswith("meshhouse.")}

    def retire(self, name: str, today: date) -> None:
        retire(self.mesh.repository, self.engine, name, today)

    def paid(self, relation: str, column: str) -> float:
        [(total,)] = self.rows(f"select sum({column}) from {relation}")
        return float(total)

    def visible(self) -> set[str]:
        """What consumers find of the shop."""
        shown = self.rows("select lower(table_name) from information_schema.tables "
                          "where lower(table_schema) = 'shop'")  # fmt: skip
        return {name for (name,) in shown}


@pytest.fixture(
    params=[
        "local",
        pytest.param("spark", marks=[needs_spark, pytest.mark.server]),
        pytest.param("snowflake", marks=[needs_snowflake, pytest.mark.server]),
    ]
)
def place(request: pytest.FixtureRequest, mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Three domains on one target: shop has published orders, which crm and billing read."""
    target = request.param
    if target == "snowflake":
        request.getfixturevalue("chosen")
    elif target == "spark":
        request.getfixturevalue("spark")
    monkeypatch.setenv("MESH_TARGET", target)
    declare(mesh)
    for number in range(SALES):
        mesh.sell(number, customer=number % 7, amount=number + 0.25)
    rows = (lambda sql: connect().rows(sql)) if target == "snowflake" else mesh.rows
    made = Place(mesh, target, rows)
    made.land()
    assert made.publishes("shop") == {"orders"}
    assert made.publishes("crm") == {"customers"}
    assert made.publishes("billing") == {"invoices"}
    return made


def declare(mesh: Mesh) -> None:
    """The tiny mesh with one product per domain, and with the domain billing."""
    folder = mesh.root / PRODUCTS
    for path in folder.glob("totals.*"):
        path.unlink()
    orders = folder / "orders.yml"
    # The unit test would stop a rename before the gate does.
    orders.write_text(re.sub(r"unit_tests:.*", "", orders.read_text(), flags=re.DOTALL))
    checks = "columns:\n  - name: {}\n    checks:\n      - missing:\n      - duplicate:\n"
    mesh.write("domains/crm/models/products/customers.checks.yml", checks.format("customer_id"))
    crm = mesh.root / "domains/crm"
    for name in ("dbt_project.yml", "dependencies.yml", ".dbtignore", "models/domain.yml"):
        mesh.write(f"domains/billing/{name}", (crm / name).read_text().replace("crm", "billing"))
    mesh.write(BILLING_READS, "select order_id, amount as due from {{ ref('shop', 'orders') }}\n")
    products = "domains/billing/models/products"
    mesh.write(f"{products}/invoices.yml", INVOICES)
    mesh.write(f"{products}/invoices.checks.yml", checks.format("order_id"))
    mesh.write(f"{products}/invoices.sql", INVOICES_SQL)


def rename_the_column(mesh: Mesh, version: str = "") -> None:
    """`amount` becomes `paid`: in the only version, or in version 2."""
    mesh.edit(f"{PRODUCTS}/orders{version}.sql", "as amount", "as paid")
    mesh.edit(f"{PRODUCTS}/orders{version}.checks.yml", "name: amount", "name: paid")
    if not version:
        mesh.edit(f"{PRODUCTS}/orders.yml", "name: amount", "name: paid")
        return
    paid = '{name: paid, data_type: "decimal(12,2)", description: What was paid.}'
    every = "          - include: all\n"
    changed = f"{every}            exclude: [amount]\n          - {paid}\n"
    mesh.edit(f"{PRODUCTS}/orders.yml", every, changed)


@pytest.mark.timeout(900)
def test_a_column_is_renamed_and_no_consumer_is_surprised(place: Place) -> None:
    mesh = place.mesh
    before = {name: (mesh.root / f"{PRODUCTS}/orders{name}").read_text()
              for name in (".sql", ".yml", ".checks.yml")}  # fmt: skip

    # A rename in place is refused, with the consumers by column and the ways out.
    rename_the_column(mesh)
    message = place.refused("shop")
    assert "`amount`" in message
    assert "crm.stg_shop__orders.amount of crm team <crm@tiny.example>" in message
    assert "billing.stg_shop__orders.due of billing team <billing@tiny.example>" in message
    assert "`mesh new version shop.orders`" in message
    assert "mesh waive shop.orders" in message
    assert place.paid("shop.orders", "amount") == PAID
    for name, text in before.items():
        mesh.write(f"{PRODUCTS}/orders{name}", text)

    # It goes into version 2, which is published beside version 1.
    mesh.run("new", "version", "shop.orders", environment={"MESH_TARGET": place.target})
    rename_the_column(mesh, "_v2")
    assert place.publishes("shop") >= {"orders_v2"}
    assert place.visible() == {"orders", "orders_v1", "orders_v2"}
    assert place.paid("shop.orders", "amount") == PAID
    assert place.paid("shop.orders_v1", "amount") == PAID
    assert place.paid("shop.orders_v2", "paid") == PAID

    # One consumer moves, and confirms that the renamed column means the same.
    mesh.edit(CRM_READS, "amount", "paid as amount")
    mesh.edit(CRM_READS, "'orders')", "'orders', v=2)")
    assert "`mesh confirm crm.customers S10:spent" in place.refused("crm")
    assert place.publishes("crm", SAME) == {"customers"}
    assert place.paid("crm.customers", "spent") == PAID

    # The plain name would move under the one that did not say which version it reads.
    mesh.edit(f"{PRODUCTS}/orders.yml", "latest_version: 1", "latest_version: 2")
    message = place.refused("shop")
    assert "billing.stg_shop__orders" in message
    assert "crm." not in message
    assert "`v=1`" in message
    assert "`mesh waive shop.orders.v1 Y6:latest_version" in message
    mesh.edit(BILLING_READS, "'orders')", "'orders', v=1)")
    place.publishes("billing")
    place.publishes("shop")
    assert place.paid("shop.orders", "paid") == PAID

    # Version 1 is promised for some time, and then for as long as it is read.
    today = datetime.now(UTC).date()
    end = today + timedelta(days=40)
    later = end + timedelta(days=1)
    mesh.edit(f"{PRODUCTS}/orders.yml", "- v: 1\n", f"- v: 1\n        deprecation_date: {end}\n")
    place.publishes("shop")
    with pytest.raises(UsageError, match=f"was promised until {end}"):
        place.retire("shop.orders.v1", today)
    with pytest.raises(MeshError, match=r"still read.*: billing \(stg_shop__orders\)"):
        place.retire("shop.orders.v1", later)
    assert place.visible() == {"orders", "orders_v1", "orders_v2"}

    # When the last reader has moved, version 1 goes.
    mesh.edit(BILLING_READS, "amount as due", "paid as due")
    mesh.edit(BILLING_READS, "v=1", "v=2")
    assert place.publishes("billing", SAME) == {"invoices"}
    place.retire("shop.orders.v1", later)
    assert place.visible() == {"orders", "orders_v2"}
    assert place.paid("shop.orders", "paid") == place.paid("shop.orders_v2", "paid") == PAID
    assert place.paid("billing.invoices", "due") == PAID


@pytest.mark.timeout(600)
def test_the_gate_measures_on_each_target(place: Place) -> None:
    """A narrowed decimal by the contract; figures times 100 by what the target measured."""
    mesh = place.mesh
    sql, declared = f"{PRODUCTS}/orders.sql", f"{PRODUCTS}/orders.yml"
    mesh.edit(sql, "decimal(12, 2)", "decimal(11, 2)")
    mesh.edit(declared, "decimal(12,2)", "decimal(11,2)")
    message = place.refused("shop")
    assert "(T4)" in message
    assert "billing.stg_shop__orders.due" in message
    mesh.edit(declared, "decimal(11,2)", "decimal(12,2)")

    mesh.edit(sql, "cast(amount as decimal(11, 2))", "cast(amount * 100 as decimal(12, 2))")
    assert "(M1)" in place.refused("shop")
    assert place.publishes("shop", confirmed="Amounts are in cents from now on.") == {"orders"}
    assert place.paid("shop.orders", "amount") == PAID * 100
