"""One story of a small mesh, act after act: published, unchanged, rejected, mended, rolled back.

Each act is a fixture that builds on the one before; the tests look at what it left.
"""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import duckdb
import pytest

from meshhouse.errors import UsageError
from meshhouse.lake import Lake, snapshot_id
from meshhouse.lake.ledger import LakeLedger
from tests.conftest import WARM, Mesh

EVERYTHING = {"shop.orders", "shop.totals", "crm.customers", "mesh.overview", "depot.stock"}
SALES = EVERYTHING - {"depot.stock"}

DEPOT = {
    "dbt_project.yml": """\
name: depot
version: "1.0.0"
config-version: 2
profile: meshhouse
models:
  depot:
    +materialized: table
    staging:
      +materialized: view
""",
    ".dbtignore": "*.checks.yml\n",
    "models/depot.yml": """\
version: 2
groups:
  - name: depot
    owner: {name: depot team, email: depot@tiny.example}
sources:
  - name: depot_raw
    tables:
      - name: stock
        description: One row per count.
        config: {meta: {topic: depot.stock}}
        columns:
          - {name: item_id, data_type: bigint, config: {meta: {required: true}}}
          - {name: pieces, data_type: integer}
""",
    "models/staging/stg_stock.sql": """\
select item_id, pieces from {{ source('depot_raw', 'stock') }}
""",
    "models/products/stock.sql": """\
select
    cast(item_id as bigint) as item_id,
    cast(sum(pieces) as bigint) as pieces
from {{ ref('stg_stock') }}
group by item_id
""",
    "models/products/stock.yml": """\
version: 2
models:
  - name: stock
    description: What lies in the depot. One row per item.
    config:
      access: public
      group: depot
      contract: {enforced: true}
      meta: {grain: [item_id]}
    columns:
      - {name: item_id, data_type: bigint}
      - {name: pieces, data_type: bigint}
""",
    "models/products/stock.checks.yml": """\
columns:
  - name: item_id
    checks:
      - duplicate:
""",
}
"""A domain that uses none of the others."""


def run(mesh: Mesh, *arguments: str, code: int = 0) -> dict:
    done = mesh.run("run", "--json", *arguments, code=code)
    assert "Warning" not in done.stderr  # libraries' warnings are not for users
    return json.loads(done.stdout)


def names(entries: list[dict]) -> set[str]:
    return {entry["product"] for entry in entries}


def snapshots(mesh: Mesh) -> dict[str, int | None]:
    """Product -> the snapshot that consumers see."""
    states = Lake(mesh.home).states()
    return {name: snapshot_id(states[name]) for name in EVERYTHING}


def shown(mesh: Mesh) -> tuple:
    return mesh.row(
        "select (select count(*) from shop.orders), (select orders from shop.totals), "
        "(select sum(orders) from crm.customers), (select customers from mesh.overview)"
    )


@pytest.fixture(scope="module")
def mesh(new_mesh) -> Mesh:
    """Domains shop -> crm -> mesh, and depot beside them; 20 sales of 4 customers wait."""
    mesh = new_mesh()
    for path, text in DEPOT.items():
        mesh.write(f"domains/depot/{path}", text)
    for number in range(20):
        mesh.sell(number, customer=number % 4)
    count(mesh, 1, 2)
    return mesh


def count(mesh: Mesh, *items: int) -> None:
    mesh.send("depot.stock", [(b"k", b'{"item_id": %d, "pieces": 5}' % item) for item in items])


@pytest.fixture(scope="module")
def first(mesh: Mesh) -> dict:
    return run(mesh)


def test_the_first_run_lands_and_publishes_everything(mesh, first):
    assert {landed["table"]: landed["rows"] for landed in first["landed"]} == {
        "shop_raw.sales": 20,
        "depot_raw.stock": 2,
    }
    assert names(first["published"]) == EVERYTHING
    assert (first["unchanged"], first["failed"], first["not_run"]) == ([], [], [])
    assert shown(mesh) == (20, 20, 20, 4)


def test_consumers_read_the_products_and_nothing_behind_them(mesh, first):
    assert mesh.query(
        "select customer_id, orders, spent from crm.customers order by all limit 1"
    ) == [{"customer_id": 0, "orders": 5, "spent": "7.50"}]
    with pytest.raises(UsageError, match=r"`shop_raw\.sales` does not exist"):
        mesh.rows("select * from shop_raw.sales")


def test_the_ledger_tells_everything_about_a_publication(mesh, first):
    [orders] = mesh.history("shop.orders")
    [said] = [entry for entry in first["published"] if entry["product"] == "shop.orders"]
    [customers] = mesh.history("crm.customers")
    assert (orders["domain"], orders["product"], orders["version"]) == ("shop", "orders", 1)
    assert (orders["kind"], orders["rows"], orders["score"]) == ("publish", 20, "100.00")
    assert orders["snapshot_id"] == said["snapshot_id"]
    assert orders["bytes"] == said["bytes"] > 0
    assert list(orders["input_snapshots"]) == ["shop_raw.sales"]
    assert customers["input_snapshots"] == {"shop.orders": orders["snapshot_id"]}
    assert orders["code_version"] != customers["code_version"]
    started, finished = (
        datetime.fromisoformat(orders[each]) for each in ("started_at", "finished_at")
    )
    assert started < finished
    assert orders["done_by"]
    assert {check["key"]: (check["outcome"], check["value"]) for check in orders["checks"]} == {
        "order_id__missing": ("passed", 0),
        "order_id__duplicate": ("passed", 0),
        "amount__invalid": ("passed", 0),
        "schema": ("passed", 0),
        "row_count": ("passed", 20),
        "metric__rows_against_previous": ("passed", 100),
    }


def test_status_shows_every_product_with_its_promise(mesh, first):
    status = {each["product"]: each for each in json.loads(mesh.run("status", "--json").stdout)}
    assert set(status) == EVERYTHING
    orders = status["shop.orders"]
    assert (orders["version"], orders["rows"], orders["score"]) == (1, 20, 100.0)
    assert (orders["freshness"], orders["last_run"]) == ("fresh", "published")
    assert status["shop.totals"]["freshness"] == "no promise"


@pytest.fixture(scope="module")
def second(mesh: Mesh, first: dict) -> dict:
    before = snapshots(mesh)
    return {**run(mesh), "before": before, "after": snapshots(mesh)}


def test_a_second_run_publishes_nothing(mesh, second):
    assert second["published"] == []
    assert set(second["unchanged"]) == EVERYTHING
    assert second["before"] == second["after"]
    assert len(mesh.history("shop.orders")) == 1


@pytest.fixture(scope="module")
def more_sales(mesh: Mesh, second: dict) -> dict:
    mesh.sell(20, 21, customer=9)
    return {**run(mesh), "before": second["after"], "after": snapshots(mesh)}


def test_new_events_publish_what_they_reach_and_nothing_else(mesh, more_sales):
    assert names(more_sales["published"]) == SALES
    assert more_sales["unchanged"] == ["depot.stock"]
    before, after = more_sales["before"], more_sales["after"]
    assert {name for name in EVERYTHING if before[name] != after[name]} == SALES
    assert shown(mesh) == (22, 22, 22, 5)


@pytest.fixture(scope="module")
def rejected(mesh: Mesh, more_sales: dict) -> subprocess.CompletedProcess[str]:
    mesh.sell(22, amount=-3.25)
    count(mesh, 3)
    return mesh.run("run", code=1)


def test_a_failing_check_is_named_with_its_number_and_a_sample_row(mesh, rejected):
    assert "shop.orders failed 1 of 6 checks" in rejected.stderr
    assert "No negative amounts (column amount): found 1, must be 0" in rejected.stderr
    assert "order_id=22, customer_id=1, amount=-3.25" in rejected.stderr
    assert "Traceback" not in rejected.stderr


def test_consumers_keep_what_they_had_of_every_product_of_the_domain(mesh, rejected, more_sales):
    assert shown(mesh) == (22, 22, 22, 5)
    assert mesh.row("select count(*) from shop.orders where amount < 0") == (0,)
    now = snapshots(mesh)
    assert {name: now[name] for name in SALES} == {
        name: more_sales["after"][name] for name in SALES
    }


def test_domains_that_use_the_failed_one_are_not_run_and_independent_ones_are(mesh, rejected):
    assert "not run" in rejected.stderr
    assert "crm: it uses a domain that failed" in rejected.stderr
    assert "published depot.stock: 3 rows" in rejected.stderr
    assert mesh.row("select count(*) from depot.stock") == (3,)


def test_the_ledger_keeps_what_was_rejected_and_why(mesh, rejected):
    status = {each["product"]: each for each in json.loads(mesh.run("status", "--json").stdout)}
    assert status["shop.orders"]["last_run"] == "rejected"
    assert status["shop.orders"]["rows"] == 22
    audits = LakeLedger(Lake(mesh.home)).entries("audits", "shop")
    checks = [check for audit in audits[-2:] for check in audit["checks"]]
    failed = [check for check in checks if check["outcome"] == "failed"]
    assert [(check["key"], check["value"]) for check in failed] == [("amount__invalid", 1)]


def test_a_plain_dbt_build_in_a_domain_reads_published_products(mesh, rejected):
    # What shop has built now holds the rejected order; what it publishes does not.
    dbt = Path(sys.executable).with_name("dbt")
    done = subprocess.run(
        [dbt, "build"],
        cwd=mesh.root / "domains" / "crm",
        env={**mesh.environment, "DBT_PROFILES_DIR": str(mesh.root / "profiles")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    builds = {}
    for domain, query in (
        ("shop", "select count(*) from shop_build.orders"),
        ("crm", "select sum(orders) from crm_build.customers"),
    ):
        file = mesh.home / "build" / domain / "work.duckdb"
        with duckdb.connect(str(file), read_only=True) as connection:
            builds[domain] = connection.execute(query).fetchone()
    assert builds == {"shop": (23,), "crm": (22,)}


@pytest.fixture(scope="module")
def mended(mesh: Mesh, rejected: object) -> dict:
    mesh.edit(
        "domains/shop/models/staging/stg_sales.sql",
        "from {{ source('shop_raw', 'sales') }}",
        "from {{ source('shop_raw', 'sales') }}\nwhere amount >= 0",
    )
    mesh.sell(23, customer=1)
    # Totals count other rows now, which an owner must confirm.
    refused = mesh.run("run", code=1)
    assert "mesh confirm shop.orders D2" in refused.stderr
    return run(mesh, "--confirm", "negative sales are mistakes of the till")


def test_after_the_correction_the_domain_and_those_that_use_it_publish(mesh, mended):
    assert names(mended["published"]) == SALES
    assert mended["failed"] == []
    assert shown(mesh) == (23, 23, 23, 5)


@pytest.fixture(scope="module")
def rolled_back(mesh: Mesh, mended: dict) -> list[str]:
    return [mesh.run("rollback", name).stderr for name in ("shop.orders", "shop.totals")]


def test_a_rollback_shows_the_publication_before(mesh, rolled_back):
    assert "see the publication of" in rolled_back[0]
    assert "(22 rows)" in rolled_back[0]
    assert mesh.row("select count(*) from shop.orders") == (22,)
    assert mesh.row("select orders from shop.totals") == (22,)


def test_history_lists_publications_and_rollbacks_newest_first(mesh, rolled_back):
    entries = mesh.history("shop.orders")
    assert [(entry["kind"], entry["rows"]) for entry in entries] == [
        ("rollback", 22),
        ("publish", 23),
        ("publish", 22),
        ("publish", 20),
    ]
    listed = mesh.run("history", "shop.orders").stdout.splitlines()
    [marked] = [line for line in listed if line.startswith("*")]
    assert " 22 " in marked
    assert str(entries[0]["snapshot_id"]) in marked


@pytest.fixture(scope="module")
def held_back(mesh: Mesh, rolled_back: list[str]) -> dict:
    return run(mesh)


def test_a_run_after_a_rollback_leaves_it_and_rebuilds_what_was_made_of_it(mesh, held_back):
    assert set(held_back["held_back"]) == {"shop.orders", "shop.totals"}
    assert names(held_back["published"]) == {"crm.customers", "mesh.overview"}
    assert shown(mesh) == (22, 22, 22, 5)


@pytest.fixture(scope="module")
def forced(mesh: Mesh, held_back: dict) -> dict:
    why = "negative sales are mistakes of the till"
    return run(mesh, "--force", "shop", "--downstream", "--confirm", why)


def test_force_publishes_what_was_rolled_back(mesh, forced):
    assert names(forced["published"]) == SALES
    assert shown(mesh) == (23, 23, 23, 5)


@pytest.fixture(scope="module")
def downstream(mesh: Mesh, forced: dict) -> dict:
    mesh.sell(24)
    mesh.edit("domains/crm/models/products/customers.sql", "sum(amount)", "sum(2 * amount)")
    return run(mesh, "crm.customers", "--downstream", "--confirm", "every sale counts twice")


def test_downstream_runs_the_product_and_its_users_and_leaves_what_it_uses(mesh, downstream):
    assert names(downstream["published"]) == {"crm.customers", "mesh.overview"}
    assert downstream["landed"] == []
    assert mesh.row("select count(*) from shop.orders") == (23,)
    assert mesh.row("select spent from mesh.overview") == (69,)


def test_two_runs_at_once_land_once_and_publish_once(mesh, downstream):
    output = mesh.root / "out", mesh.root / "err"
    before = len(mesh.history("shop.orders"))
    both = [WARM.start(["run", "shop"], mesh.root, mesh.environment, output) for _ in range(2)]
    assert [WARM.wait(process, 300) for process in both] == [0, 0]
    assert mesh.row("select count(*), count(distinct order_id) from shop.orders") == (24, 24)
    assert len(mesh.history("shop.orders")) == before + 1
