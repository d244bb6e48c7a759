"""Checks that follow from the declaration: no checks file is needed for them."""

from __future__ import annotations

import json

import pytest

from meshhouse.audit import declared_checks
from meshhouse.engines import engine
from meshhouse.governance.contract import Contract
from meshhouse.lint import check
from tests.conftest import Mesh

FOLDER = "domains/shop/models/products"
YAML, SQL = f"{FOLDER}/orders.yml", f"{FOLDER}/orders.sql"
CHECKS, TOTALS = f"{FOLDER}/orders.checks.yml", f"{FOLDER}/totals.checks.yml"
DERIVED = ["schema", "row_count", "order_id__duplicate", "metric__rows_against_previous"]
NEVER_NULL = (
    "description: Who bought.}", "description: Who bought., constraints: [{type: not_null}]}",
)  # fmt: skip


@pytest.fixture
def bare(mesh: Mesh) -> Mesh:
    """The shop without any checks file, and without the unit test, which knows the SQL."""
    for path in (CHECKS, TOTALS):
        (mesh.root / path).unlink()
    text = (mesh.root / YAML).read_text()
    mesh.write(YAML, text[: text.index("unit_tests:")])
    return mesh


def keys(mesh: Mesh) -> list[str]:
    return sorted(declared_checks(mesh.repository.product("shop.orders")))


def test_a_product_without_a_checks_file_has_the_checks_that_its_yaml_implies(bare):
    mesh = bare
    assert check(mesh.repository) == []
    assert keys(mesh) == sorted(DERIVED)
    mesh.edit(YAML, *NEVER_NULL)
    assert keys(mesh) == sorted([*DERIVED, "customer_id__missing"])
    mesh.sell(1)
    mesh.run("run", "shop")
    assert mesh.row("select count(*) from shop.orders") == (1,)


def test_a_null_in_a_column_that_must_not_be_null_is_refused(bare):
    mesh = bare
    mesh.edit(YAML, *NEVER_NULL)
    mesh.edit(SQL, "cast(customer_id as bigint)", "cast(nullif(customer_id, 7) as bigint)")
    mesh.sell(1, customer=7)
    said = mesh.run("run", "shop", code=1).stderr
    print(said)
    assert "customer_id" in said
    assert "NULL" in said or "null" in said


def test_a_duplicate_of_the_grain_is_refused_with_the_rows(bare):
    mesh = bare
    mesh.edit(SQL, "from {{ ref('stg_sales') }}", "from {{ ref('stg_sales') }}, (values (1), (2))")
    mesh.sell(3)
    said = mesh.run("run", "shop", code=1).stderr
    assert "Rows that repeat the grain (column order_id): found 1, must be 0" in said
    assert "order_id=3, times=2" in said


def test_a_duplicate_of_a_grain_of_two_columns_is_refused(bare):
    mesh = bare
    mesh.edit(YAML, "grain: [order_id]", "grain: [order_id, customer_id]")
    assert "duplicate__grain" in keys(mesh)
    mesh.sell(1, customer=1)
    mesh.sell(1, customer=2)
    mesh.run("run", "shop")
    mesh.sell(1, customer=2)
    said = mesh.run("run", "shop", code=1).stderr
    assert "Rows that repeat the grain order_id, customer_id: found 1, must be 0" in said
    assert "order_id=1, customer_id=2, times=2" in said


def test_an_empty_product_is_refused_unless_it_may_be_empty(bare):
    mesh = bare
    mesh.edit(SQL, "from {{ ref('stg_sales') }}", "from {{ ref('stg_sales') }}\nwhere false")
    mesh.sell(1)
    said = mesh.run("run", "shop", code=1).stderr
    assert "Rows: found 0, must be more than 0" in said
    assert "may_be_empty: true" in said
    mesh.edit(YAML, "grain: [order_id]", "grain: [order_id]\n        may_be_empty: true")
    assert "row_count" not in keys(mesh)
    mesh.run("run", "shop")
    assert mesh.row("select count(*) from shop.orders") == (0,)


@pytest.mark.parametrize(
    ("written", "key", "instead_of"),
    [
        ("checks:\n  - row_count: {threshold: {must_be_greater_than: 5}}\n", "row_count", ""),
        ("checks:\n  - row_count: {qualifier: q}\n", "row_count__q", "row_count"),
        ("checks:\n  - schema: {allow_extra_columns: true}\n", "schema", ""),
        ("checks:\n  - duplicate: {columns: [order_id]}\n", "duplicate", "order_id__duplicate"),
        ("columns:\n  - {name: order_id, checks: [duplicate: {name: Twice}]}\n",
         "order_id__duplicate", ""),
        ("columns:\n  - {name: customer_id, checks: [missing: {qualifier: q}]}\n",
         "customer_id__missing__q", "customer_id__missing"),
    ],
)  # fmt: skip
def test_a_written_check_of_the_same_kind_takes_the_place_of_the_derived_one(
    bare, written, key, instead_of
):
    mesh = bare
    mesh.edit(YAML, *NEVER_NULL)
    every = {*keys(mesh)}
    mesh.write(CHECKS, written)
    assert {*keys(mesh)} == every - {instead_of} | {key}
    assert not [each for each in check(mesh.repository) if not each.is_warning]


@pytest.mark.parametrize(
    ("written", "stays"),
    [
        ("{must_be_greater_than: 0}", False),
        ("{must_be_greater_than: 5, level: fail}", False),
        ("{must_be: 7}", False),
        ("{must_not_be: 0}", False),
        ("{must_be_between: {greater_than_or_equal: 1, less_than: 9}}", False),
        ("{must_be_greater_than: 5, level: warn, "
         "additional: {must_be_greater_than: 0, level: fail}}", False),
        ("{level: warn}", True),
        ("{must_be_greater_than: 0, level: warn}", True),
        ("{must_be_less_than: 1000000}", True),
        ("{must_be_greater_than_or_equal: 0}", True),
        ("{must_not_be: 7}", True),
        ("{must_be_between: {greater_than: -1, less_than: 9}}", True),
        ("{must_be_not_between: {greater_than_or_equal: 9, less_than_or_equal: 3}}", True),
        ("{must_be_less_than: 9, additional: {must_be_greater_than: 0, level: warn}}", True),
        ("{must_be: 7}, filter: order_id > 5", True),
    ],
)  # fmt: skip
def test_a_written_row_count_that_accepts_no_rows_stands_beside_the_derived_one(
    bare, written, stays
):
    bare.write(CHECKS, f"checks:\n  - row_count: {{threshold: {written}}}\n")
    found = {each for each in keys(bare) if each.startswith("row_count")}
    assert found == {"row_count"} | ({"row_count__platform_default"} if stays else set())
    assert not [each for each in check(bare.repository) if not each.is_warning]


def test_an_empty_product_is_refused_although_a_written_check_accepts_it(bare):
    mesh = bare
    mesh.edit(SQL, "from {{ ref('stg_sales') }}", "from {{ ref('stg_sales') }}\nwhere false")
    mesh.write(CHECKS, "checks:\n  - row_count: {threshold: {must_be_less_than: 1000000}}\n")
    mesh.sell(1)
    said = mesh.run("run", "shop", code=1).stderr
    assert "Rows: found 0, must be more than 0" in said
    assert "may_be_empty: true" in said


@pytest.mark.parametrize(
    "weaker",
    [
        "missing: {threshold: {level: warn}}",
        "missing: {threshold: {must_be: 0, level: warn}}",
        'missing: {column_expression: "coalesce(customer_id, 0)"}',
        "missing: {filter: order_id > 5}",
        "missing: {threshold: {metric: percent, must_be_less_than: 5}}",
    ],
)
def test_a_written_check_that_tolerates_what_the_contract_excludes_stands_beside_it(bare, weaker):
    mesh = bare
    mesh.edit(YAML, *NEVER_NULL)
    mesh.write(CHECKS, f"columns:\n  - {{name: customer_id, checks: [{weaker}]}}\n")
    assert {"customer_id__missing", "customer_id__missing__constraint"} <= {*keys(mesh)}
    if "column_expression" in weaker:
        return  # `mesh check` refuses it before a run would
    mesh.sell(1)
    mesh.run("run", "shop")
    assert mesh.row("select count(*) from shop.orders") == (1,)


def test_duplicates_of_the_grain_are_refused_although_a_written_check_leaves_them_out(bare):
    mesh = bare
    mesh.edit(SQL, "from {{ ref('stg_sales') }}", "from {{ ref('stg_sales') }}, (values (1), (2))")
    mesh.write(
        CHECKS, "columns:\n  - {name: order_id, checks: [duplicate: {filter: order_id > 5}]}\n"
    )
    mesh.sell(3)
    said = mesh.run("run", "shop", code=1).stderr
    assert "Rows that repeat the grain (column order_id): found 1, must be 0" in said


@pytest.mark.parametrize(
    "written",
    [
        "checks:\n  - duplicate: {columns: [customer_id, sold_at]}\n",
        "columns:\n  - {name: amount, checks: [missing: , invalid: {valid_min: 0}]}\n",
    ],
)
def test_written_checks_of_other_columns_come_on_top(bare, written):
    mesh = bare
    mesh.edit(YAML, "grain: [order_id]", "grain: [order_id, customer_id]")
    every = {*keys(mesh)}
    mesh.write(CHECKS, written)
    assert every < {*keys(mesh)}
    mesh.sell(1)
    mesh.run("run", "shop")


def test_checks_that_become_derived_are_no_change_for_readers(mesh: Mesh):
    mesh.edit(YAML, *NEVER_NULL)
    mesh.write(CHECKS, """\
columns:
  - name: order_id
    checks:
      - duplicate: {name: An order is one row, qualifier: once, threshold: {must_be: 0}}
  - name: customer_id
    checks:
      - missing: {name: Every order has a customer}
  - name: amount
    checks:
      - invalid: {valid_min: 0, name: No negative amounts}
checks:
  - schema:
  - row_count: {name: Some rows, threshold: {must_be_greater_than_or_equal: 1}}
""")  # fmt: skip
    mesh.sell(1)
    mesh.run("run", "shop", "crm")
    mesh.write(CHECKS, """\
columns:
  - {name: amount, checks: [invalid: {valid_min: 0, name: No negative amounts}]}
""")  # fmt: skip
    found = json.loads(mesh.run("diff", "shop.orders", "--json").stdout)
    assert "once" not in json.dumps(found)
    assert mesh.run("check").returncode == 0
    mesh.run("run", "shop")
    mesh.write(CHECKS, "checks: []\n")  # a check that only the team knew is missed
    assert "No negative amounts" in mesh.run("run", "shop", code=1).stderr


def test_the_contract_in_the_ledger_holds_the_derived_checks(bare):
    mesh = bare
    mesh.sell(1)
    mesh.run("run", "shop")
    head = engine(mesh.repository).ledger.heads()["shop.orders"]
    assert sorted(Contract.from_text(head.contract).checks) == ["order_id__duplicate", "row_count",
                                                               "schema"]  # fmt: skip
