"""`mesh check --target` renders a domain again only if something that it depends on changed."""

from __future__ import annotations

import pytest

from meshhouse.lint.sql import rendering
from meshhouse.lint.sql.dialects import dialect
from meshhouse.lint.sql.rendering import Rendered, render

CRM_SQL = "domains/crm/models/products/customers.sql"
CHANGES = {
    "its model": (CRM_SQL, "select", "select /* x */"),
    "a product that it reads": ("domains/shop/models/products/orders.yml", "Who bought", "Buyer"),
    "a profile": ("profiles/profiles.yml", "meshhouse:", "# x\nmeshhouse:"),
}


@pytest.fixture
def rendered(mesh, monkeypatch):
    """Counts how often dbt would render."""
    calls = []

    def fake(repository, domain, dialect, left_out):
        calls.append((domain, dialect.target, tuple(left_out)))
        return [Rendered(mesh.root / CRM_SQL, f"select {len(calls)} as é", {"m": "x"}, "a.b")]

    monkeypatch.setattr(rendering, "_rendered", fake)
    return calls


def test_what_did_not_change_is_not_rendered_again(mesh, rendered):
    first = render(mesh.repository, "crm", dialect("local"))
    assert render(mesh.repository, "crm", dialect("local")) == first
    assert len(rendered) == 1


@pytest.mark.parametrize(("file", "old", "new"), CHANGES.values(), ids=CHANGES)
def test_a_change_renders_again(mesh, rendered, file, old, new):
    render(mesh.repository, "crm", dialect("local"))
    mesh.edit(file, old, new)
    render(mesh.repository, "crm", dialect("local"))
    assert len(rendered) == 2


def test_a_macro_a_target_an_environment_and_left_out_files_render_again(mesh, rendered):
    for change in (
        lambda: render(mesh.repository, "crm", dialect("local")),
        lambda: render(mesh.repository, "crm", dialect("spark")),
        lambda: render(mesh.repository, "crm", dialect("local"), ["models/x.sql"]),
    ):
        change()
    mesh.write("macros/x.sql", "{% macro x() %}1{% endmacro %}")
    render(mesh.repository, "crm", dialect("local"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MESH_ENV", "ann")
        render(mesh.repository, "crm", dialect("local"))
    assert len(rendered) == 5


def test_a_damaged_note_renders_again(mesh, rendered):
    render(mesh.repository, "crm", dialect("local"))
    [note] = mesh.home.rglob("rendered.json")
    for text in ("", "{", "[]", "{}", note.read_text().replace('"sql"', '"sq"')):
        note.write_text(text)
        render(mesh.repository, "crm", dialect("local"))
    assert len(rendered) == 6


def test_an_environment_variable_that_a_model_reads_renders_again(mesh, rendered, monkeypatch):
    mesh.edit(CRM_SQL, "select", "-- {{ env_var('SHOP_X', '') }}\nselect")
    render(mesh.repository, "crm", dialect("local"))
    monkeypatch.setenv("SHOP_X", "1")
    render(mesh.repository, "crm", dialect("local"))
    assert len(rendered) == 2
