"""Findings of `mesh check` in the catalog: current after each edit, and remembered between."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from meshhouse.catalog.gather import policies
from meshhouse.catalog.gather.policies import policies_of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ORDERS = "domains/shop/models/products/orders.yml"


def rules(mesh, now=NOW) -> set[str]:
    return {each.rule for each in policies_of(mesh.repository, {}, now).findings}


@pytest.fixture
def checks(monkeypatch) -> list[int]:
    """Grows with each real check."""
    done: list[int] = []
    real = policies.check

    def counted(*arguments):
        done.append(1)
        return real(*arguments)

    monkeypatch.setattr(policies, "check", counted)
    return done


def test_a_finding_names_file_line_and_remedy(mesh):
    mesh.write("policies.yml", "rules: {column_units: error, description_length: warn}\n")
    found = policies_of(mesh.repository, {}, NOW)
    severities = {each.name: each.severity for each in found.rules}
    assert severities["column_units"] == "error"
    assert severities["description_length"] == "warn"
    finding = next(each for each in found.findings if each.rule == "column_units")
    assert (finding.file, finding.severity) == (ORDERS, "error")
    line = (mesh.root / ORDERS).read_text().splitlines()[finding.line - 1]
    assert "amount" in line
    assert finding.remedy


def test_what_did_not_change_is_not_checked_again(mesh, checks):
    mesh.write("policies.yml", "rules: {column_units: error}\n")
    assert rules(mesh) == rules(mesh)
    assert len(checks) == 1
    rules(mesh, NOW + timedelta(days=1))  # waivers end
    assert len(checks) == 2


def test_an_edit_is_seen_at_once(mesh, checks):
    mesh.write("policies.yml", "rules: {column_units: error}\n")
    assert "column_units" in rules(mesh)
    mesh.write("policies.yml", "rules: {column_units: off}\n")
    assert "column_units" not in rules(mesh)
    before = rules(mesh)
    mesh.edit(ORDERS, "grain: [order_id]", "grain: [no_such_column]")
    assert len(policies_of(mesh.repository, {}, NOW).findings) > len(before)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"digest": 1}', "\x00"])
def test_a_damaged_memory_is_replaced(mesh, content):
    mesh.write("policies.yml", "rules: {column_units: error}\n")
    expected = rules(mesh)
    (mesh.repository.workspace / "findings.json").write_text(content)
    assert rules(mesh) == expected


@pytest.mark.parametrize("folder", ["logs", "target", ".drafts"])
def test_an_edit_in_a_folder_of_models_with_any_name_is_seen(mesh, checks, folder):
    models = mesh.root / "domains/shop/models" / folder
    models.mkdir()
    (models / "extra.sql").write_text("select 1 as x")
    rules(mesh)
    (models / "extra.sql").write_text("select 1 as x, 2 as y")
    rules(mesh)
    assert len(checks) == 2


def test_an_edit_behind_a_link_is_seen_and_a_link_in_a_circle_does_not_hang(mesh, checks, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "extra.sql").write_text("select 1 as x")
    (mesh.root / "domains/shop/models/linked").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(mesh.root / "domains")
    rules(mesh)
    rules(mesh)
    assert len(checks) == 1
    (elsewhere / "extra.sql").write_text("select 1 as x, 2 as y")
    rules(mesh)
    assert len(checks) == 2


def test_what_dbt_and_runs_write_does_not_cause_a_check(mesh, checks):
    rules(mesh)
    for place in ("domains/shop/target", "domains/shop/logs", ".mesh/lake"):
        folder = mesh.root / place
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "written.json").write_text("{}")
    rules(mesh)
    assert len(checks) == 1


def test_findings_that_cannot_be_kept_are_still_shown(mesh):
    mesh.write("policies.yml", "rules: {column_units: error}\n")
    (mesh.repository.workspace / "findings.json").mkdir(parents=True)
    assert "column_units" in rules(mesh)
