"""Versions of a product, built and published side by side, and the name without a number."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from meshhouse.engines import engine
from meshhouse.maintenance.maintain import maintain
from meshhouse.repository import Product
from meshhouse.runs.contracts import DeclaredContracts
from meshhouse.runs.parse import fresh_manifest
from tests.conftest import Mesh
from tests.support.engines_help import run_local
from tests.support.versioned import PRODUCTS, two_versions

FIRST = ["order_id", "customer_id", "amount", "sold_at"]
SECOND = ["order_id", "amount", "sold_at", "store_id"]
READERS = "domains/crm/models"


def columns(mesh: Mesh, relation: str) -> list[str]:
    return [row[0] for row in mesh.rows(f"describe {relation}")]


def states(mesh: Mesh) -> dict[str, str]:
    return engine(mesh.repository).states()


def orders_of(mesh: Mesh, relation: str) -> list[int]:
    return [number for (number,) in mesh.rows(f"select order_id from {relation} order by 1")]


def read_both_versions(mesh: Mesh) -> None:
    """A product of crm from the latest version, and one from version 1."""
    mesh.write(f"{READERS}/staging/stg_shop__orders.sql",
               "select order_id, store_id as customer_id, amount\n"
               "from {{ ref('shop', 'orders') }}\n")  # fmt: skip
    mesh.write(f"{READERS}/staging/stg_shop__first_orders.sql",
               "select order_id, customer_id from {{ ref('shop', 'orders', v=1) }}\n")  # fmt: skip
    mesh.write(f"{READERS}/products/buyers.sql",
               "select cast(customer_id as bigint) as customer_id, "
               "cast(count(*) as bigint) as orders\n"
               "from {{ ref('stg_shop__first_orders') }}\ngroup by customer_id\n")  # fmt: skip
    checks = "columns:\n  - name: customer_id\n    checks:\n      - missing:\n      - duplicate:\n"
    mesh.write(f"{READERS}/products/customers.checks.yml", checks)
    mesh.write(f"{READERS}/products/buyers.checks.yml", checks + (
        "checks:\n  - failed_rows:\n      name: Known\n      qualifier: known\n"
        "      query: select customer_id from crm.buyers where orders > "
        "(select count(*) from shop.orders)\n      threshold: {must_be: 0}\n"
    ))  # fmt: skip
    mesh.write(f"{READERS}/products/buyers.yml", """\
version: 2
models:
  - name: buyers
    description: Who bought. One row per customer.
    config:
      access: public
      group: crm
      contract: {enforced: true}
      meta:
        grain: [customer_id]
    columns:
      - {name: customer_id, data_type: bigint, description: The customer.}
      - {name: orders, data_type: bigint, description: How many orders.}
""")  # fmt: skip


def test_versions_are_published_side_by_side_and_the_plain_name_shows_the_latest(mesh):
    two_versions(mesh)
    mesh.sell(1, 2, customer=5)
    read_both_versions(mesh)
    mesh.run("check")
    mesh.run("run", "shop", "crm")
    assert columns(mesh, "shop.orders_v1") == FIRST
    assert columns(mesh, "shop.orders_v2") == columns(mesh, "shop.orders") == SECOND
    shown = states(mesh)
    assert shown["shop.orders"] == shown["shop.orders_v2"] != shown["shop.orders_v1"]
    # An unpinned `ref` reads the latest version, a pinned one its version.
    assert mesh.row("select customer_id, orders from crm.customers") == (7, 2)
    assert mesh.row("select customer_id, orders from crm.buyers") == (5, 2)

    # Each version has its own history; the name without a number is that of the latest.
    [first], [second] = mesh.history("shop.orders_v1"), mesh.history("shop.orders_v2")
    assert (first["version"], second["version"]) == (1, 2)
    assert mesh.history("shop.orders") == [second]
    assert {check["key"] for check in first["checks"]} != {c["key"] for c in second["checks"]}
    listed = json.loads(mesh.run("status", "--json").stdout)
    assert {each["product"]: each["version"] for each in listed if "shop." in each["product"]} == {
        "shop.orders_v1": 1, "shop.orders_v2": 2,
    }  # fmt: skip
    assert "store_id" in mesh.run("show", "shop.orders").stdout
    assert "0 products published, 4 unchanged" in mesh.run("run", "shop", "crm").stderr

    # A rollback stays within the version, and moves the alias.
    mesh.sell(3, customer=5)
    mesh.run("run", "shop")
    assert orders_of(mesh, "shop.orders") == orders_of(mesh, "shop.orders_v1") == [1, 2, 3]
    mesh.run("rollback", "shop.orders_v2")
    assert orders_of(mesh, "shop.orders") == orders_of(mesh, "shop.orders_v2") == [1, 2]
    assert orders_of(mesh, "shop.orders_v1") == [1, 2, 3]
    refused = mesh.run("rollback", "shop.orders", code=1).stderr
    assert "has only one publication" in refused, refused
    mesh.run("doctor")


def test_the_plain_name_follows_latest_version_without_a_build(mesh):
    two_versions(mesh, latest=1)
    mesh.sell(1)
    mesh.run("run", "shop")
    assert columns(mesh, "shop.orders") == FIRST
    mesh.edit(f"{PRODUCTS}/orders.yml", "latest_version: 1", "latest_version: 2")
    # A run that fails moves no name, and neither does a run of another domain.
    good = (mesh.root / PRODUCTS / "orders_v1.sql").read_text()
    mesh.write(f"{PRODUCTS}/orders_v1.sql", "select nothing from {{ ref('stg_sales') }}\n")
    mesh.run("run", "shop", code=1)
    assert columns(mesh, "shop.orders") == FIRST
    mesh.write(f"{PRODUCTS}/orders_v1.sql", good)
    said = mesh.run("run", "shop")
    assert "shop.orders shows version 2 now" in said.stdout + said.stderr
    assert columns(mesh, "shop.orders") == SECOND
    assert states(mesh)["shop.orders"] == states(mesh)["shop.orders_v2"]
    assert [each["kind"] for each in mesh.history("shop.orders_v2")] == ["alias", "publish"]
    # It also moves with the publication of another version.
    mesh.edit(f"{PRODUCTS}/orders.yml", "latest_version: 2", "latest_version: 1")
    mesh.edit(f"{PRODUCTS}/orders_v1.sql", "as bigint) as order_id", "as bigint) + 10 as order_id")
    mesh.run("run", "shop.orders_v1", code=None)
    mesh.run("doctor")


def test_who_reads_the_plain_name_counts_for_the_version_that_it_shows(mesh):
    two_versions(mesh, latest=1)
    mesh.sell(1)
    mesh.run("run", "shop")
    mesh.edit(f"{PRODUCTS}/orders.yml", "latest_version: 1", "latest_version: 2")
    mesh.run("run", "shop")  # builds nothing, so the published contracts name version 1
    read_both_versions(mesh)
    mesh.run("run", "crm")
    assert "Y6" not in mesh.run("diff", "shop", "--json").stdout

    store = "          - {name: store_id, data_type: integer, description: The store.}\n"
    mesh.edit(f"{PRODUCTS}/orders.yml", store, "")
    mesh.edit(f"{PRODUCTS}/orders_v2.sql", ",\n    cast(7 as integer) as store_id", "")
    changes = json.loads(mesh.run("diff", "shop", "--json", code=1).stdout)
    assert "crm.stg_shop__orders.customer_id" in json.dumps(changes)
    assert "crm.stg_shop__orders.customer_id" in mesh.run("run", "shop", code=1).stderr

    # Back to version 1, the name would show another contract.
    mesh.edit(f"{PRODUCTS}/orders.yml", "latest_version: 2", "latest_version: 1")
    message = mesh.run("run", "shop", code=1).stderr
    assert "crm.stg_shop__orders.*" in message.partition("(Y6); it hits")[2]


def test_one_version_can_be_run_by_its_alias(mesh):
    two_versions(mesh)
    mesh.sell(1)
    mesh.run("run", "shop.orders")
    assert set(states(mesh)) >= {"shop.orders", "shop.orders_v2"}
    assert "shop.orders_v1" not in states(mesh)


def test_a_product_that_gets_versions_keeps_its_history_as_version_1(mesh):
    mesh.sell(1)
    mesh.run("run", "shop")
    mesh.sell(2)
    mesh.run("run", "shop")
    mesh.run("run", "crm")
    before = states(mesh)["shop.orders"]
    two_versions(mesh, latest=1)
    mesh.run("run", "shop")
    mesh.run("run", "crm")  # it reads the same under another name, which nobody must confirm
    assert columns(mesh, "shop.orders_v1") == columns(mesh, "shop.orders") == FIRST
    kinds = [(each["product"], each["kind"]) for each in mesh.history("shop.orders_v1")]
    assert kinds == [("orders_v1", "publish"), ("orders_v1", "rename"), ("orders", "publish"),
                     ("orders", "publish")]  # fmt: skip
    assert before.rpartition("/metadata/")[0] in states(mesh)["shop.orders_v1"]
    listed = json.loads(mesh.run("status", "--json").stdout)
    undeclared = [each["product"] for each in listed if each["state"] == "not declared"]
    assert undeclared == ["shop.totals"]
    mesh.run("rollback", "shop.orders")
    mesh.run("rollback", "shop.orders_v1")
    assert orders_of(mesh, "shop.orders") == orders_of(mesh, "shop.orders_v1") == [1]
    assert states(mesh)["shop.orders"] == states(mesh)["shop.orders_v1"]
    findings = json.loads(mesh.run("doctor", "--json", code=None).stdout)
    assert not [each for each in findings if each["level"] == "damaged"]


def test_a_lake_that_shows_the_latest_version_under_the_plain_name_is_upgraded(mesh, monkeypatch):
    """Earlier versions of the mesh published the latest version as `shop.orders` only."""
    two_versions(mesh)
    mesh.sell(1, customer=5)
    with monkeypatch.context() as patch:
        patch.setattr(Product, "name", property(
            lambda each: each.model if each.is_latest else f"{each.model}_v{each.version}"
        ))  # fmt: skip
        patch.setattr(Product, "aliases", ())
        from tests.support.engines_help import land_new

        land_new(mesh)
        assert run_local(mesh, "shop").outcome == "published"
    assert {"shop.orders", "shop.orders_v1"} <= set(states(mesh))
    assert "shop.orders_v2" not in states(mesh)
    assert columns(mesh, "shop.orders") == SECOND

    # A consumer's run comes first: it reads what it read before.
    read_both_versions(mesh)
    mesh.run("run", "crm")
    assert mesh.row("select customer_id, orders from crm.customers") == (7, 1)
    assert states(mesh)["shop.orders"] == states(mesh)["shop.orders_v2"]
    assert "0 products published, 2 unchanged" in mesh.run("run", "shop").stderr
    mesh.sell(2, customer=5)
    mesh.run("run", "shop")
    assert orders_of(mesh, "shop.orders") == orders_of(mesh, "shop.orders_v2") == [1, 2]
    mesh.run("rollback", "shop.orders")
    assert orders_of(mesh, "shop.orders") == orders_of(mesh, "shop.orders_v2") == [1]


def test_a_product_that_loses_its_versions_goes_on_under_the_plain_name(mesh):
    original = (mesh.root / PRODUCTS / "orders.yml").read_text()
    model = (mesh.root / PRODUCTS / "orders.sql").read_text()
    checks = (mesh.root / PRODUCTS / "orders.checks.yml").read_text()
    two_versions(mesh, latest=1)
    mesh.sell(1)
    mesh.run("run", "shop.orders")
    for path in (mesh.root / PRODUCTS).glob("orders*"):
        path.unlink()
    mesh.write(f"{PRODUCTS}/orders.yml", original)
    mesh.write(f"{PRODUCTS}/orders.sql", model)
    mesh.write(f"{PRODUCTS}/orders.checks.yml", checks)
    mesh.sell(2)
    assert "loses its versions" in mesh.run("run", "shop", code=1).stderr
    until = str((datetime.now(UTC) + timedelta(days=20)).date())
    mesh.run("waive", "shop.orders", "Y10:version", "--because", "Nobody pins it.",
             "--owner", "Shop <shop@example.com>", "--until", until)  # fmt: skip
    mesh.run("run", "shop")
    assert orders_of(mesh, "shop.orders") == [1, 2]
    assert [each["kind"] for each in mesh.history("shop.orders")] == [
        "publish", "rename", "publish",
    ]  # fmt: skip


def test_versions_that_were_taken_back_and_come_again_keep_the_history(mesh):
    mesh.sell(1)
    mesh.run("run", "shop")
    mesh.sell(2)
    mesh.run("run", "shop")
    before = {path: path.read_text() for path in (mesh.root / PRODUCTS).glob("orders*")}
    two_versions(mesh, latest=1)
    mesh.run("run", "shop")
    versioned = {path: path.read_text() for path in (mesh.root / PRODUCTS).glob("orders*")}
    for texts in (before, versioned):
        for path in (mesh.root / PRODUCTS).glob("orders*"):
            path.unlink()
        for path, text in texts.items():
            path.write_text(text)
        mesh.run("run", "shop", code=1 if texts is before else 0)
    assert [each["kind"] for each in mesh.history("shop.orders_v1")][-3:] == [
        "rename", "publish", "publish",
    ]  # fmt: skip
    mesh.run("rollback", "shop.orders_v1")
    mesh.run("rollback", "shop.orders_v1")
    assert orders_of(mesh, "shop.orders") == orders_of(mesh, "shop.orders_v1") == [1]
    mesh.run("doctor")


def test_maintenance_removes_nothing_that_either_name_needs(mesh):
    two_versions(mesh)
    mesh.sell(1)
    mesh.run("run", "shop")
    for number in range(2, 5):
        mesh.sell(number)
        mesh.run("run", "shop")
    for _ in range(2):
        maintain(engine(mesh.repository).lake, (), timedelta(0), timedelta(0))
        assert orders_of(mesh, "shop.orders") == orders_of(mesh, "shop.orders_v2") == [1, 2, 3, 4]
        assert states(mesh)["shop.orders"] == states(mesh)["shop.orders_v2"]
    mesh.run("rollback", "shop.orders")
    assert orders_of(mesh, "shop.orders") == orders_of(mesh, "shop.orders_v2") == [1, 2, 3]


@pytest.mark.parametrize("moved", [False, True])
def test_a_backup_keeps_both_names(mesh, tmp_path, moved):
    two_versions(mesh)
    mesh.sell(1)
    mesh.run("run", "shop")
    if moved:
        mesh.home.rename(tmp_path / "elsewhere")
        variables = {"MESH_HOME": str(tmp_path / "elsewhere")}
        mesh.run("adopt", environment=variables, code=None)
    else:
        mesh.run("backup", str(tmp_path / "copy"))
        variables = {"MESH_HOME": str(tmp_path / "restored")}
        mesh.run("restore", str(tmp_path / "copy"), environment=variables)
    for relation in ("shop.orders", "shop.orders_v2"):
        rows = mesh.run("sql", f"select order_id from {relation}", "--format", "json",
                        environment=variables)  # fmt: skip
        assert json.loads(rows.stdout) == [{"order_id": 1}]
    mesh.run("run", "shop", "--force", environment=variables)
    mesh.run("maintain", "--older-than", "1h", environment=variables)
    mesh.run("rollback", "shop.orders", environment=variables)


def test_an_environment_has_an_alias_of_its_own_versions(mesh):
    two_versions(mesh)
    mesh.sell(1)
    mesh.run("run", "shop")
    trial = {"MESH_ENV": "trial"}
    mesh.edit(f"{PRODUCTS}/orders_v2.sql", "cast(7 as", "cast(8 as")
    mesh.run("run", "shop", environment=trial)
    stored = engine(mesh.repository).lake.stored()
    assert stored["trial__shop.orders"] == stored["trial__shop.orders_v2"]
    assert mesh.row("select store_id from shop.orders") == (7,)
    mesh.run("env", "drop", "trial", "--yes", code=None)
    assert mesh.row("select store_id from shop.orders") == (7,)
    assert mesh.row("select store_id from shop.orders_v2") == (7,)


def test_a_contract_tells_pinned_readers_from_those_of_the_latest_version(mesh):
    two_versions(mesh)
    read_both_versions(mesh)
    repository = mesh.repository
    crm = repository.domain("crm")
    contracts = DeclaredContracts(repository, crm, fresh_manifest(repository, crm))
    read = {
        (each["reader"], each["relation"])
        for product in crm.products
        for each in contracts.of(product).get("reads", ())
        if each.get("is_direct", True)
    }
    assert read == {
        ("crm.stg_shop__orders", "shop.orders"),
        ("crm.stg_shop__first_orders", "shop.orders_v1"),
        ("crm.buyers", "shop.orders"),  # in the query of a check
    }
