"""A run publishes nothing of a domain in which `mesh check` finds a mistake."""

from __future__ import annotations

import pytest

from meshhouse.lint import check
from tests.conftest import Mesh
from tests.support.engines_help import land_new as land
from tests.support.engines_help import published, run_local

PRODUCTS = "domains/shop/models/products"
ORDERS, TOTALS = f"{PRODUCTS}/orders.yml", f"{PRODUCTS}/totals.yml"

MISTAKES = {
    "no owner": (ORDERS, "group: shop", "group: shops"),
    "no grain": (ORDERS, "        grain: [order_id]\n", ""),
    "checks of one name": (
        f"{PRODUCTS}/orders.checks.yml",
        "  - schema:\n",
        '  - failed_rows: {qualifier: "a b", expression: amount < 0}\n'
        '  - failed_rows: {qualifier: "A-b", expression: amount < -5}\n',
    ),
    "of another product": (TOTALS, "        grain: [orders]\n", ""),
}


@pytest.fixture(scope="module")
def mesh(new_mesh) -> Mesh:
    """A mesh that has published one order, after which another one came."""
    mesh = new_mesh()
    mesh.sell(1)
    land(mesh)
    published(run_local(mesh, "shop"))
    published(run_local(mesh, "crm"))
    mesh.sell(2)
    land(mesh)
    return mesh


@pytest.mark.parametrize("name", MISTAKES)
def test_the_run_says_what_the_check_says_and_publishes_nothing(mesh, name):
    file, old, new = MISTAKES[name]
    before = (mesh.root / file).read_text()
    mesh.edit(file, old, new)
    findings = [str(each) for each in check(mesh.repository)]
    done = run_local(mesh, "shop", "orders")
    mesh.write(file, before)
    assert done.outcome == "failed"
    assert findings
    assert all(each in done.message for each in findings)
    assert "\n" not in done.message
    assert mesh.row("select count(*) from shop.orders") == (1,)


def test_what_only_dbt_can_tell_is_refused_by_the_run(mesh):
    sql = f"{PRODUCTS}/orders.sql"
    before = (mesh.root / sql).read_text()
    mesh.write(sql, "{{ config(materialized=var('how', 'view')) }}\n" + before)
    assert check(mesh.repository) == []
    done = run_local(mesh, "shop")
    mesh.write(sql, before)
    assert done.outcome == "failed"
    assert "orders.sql:1: dbt builds shop.orders as `view` in sql, called `orders`" in done.message


def test_other_domains_go_on_and_so_does_the_domain_once_it_is_mended(mesh):
    mesh.edit(ORDERS, "group: shop", "group: shops")
    assert run_local(mesh, "crm").outcome == "unchanged"
    mesh.edit("domains/crm/models/products/customers.sql", "group by", "where true group by")
    assert published(run_local(mesh, "crm")) == ["customers"]
    mesh.edit(ORDERS, "group: shops", "group: shop")
    assert published(run_local(mesh, "shop")) == ["orders", "totals"]
    assert mesh.row("select count(*) from shop.orders") == (2,)
