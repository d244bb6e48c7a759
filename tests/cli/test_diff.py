"""`mesh diff`: what changed, whom it hits, the ways out, and which rows differ."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any

import pytest

from tests.conftest import Mesh
from tests.support.engines_help import land_new, published, run_local
from tests.support.kept import Kept

PRODUCTS = "domains/shop/models/products"
ORDERS, ORDERS_SQL = f"{PRODUCTS}/orders.yml", f"{PRODUCTS}/orders.sql"
CUSTOMER = "crm.stg_shop__orders.customer_id"
CHECK = "crm.customers (check failed_rows__known)"
AMOUNT = "crm.stg_shop__orders.amount"


@pytest.fixture(scope="module")
def published_once(new_mesh) -> Kept:
    """A mesh in which shop and crm are published, with three orders."""
    mesh = new_mesh()
    mesh.edit(ORDERS, "description: Who bought.}",
              "description: Who bought., meta: {classification: personal}}")  # fmt: skip
    mesh.sell(1, 2, 3)
    land_new(mesh)
    for domain in ("shop", "crm"):
        published(run_local(mesh, domain))
    return Kept(mesh.root)


@pytest.fixture
def mesh(published_once: Kept) -> Mesh:
    return Mesh(published_once.restored())


def difference(mesh: Mesh, *arguments: str, code: int = 0) -> dict[str, Any]:
    return json.loads(mesh.run("diff", *arguments, "--json", code=code).stdout)


def changes(found: dict[str, Any], product: str = "shop.orders") -> dict[str, dict[str, Any]]:
    [judged] = [each for each in found["products"] if each["product"] == product]
    return {each["change"]: each for each in judged["changes"]}


def drop_customer(mesh: Mesh) -> None:
    lines = (mesh.root / ORDERS_SQL).read_text().splitlines(keepends=True)
    mesh.write(ORDERS_SQL, "".join(each for each in lines if "customer_id" not in each))
    lines = (mesh.root / ORDERS).read_text().splitlines(keepends=True)
    mesh.write(ORDERS, "".join(each for each in lines if "{name: customer_id" not in each))
    mesh.edit(ORDERS, "order_id: 1, customer_id: 2,", "order_id: 1,")


def times_100(mesh: Mesh) -> None:
    mesh.edit(ORDERS_SQL, "cast(amount as", "cast(amount * 100 as")
    mesh.edit(ORDERS, "customer_id: 2, amount: 3.5}\n", "customer_id: 2, amount: 350}\n")


def test_nothing_changed(mesh):
    done = mesh.run("diff")
    assert "shop.orders: unchanged" in done.stdout
    assert "mesh.overview: new" in done.stdout
    assert "Nothing would be refused." in done.stderr
    found = difference(mesh, "shop")
    assert (found["refused"], found["unchanged"]) == (False, ["shop.orders", "shop.totals"])
    quiet = mesh.run("diff", "shop", "--quiet")
    assert (quiet.stdout, quiet.stderr) == ("", "")


def test_another_text_of_the_same_sql_changes_nothing_for_readers(mesh):
    mesh.edit(ORDERS_SQL, "select\n", "-- the orders\nselect\n")
    found = difference(mesh, "shop.orders")
    assert not found["refused"]
    assert not any(each["verdict"] != "harmless" for each in changes(found).values()) \
        if found["products"] else found["unchanged"] == ["shop.orders"]  # fmt: skip


def test_a_dropped_column_names_its_readers_and_the_ways_out(mesh):
    drop_customer(mesh)
    change = changes(difference(mesh, "shop", code=1))["S2:customer_id"]
    assert change["verdict"] == "breaking"
    assert [each["column"] for each in change["hits"]] == [CHECK, CUSTOMER]
    assert change["ways_out"][0] == "mesh new version shop.orders"
    assert "--consent crm" in change["ways_out"][1]

    narrow = mesh.run("diff", "shop", code=1, environment={"COLUMNS": "80"})
    for line in narrow.stdout.splitlines():
        assert len(line) <= 80 or line.lstrip().startswith("-> mesh "), line
    assert "crm team <crm@tiny.example>" in narrow.stdout
    assert "1 change would be refused." in narrow.stderr

    # `mesh check` says the same, at the product's declaration.
    [finding] = json.loads(mesh.run("check", "--json", code=1).stdout)
    assert finding["file"] == str(mesh.root / ORDERS) or finding["file"] == ORDERS
    assert CUSTOMER in finding["problem"]
    assert "mesh new version shop.orders" in finding["remedy"]


@pytest.mark.parametrize(
    ("name", "old", "new", "hit"),
    [
        ("a narrowed decimal", "decimal(12", "decimal(6", AMOUNT),
        ("a number as text", "cast(customer_id as bigint)", "cast(customer_id as varchar)",
         CUSTOMER),
    ],
)  # fmt: skip
def test_a_changed_type_is_refused(mesh, name, old, new, hit):
    mesh.edit(ORDERS_SQL, old, new)
    if "decimal" in old:
        mesh.edit(ORDERS, "decimal(12,2)", "decimal(6,2)")
    else:
        mesh.edit(ORDERS, "customer_id, data_type: bigint", "customer_id, data_type: string")
    found = changes(difference(mesh, "shop.orders", code=1))
    hits = {hit["column"] for each in found.values() if each["refused"] for hit in each["hits"]}
    assert hit in hits, (name, found)


def test_a_changed_grain_is_refused(mesh):
    mesh.edit(ORDERS, "grain: [order_id]", "grain: [order_id, customer_id]")
    found = changes(difference(mesh, "shop.orders", code=1))
    assert found["K3"]["refused"]


def test_rows_of_a_refused_build_are_compared_with_what_consumers_see(mesh):
    times_100(mesh)
    assert run_local(mesh, "shop", confirmed="").outcome == "rejected"
    found = difference(mesh, "shop.orders", "--data", code=1)
    assert changes(found)["M1:amount"]["refused"]
    [rows] = found["rows"]
    assert (rows["added"], rows["removed"], rows["changed"]) == (0, 0, 3)
    assert (rows["key"], rows["columns"]) == (["order_id"], {"amount": 3})
    assert rows["examples"][0] == {
        "kind": "changed", "key": {"order_id": "1"}, "before": {"amount": "1.50"},
        "values": {"amount": "150.00"},
    }  # fmt: skip
    text = mesh.run("diff", "shop.orders", "--data", code=1).stdout
    assert "order_id=1: amount 1.50 -> 150.00" in text
    assert "table shop_build.orders of work.duckdb" in text


def test_two_publications_are_compared_with_their_rows(mesh):
    first = mesh.history("shop.orders")[0]["number"]
    mesh.sell(4, customer=77)
    land_new(mesh)
    mesh.edit(ORDERS_SQL, "as sold_at\n", "as sold_at,\n    cast(null as bigint) as coupon\n")
    mesh.edit(ORDERS, "unit_tests:", "      - {name: coupon, data_type: bigint, "
              "description: The coupon.}\nunit_tests:")  # fmt: skip
    published(run_local(mesh, "shop"))
    latest = mesh.history("shop.orders")[0]["number"]
    found = difference(mesh, "shop.orders", "--from", str(first), "--data")
    [rows] = found["rows"]
    assert f"publication {first} " in rows["before"]
    assert f"publication {latest} " in rows["after"]
    assert (rows["added"], rows["removed"], rows["changed"]) == (1, 0, 0)
    assert rows["only_after"] == ["coupon"]
    [example] = rows["examples"]
    assert example["key"] == {"order_id": "4"}
    assert example["values"]["customer_id"] == "***"  # it is personal
    assert example["values"]["amount"] == "1.50"
    for form in ("--json", "--markdown", "--quiet"):
        shown = mesh.run("diff", "shop.orders", "--from", str(first), "--data", form).stdout
        assert "77" not in re.sub(r"\b[0-9a-f]{64}\b", "", shown), "hashes may have these digits"
    back = difference(mesh, "shop.orders", "--from", str(latest), "--to", str(first), "--data",
                      code=None)  # fmt: skip
    assert (back["rows"][0]["added"], back["rows"][0]["removed"]) == (0, 1)
    assert str(first) in mesh.run("history", "shop.orders").stdout


def test_a_new_and_a_removed_product(mesh):
    for old in sorted((mesh.root / PRODUCTS).glob("orders.*")):
        old.rename(old.with_name(old.name.replace("orders", "sales")))
    mesh.edit(f"{PRODUCTS}/sales.yml", "name: orders", "name: sales")
    mesh.edit(f"{PRODUCTS}/sales.yml", "model: orders", "model: sales")
    mesh.edit(f"{PRODUCTS}/totals.sql", "ref('orders')", "ref('sales')")
    found = difference(mesh, "shop", code=1)
    assert (found["new"], found["removed"]) == (["shop.sales"], ["shop.orders"])
    [judged] = [each for each in found["products"] if each["product"] == "shop.orders"]
    assert judged["contract"]["candidate"] is None
    refused = [each for each in judged["changes"] if each["refused"]]
    hits = {hit["column"] for each in refused for hit in each["hits"]}
    assert hits == {CHECK, "crm.stg_shop__orders.*"}
    assert {each["ways_out"][0] for each in refused} == {"mesh retire shop.orders"}
    text = mesh.run("diff", "shop.orders", code=1).stdout
    assert "shop.orders: removed, and consumers still see it" in text
    assert "-> mesh retire shop.orders" in text
    assert "shop.sales" not in text


def test_a_version_beside_the_published_one_is_a_way_out(mesh):
    mesh.run("new", "version", "shop.orders")
    mesh.edit(f"{PRODUCTS}/orders_v2.sql", "cast(amount as", "cast(amount * 100 as")
    found = difference(mesh, "shop", "--data")
    assert (found["refused"], found["new"]) == (False, ["shop.orders_v2"])
    assert found["removed"] == []
    # The table gets its new name in the next run, so there is no build of that name yet.
    assert {"not_compared": "shop.orders_v1 has no build here: run `mesh run shop`."} \
        in found["rows"]  # fmt: skip


def test_a_target_that_keeps_no_builds_says_so(mesh):
    done = mesh.run(
        "diff", "shop.orders", "--data", environment={"MESH_TARGET": "spark"}, code=None
    )
    assert "the build of a refused run is not kept" in done.stdout


def test_a_broken_domain_is_listed_and_others_are_compared(mesh):
    drop_customer(mesh)
    mesh.write("domains/crm/models/products/customers.yml", "models: [\n")
    done = mesh.run("diff", code=1)
    assert "mesh: crm cannot be compared: domains/crm/models/products/customers.yml" in done.stderr
    assert "S2:customer_id" in done.stdout
    found = difference(mesh, "crm", code=1)
    assert (list(found["broken"]), found["products"]) == (["crm"], [])
    assert "`crm` cannot be compared" in mesh.run("diff", "--markdown", code=1).stdout


def test_sql_that_does_not_render_breaks_its_domain_only(mesh):
    mesh.edit(ORDERS_SQL, "select\n", "select {{ nothing_like_it() }},\n")
    found = difference(mesh, "shop", "crm", code=1)
    assert list(found["broken"]) == ["shop"]
    assert found["unchanged"] == ["crm.customers"]


def test_rows_of_a_product_that_has_versions_now_are_compared(mesh):
    """Consumers still see it under the name without a number."""
    mesh.run("new", "version", "shop.orders")
    found = difference(mesh, "shop", "--data")
    assert "shop.orders_v2" in found["new"]
    assert found["rows"]


def test_an_environment_is_compared_with_production(mesh):
    drop_customer(mesh)
    done = mesh.run("diff", "shop", "--json", code=1, environment={"MESH_ENV": "pr_1"})
    assert changes(json.loads(done.stdout))["S2:customer_id"]["refused"]


def test_sarif_has_what_code_hosts_require(mesh):
    drop_customer(mesh)
    report = json.loads(mesh.run("diff", "--sarif", code=1).stdout)
    assert report["version"] == "2.1.0"
    [run] = report["runs"]
    rules = [each["id"] for each in run["tool"]["driver"]["rules"]]
    assert run["tool"]["driver"]["name"] == "mesh diff"
    assert run["results"]
    for result in run["results"]:
        assert result["ruleId"] in rules
        assert result["level"] in {"none", "note", "warning", "error"}
        assert result["message"]["text"]
        [location] = result["locations"]
        place = location["physicalLocation"]
        assert (mesh.root / place["artifactLocation"]["uri"]).is_file()
        assert place["region"]["startLine"] >= 1
    [dropped] = [each for each in run["results"] if each["ruleId"] == "S2"]
    assert dropped["level"] == "error"
    assert CUSTOMER in dropped["message"]["text"]


def test_markdown_for_a_pull_request(mesh):
    drop_customer(mesh)
    text = mesh.run("diff", "--markdown", code=1).stdout
    assert text.startswith("**1 change would be refused.**")
    assert f"`{CUSTOMER}`" in text
    assert "### shop\\.orders: breaking, version step major" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "There is no domain `nothing`"),
        (["shop.ordrs"], "shop publishes no product `ordrs`"),
        (["shop.orders", "--to", "2"], "--to needs --from"),
        (["--from", "2"], "name that product"),
        (["shop", "--from", "2"], "name that product"),
        (["shop.orders", "--from", "99"], "has no publication 99"),
        (["shop.orders", "--from", "x"], "not a valid integer"),
        (["--json", "--sarif"], "--json and --sarif cannot be combined"),
        (["--sarif", "--data"], "--sarif has no place for rows"),
    ],
)
def test_misuse(mesh, arguments, said):
    done = mesh.run("diff", *arguments, code=2)
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_only_the_named_domain_is_read_and_parsed(mesh):
    mesh.write("domains/crm/models/products/customers.yml", "models: [\n")
    for name in ("crm", "mesh", "shop"):
        for file in mesh.home.glob(f"**/{name}/**/manifest.json"):
            file.unlink()
    difference(mesh, "shop")
    parsed = {file.parent.name for file in mesh.root.glob("**/manifest.json")}
    assert len(parsed) == 1, parsed


def test_check_goes_on_without_a_ledger_it_can_read(mesh):
    assert mesh.run("check").stderr.count("\n") == 1
    catalog = next(mesh.home.glob("lake/catalog.db"), None) or next(mesh.home.glob("**/catalog.db"))
    catalog.write_bytes(b"not a database" * 1000)
    done = mesh.run("check")
    assert "Nothing was compared with what is published" in done.stderr


def test_check_makes_no_lake(tmp_path):
    from tests.conftest import make_mesh

    fresh = make_mesh(tmp_path / "tiny")
    assert "published" not in fresh.run("check").stderr
    assert not fresh.home.exists()


def test_the_page_of_a_change_names_readers_ways_out_and_rows(mesh):
    mesh.edit(ORDERS, "Who bought.", "Who <script>alert(1)</script> bought.")
    drop_customer(mesh)
    page = mesh.run("diff", "--data", "--html", code=1).stdout
    assert page.lstrip().startswith("<!doctype html>")
    assert "would be refused" in page
    assert CUSTOMER in page
    assert "crm team" in page
    assert "mesh new version shop.orders" in page
    assert "<script" not in page
    policy = re.search(r"style-src 'sha256-([^']+)'", page)[1]
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    assert base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() == policy


def test_the_page_shows_rows_that_differ_with_personal_values_masked(mesh):
    times_100(mesh)
    mesh.run("run", "shop", code=1)
    page = mesh.run("diff", "shop.orders", "--data", "--html", code=1).stdout
    assert "Columns of shop.orders whose values changed" in page
    assert "<code>order_id=1</code>" in page
    assert "<code>amount</code>: 1.50 → 150.00" in page
