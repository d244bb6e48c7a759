"""`mesh check --explain`: each check of a product, and where it comes from."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Mesh

FOLDER = "domains/shop/models/products"
YAML, CHECKS = f"{FOLDER}/orders.yml", f"{FOLDER}/orders.checks.yml"


@pytest.fixture
def declared(mesh: Mesh) -> Mesh:
    """A product with a check from every place."""
    mesh.edit(YAML, "- {name: customer_id, data_type: bigint, description: Who bought.}\n", """\
- name: customer_id
        data_type: bigint
        description: Who bought.
        constraints:
          - type: not_null
        data_tests:
          - not_null
          - dbt_utils.at_least_one:
              name: some
""")  # fmt: skip
    mesh.edit(YAML, "hours: 24}", "hours: 24, keeps_rows_percent: 50}")
    mesh.write("policies.yml", "rules:\n  column_units: warn\n  owner: off\n")
    mesh.write(
        "domains/shop/tests/no_gifts.sql", "select 1 from {{ ref('orders') }} where amount = 0\n"
    )
    return mesh


def line(mesh: Mesh, file: str, text: str) -> int:
    lines = (mesh.root / file).read_text().splitlines()
    return next(number for number, each in enumerate(lines, 1) if text in each)


def test_each_check_has_its_origin_file_and_line(declared):
    mesh = declared
    found = json.loads(mesh.run("check", "--explain", "shop.orders", "--json").stdout)
    places = {(each["check"], each["from"], each["file"], each["line"]) for each in found}
    assert {
        ("customer_id__missing", "constraint", YAML, line(mesh, YAML, "type: not_null")),
        ("order_id__missing", "checks file", CHECKS, line(mesh, CHECKS, "missing")),
        ("order_id__duplicate", "checks file", CHECKS, line(mesh, CHECKS, "duplicate")),
        ("amount__invalid", "checks file", CHECKS, line(mesh, CHECKS, "invalid")),
        ("metric__rows_against_previous", "promise", YAML, line(mesh, YAML, "keeps_rows")),
        ("refreshed_within_hours", "promise", YAML, line(mesh, YAML, "refreshed")),
        ("customer_id__not_null", "dbt test", YAML, line(mesh, YAML, "data_tests:")),
        ("customer_id__dbt_utils.at_least_one", "dbt test", YAML, line(mesh, YAML, "at_least")),
        ("no_gifts", "dbt test", "domains/shop/tests/no_gifts.sql", 1),
        ("an_order_is_a_sale", "dbt unit test", YAML, line(mesh, YAML, "an_order_is")),
        ("column_units", "policy", "policies.yml", 2),
        ("grain", "platform default", None, None),
        ("contract_changes", "platform default", None, None),
    } <= places
    assert "owner" not in {each["check"] for each in found if each["from"] == "policy"}
    says = {each["check"]: each["says"] for each in found}
    assert says["order_id__duplicate"] == "duplicate: must be 0 (needless: the contract implies it)"
    assert "needless" not in says["order_id__missing"]  # the column has no constraint


def test_without_a_checks_file_the_grain_is_verified(declared):
    mesh = declared
    (mesh.root / CHECKS).unlink()
    found = json.loads(mesh.run("check", "--explain", "shop.orders", "--json").stdout)
    [grain] = [each for each in found if each["from"] == "grain"]
    assert (grain["check"], grain["line"]) == ("order_id__duplicate", line(mesh, YAML, "grain:"))
    assert not [each for each in found if each["from"] == "checks file"]
    assert "row_count" in {each["check"] for each in found if each["from"] == "platform default"}


def test_the_list_fits_a_narrow_terminal(declared):
    mesh = declared
    mesh.edit(CHECKS, "name: No negative amounts", 'name: "\\e[31mNo \\u202e negative"')
    said = mesh.run("check", "--explain", "shop.orders", environment={"COLUMNS": "80"}).stdout
    assert said.startswith("shop.orders: ")
    assert max(map(len, said.splitlines())) <= 80
    assert f"\nconstraint, {YAML}\n" in said
    assert "\x1b" not in said
    assert "\u202e" not in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["shop.order"], "shop publishes no product `order`"),
        (["shop"], "is a domain, not a product"),
        (["shop.orders", "--quiet"], "--explain lists checks"),
        (["shop.orders", "--target", "all"], "--explain lists checks"),
    ],
)
def test_misuse_is_one_line(mesh, arguments, said):
    done = mesh.run("check", "--explain", *arguments, code=2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("checks", ["checks: [\n", "checks: text\n"])
def test_a_checks_file_that_cannot_be_used_is_named(mesh, checks):
    mesh.write(CHECKS, checks)
    done = mesh.run("check", "--explain", "shop.orders", code=2)
    assert f"{CHECKS}:" in done.stderr
