"""A plan names the files, variables and tools behind a change of code."""

from __future__ import annotations

import pytest

from meshhouse.engines import engine
from meshhouse.runs.code_notes import CodeNotes
from meshhouse.runs.domain_plan import DomainPlan
from tests.conftest import Mesh

SHOP = "domains/shop"
TOTALS = f"{SHOP}/models/products/totals.sql"
STAGING = f"{SHOP}/models/staging/stg_sales.sql"


@pytest.fixture(scope="module")
def published(new_mesh) -> Mesh:
    """A mesh whose products stand as published."""
    mesh = new_mesh()
    mesh.edit(STAGING, "select", "select {{ env_var('SHOP_COLUMN', '1') }} as extra,")
    mesh.write("macros/plain_one.sql", "{% macro plain_one() %}1{% endmacro %}\n")
    mesh.edit(TOTALS, "count(*)", "count(*) * {{ plain_one() }}")
    mesh.sell(1)
    mesh.run("run", "shop")
    return mesh


def reasons(mesh: Mesh) -> dict[str, str]:
    repository = mesh.repository
    plan = DomainPlan(repository, engine(repository), repository.domain("shop"), None, force=False)
    return {name: str(verdict) for name, verdict in plan.verdicts.items()}


@pytest.mark.parametrize(
    ("path", "orders", "totals"),
    [
        pytest.param(TOTALS, "", TOTALS, id="a product's own SQL"),
        pytest.param(STAGING, STAGING, STAGING, id="the SQL behind both"),
        pytest.param(f"{SHOP}/models/products/totals.yml", "", f"{SHOP}/models/products/totals.yml",
                     id="its YAML"),
        pytest.param("macros/plain_one.sql", "", "macros/plain_one.sql", id="a macro of the mesh"),
        pytest.param(f"{SHOP}/models/products/orders.checks.yml",
                     f"{SHOP}/models/products/orders.checks.yml", "", id="its checks"),
        pytest.param(f"{SHOP}/models/domain.yml", f"{SHOP}/models/domain.yml",
                     f"{SHOP}/models/domain.yml", id="its owner"),
    ],
)  # fmt: skip
def test_a_change_of_code_names_the_file(published, path, orders, totals):
    file = published.root / path
    before = file.read_text()
    changes = {
        f"{SHOP}/models/domain.yml": ("shop team", "till team"),
        f"{SHOP}/models/products/totals.yml": ("All orders", "Every order"),
        f"{SHOP}/models/products/orders.checks.yml": ("valid_min: 0", "valid_min: -1"),
        TOTALS: ("count(*)", "1 + count(*)"),
        STAGING: ("as extra", "as other"),
        "macros/plain_one.sql": ("}1{", "}2{"),
    }
    published.edit(path, *changes[path])
    try:
        same = "code and inputs are those of the publication"
        expected = {"orders": orders, "totals": totals}
        assert reasons(published) == {
            name: f"code changed: {file}" if file else same for name, file in expected.items()
        }
    finally:
        file.write_text(before)


def test_a_change_of_an_environment_variable_is_named_and_its_value_is_not(published, monkeypatch):
    monkeypatch.setenv("SHOP_COLUMN", "42")
    expected = "code changed: environment variable SHOP_COLUMN"
    assert reasons(published) == {"orders": expected, "totals": expected}


def test_where_another_machine_published_no_file_is_named(published, monkeypatch):
    monkeypatch.setattr(CodeNotes, "parts_of", lambda self, version: {})
    monkeypatch.setenv("SHOP_COLUMN", "42")
    assert set(reasons(published).values()) == {"code changed"}
