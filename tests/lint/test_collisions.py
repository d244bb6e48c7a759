"""The results of two checks of a product never have the same key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from meshhouse.audit import check_key, declared_checks, soda_contract
from meshhouse.lint.collisions import colliding_checks
from meshhouse.repository import Product
from meshhouse.repository.model import Column
from meshhouse.repository.yaml import read_yaml

DAGSTER_NAME = re.compile(r"[A-Za-z0-9_]+")
QUALIFIERS = st.one_of(
    st.text(min_size=1, max_size=6), st.text("aAbB-_ .é", min_size=1), st.integers()
)


def product(folder: Path) -> Product:
    sql = folder / "orders.sql"
    columns = tuple(Column(name, "bigint") for name in ("failed_rows", "order_id"))
    return Product(
        "shop", "orders", 1, True, columns, "", None, True, (), {}, folder / "orders.yml", 1, sql
    )


def findings(folder: Path, checks: str) -> list[tuple[int, str]]:
    orders = product(folder)
    orders.checks_path.write_text(checks)
    return [
        (each.line, each.problem)
        for each in colliding_checks(orders, read_yaml(orders.checks_path))
    ]


@given(first=QUALIFIERS, second=QUALIFIERS)
def test_two_checks_are_found_exactly_if_fewer_names_than_checks_remain(
    tmp_path_factory, first, second
):
    folder = tmp_path_factory.mktemp("checks")
    written = [{"failed_rows": {"qualifier": each, "expression": "x"}} for each in (first, second)]
    found = findings(folder, yaml.safe_dump({"checks": written}, allow_unicode=True))
    names = [name.casefold() for name in declared_checks(product(folder))]
    assert all(DAGSTER_NAME.fullmatch(name) for name in names)
    checks = len(soda_contract(product(folder))["checks"])
    assert len(found) == checks - len(set(names))


COLLIDING = {
    "punctuation": ['{qualifier: "a-b"}', '{qualifier: "a_b"}'],
    "case": ["{qualifier: Late}", "{qualifier: late}"],
    "letters beyond ASCII": ["{qualifier: größe}", "{qualifier: gräße}"],
    "a number and its text": ["{qualifier: 1}", '{qualifier: "1"}'],
    "no qualifier": ["{expression: x}", "{expression: y}"],
    "very long": [f"{{qualifier: {'q' * 3000}-}}", f"{{qualifier: {'q' * 3000}_}}"],
}


@pytest.mark.parametrize("name", COLLIDING)
def test_a_collision_is_found_at_its_line(tmp_path, name):
    checks = "checks:\n" + "".join(f"  - failed_rows: {body}\n" for body in COLLIDING[name])
    [(line, problem)] = findings(tmp_path, checks)
    assert line == 3
    assert "the check in line 2 both get the name `failed_rows" in problem
    assert len(problem) < 300


def test_checks_of_columns_and_those_that_the_mesh_adds_count_too(tmp_path):
    checks = (
        "columns:\n  - name: order_id\n    checks: [missing: , missing: ]\n"
        "  - name: failed_rows\n    checks:\n      - missing:\n"
        "checks:\n  - failed_rows: {qualifier: missing}\n"
        "  - metric: {qualifier: rows_against_previous}\n"
    )
    assert [line for line, _ in findings(tmp_path, checks)] == [3, 8, 9]


def test_checks_that_differ_in_kind_or_column_keep_their_names(tmp_path):
    checks = (
        "columns:\n  - name: order_id\n    checks: [missing: , duplicate: ]\n"
        "checks:\n  - failed_rows: {qualifier: a}\n  - metric: {qualifier: a}\n"
    )
    assert findings(tmp_path, checks) == []


def test_a_qualifier_that_is_zero_is_part_of_the_name():
    assert check_key("metric", None, 0) == "metric__0"
