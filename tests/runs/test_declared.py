"""A run publishes what it has built and what is declared; what consumers still see is listed."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.conftest import Mesh
from tests.support.engines_help import land_new, run

PRODUCTS = "domains/shop/models/products"
TOTALS = f"{PRODUCTS}/totals.sql"


def above(text: str) -> Callable[[Mesh], None]:
    """Puts a line on top of the SQL of `totals`."""
    return lambda mesh: mesh.write(TOTALS, f"{text}\n{(mesh.root / TOTALS).read_text()}")


def by_variable(mesh: Mesh) -> None:
    mesh.edit("domains/shop/dbt_project.yml", "\nflags:", "\nvars: {with_totals: false}\n\nflags:")
    mesh.edit(
        f"{PRODUCTS}/totals.yml",
        "access: public",
        "access: public\n      enabled: \"{{ var('with_totals') }}\"",
    )


def in_yaml(mesh: Mesh) -> None:
    mesh.edit(f"{PRODUCTS}/totals.yml", "access: public", "access: protected")


def removed(mesh: Mesh) -> None:
    for path in (mesh.root / PRODUCTS).glob("totals.*"):
        path.unlink()


def renamed(mesh: Mesh) -> None:
    for path in (mesh.root / PRODUCTS).glob("totals.*"):
        path.rename(path.with_name(path.name.replace("totals", "sums")))
    mesh.edit(f"{PRODUCTS}/sums.yml", "name: totals", "name: sums")


def states(mesh: Mesh) -> dict[str, str]:
    return {
        each["product"]: each["state"] for each in json.loads(mesh.run("status", "--json").stdout)
    }


@pytest.mark.parametrize(
    ("change", "state"),
    [
        pytest.param(above("{{ config(enabled=false) }}"), "disabled", id="disabled in SQL"),
        pytest.param(by_variable, "disabled", id="disabled by a variable"),
        pytest.param(above("{{ config(access='protected') }}"), "not public", id="access in SQL"),
        pytest.param(in_yaml, "not declared", id="access in YAML"),
        pytest.param(removed, "not declared", id="removed"),
        pytest.param(renamed, "not declared", id="renamed"),
    ],
)
def test_what_is_no_product_any_more_is_not_published_again_and_is_listed(sold, change, state):
    change(sold)
    sold.sell(4)
    land_new(sold)
    done = run(sold, "shop", "local")
    assert done.outcome == "published", done.message
    assert done.products["orders"] == "published"
    assert done.products.get("totals") == (None if state == "not declared" else state)
    assert sold.row("select orders from shop.totals") == (3,)
    assert states(sold)["shop.totals"] == state
    assert "Consumers still see shop.totals" in sold.run("status").stderr
    said = sold.run("run", "shop")
    assert "shop.totals: " in said.stderr
    assert "consumers" in said.stderr


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (above("{{ config(materialized='ephemeral') }}"), "shop.totals is built as `ephemeral`"),
        (above("{{ config(alias='sums') }}"), "shop.totals has an alias"),
        (lambda mesh: (mesh.root / TOTALS).unlink(), "totals.yml:3: shop.totals is declared"),
    ],
    ids=["ephemeral", "alias", "without SQL"],
)
def test_the_table_of_an_earlier_build_is_never_published_as_new(sold, change, problem):
    change(sold)
    sold.sell(4)
    land_new(sold)
    done = run(sold, "shop", "local")
    assert done.outcome == "failed"
    assert problem in done.message
    assert sold.row("select orders from shop.totals") == (3,)
