"""`mesh run --dry-run` says what a run would do and why, and changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Mesh

TOTALS = "domains/shop/models/products/totals.sql"


def kept(mesh: Mesh) -> dict[Path, bytes]:
    """Every file of the mesh's home but locks, which say who waits for whom."""
    return {
        path: path.read_bytes()
        for path in sorted(mesh.home.rglob("*"))
        if path.is_file() and "locks" not in path.parts and "logs" not in path.parts
    }


def dry(mesh: Mesh, *arguments: str, code: int = 0, **environment: str) -> str:
    before = kept(mesh)
    variables = {"COLUMNS": "80", **environment}
    done = mesh.run("run", "--dry-run", *arguments, code=code, environment=variables)
    assert kept(mesh) == before
    return done.stdout


def decisions(mesh: Mesh, *arguments: str) -> dict[str, tuple[str, dict[str, list[str]]]]:
    found = json.loads(dry(mesh, "--json", *arguments))
    return {
        each["product"]: (
            each["decision"],
            {reason["reason"]: reason["names"] for reason in each["reasons"]},
        )
        for each in found["products"]
    }


SAME = ("unchanged", {"code and inputs are those of the publication": []})


@pytest.fixture(scope="module")
def mesh(new_mesh) -> Mesh:
    mesh = new_mesh()
    mesh.sell(*range(10))
    return mesh


def test_on_an_empty_lake_everything_would_be_landed_and_built(mesh):
    assert (
        dry(mesh)
        == """\
land        shop.sales: 10 events waiting
build       shop.orders
              never published
build       shop.totals
              never published
build       crm.customers
              never published
build       mesh.overview
              never published
4 products would be built, 0 unchanged, 0 held back. Nothing was changed.
"""
    )


@pytest.fixture(scope="module")
def published(mesh: Mesh) -> Mesh:
    mesh.run("run")
    return mesh


def test_nothing_to_do(published):
    assert (
        dry(published)
        == """\
unchanged   shop.orders
unchanged   shop.totals
unchanged   crm.customers
unchanged   mesh.overview
0 products would be built, 4 unchanged, 0 held back. Nothing was changed.
"""
    )


def test_a_change_of_code_is_a_change_of_input_for_those_that_read_the_product(published):
    text = (published.root / TOTALS).read_text()
    published.edit(TOTALS, "count(*)", "1 + count(*)")
    customers = "domains/crm/models/products/customers.sql"
    before = (published.root / customers).read_text()
    published.write(customers, f"-- another\n{before}")
    try:
        assert decisions(published) == {
            "shop.orders": SAME,
            "shop.totals": ("build", {"code changed": [TOTALS]}),
            "crm.customers": ("build", {"code changed": [customers]}),
            "mesh.overview": ("build", {"inputs moved": ["crm.customers"]}),
        }
        assert decisions(published, "shop") == {
            "shop.orders": SAME,
            "shop.totals": ("build", {"code changed": [TOTALS]}),
        }
    finally:
        published.write(TOTALS, text)
        published.write(customers, before)


def test_force_is_for_what_is_named(published):
    forced = ("build", {"forced": []})
    assert decisions(published, "crm", "--force") == {"crm.customers": forced}
    assert decisions(published, "crm", "--full-refresh", "--downstream") == {
        "crm.customers": forced,
        "mesh.overview": ("build", {"forced": [], "inputs moved": ["crm.customers"]}),
    }
    assert decisions(published, "shop.totals", "--force") == {
        "shop.orders": SAME,
        "shop.totals": forced,
    }


def test_waiting_events_move_the_inputs_of_all_that_is_made_of_them(published):
    published.sell(10, 11)
    assert (
        dry(published, "shop.totals")
        == """\
land        shop.sales: 2 events waiting
build       shop.orders
              inputs moved: shop_raw.sales
              built together with: totals
build       shop.totals
              inputs moved: shop_raw.sales
2 products would be built, 0 unchanged, 0 held back. Nothing was changed.
"""
    )
    assert decisions(published)["mesh.overview"] == ("build", {"inputs moved": ["crm.customers"]})


def test_an_environment_reads_what_production_landed_and_builds_what_it_changed(published):
    text = (published.root / TOTALS).read_text()
    published.edit(TOTALS, "count(*)", "2 + count(*)")
    try:
        assert (
            dry(published, "shop", MESH_ENV="ana")
            == f"""\
unchanged   shop.orders
build       shop.totals
              code changed: {TOTALS}
1 product would be built, 1 unchanged, 0 held back. Nothing was changed.
"""
        )
    finally:
        published.write(TOTALS, text)


def test_what_was_rolled_back_is_held_back(published):
    published.run("run")
    published.run("rollback", "mesh.overview")
    assert (
        "held back   mesh.overview\n              rolled back, and no change since is known\n"
        in (dry(published, "mesh"))
    )


def test_a_domain_that_cannot_run_is_named_and_the_others_are_planned(published):
    published.sell(70)
    published.edit(TOTALS, "ref('orders')", "ref('no_such_model')")
    try:
        text = dry(published, code=1)
    finally:
        published.edit(TOTALS, "ref('no_such_model')", "ref('orders')")
    assert "cannot run  shop: " in text
    assert "no_such_model" in text
    assert "unchanged   crm.customers\n" in text
    assert "waiting" not in text  # a run leaves the whole domain out, its topic included
    assert max(map(len, text.splitlines())) <= 80


def test_a_domain_that_a_run_refuses_is_named_and_so_are_those_that_use_it(published):
    """dbt parses it; `mesh check` finds a mistake, so a run publishes nothing of it."""
    declared = "domains/shop/models/products/totals.yml"
    text = (published.root / declared).read_text()
    published.edit(TOTALS, "count(*)", "3 + count(*)")
    published.edit(declared, "grain:", "not_grain:")
    try:
        shown = dry(published, code=1)
        failed = published.run("run", code=1)
    finally:
        published.write(declared, text)
        published.edit(TOTALS, "3 + count(*)", "count(*)")
    assert "cannot run  shop: " in shown
    assert "would not run: it uses shop" in shown
    assert "Nothing of shop is published" in " ".join(failed.stderr.split() + failed.stdout.split())


def test_an_environment_plans_with_what_production_read_and_writes_nothing(published):
    published.sell(90, 91)
    published.run("land")  # production has landed since it last published
    assert dry(published, "shop", MESH_ENV="ben").splitlines()[:2] == [
        "unchanged   shop.orders",
        "unchanged   shop.totals",
    ]
