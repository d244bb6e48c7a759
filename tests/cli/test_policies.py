"""Policies in `mesh check`, in runs and in `mesh status`."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Mesh

FILE = "policies.yml"
UNITS = "rules:\n  column_units: {severity: %s, names: [amount]}\n"
BAD = {
    "not YAML": "rules: [\n",
    "not a mapping": "- owner\n",
    "an unknown rule": "rules: {ownr: error}\n",
    "a rule in Python that fails": "own: [{file: policies/bad.py}]\n",
}


def test_a_warning_is_printed_and_keeps_the_exit_code(mesh):
    mesh.write(FILE, UNITS % "warn")
    done = mesh.run("check")
    assert "warning: column `amount` of shop.orders is an amount" in done.stdout
    assert "[column_units]" in done.stdout
    assert "0 findings and" in done.stderr
    found = json.loads(mesh.run("check", "--json").stdout)
    assert {(each["severity"], each["rule"]) for each in found} == {("warn", "column_units")}


def test_an_error_stops_runs_of_its_domain_only(mesh):
    mesh.write(FILE, UNITS % "error")
    assert "[column_units]" in mesh.run("check", code=1).stdout
    mesh.sell(1)
    done = mesh.run("run", "shop", code=1)
    assert "column `amount` of shop.orders" in done.stderr + done.stdout
    mesh.write(
        "domains/shop/waivers.yml",
        "waivers:\n  - {policy: column_units, product: shop, why: w, owner: o, "
        "until: 2999-01-31}\n",
    )
    mesh.run("run", "shop")


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_a_file_that_cannot_be_used_stops_neither_runs_nor_status(mesh, text):
    mesh.write(FILE, text)
    mesh.write("policies/bad.py", "raise ValueError('bad')\n")
    done = mesh.run("check", code=1)
    assert done.stdout.startswith(f"{FILE}:1: ")
    mesh.sell(1)
    mesh.run("run", "shop")
    mesh.run("status")


def test_a_broken_domain_gets_no_policy_findings(mesh: Mesh):
    mesh.write(FILE, UNITS % "error")
    mesh.write("domains/shop/waivers.yml", "waivers: [\n")
    mesh.edit("domains/shop/models/topics.yml", "topic: shop.sales, ", "")
    text = mesh.run("check", code=1).stdout
    assert "names no topic" in text
    assert "waivers.yml:1" in text
    assert "column `amount` of shop.orders" not in text


def test_rules_see_what_is_published_where_a_ledger_is_reachable(mesh):
    mesh.write(FILE, "rules: {deprecation_notice: {severity: error, days: 30}}\n")
    mesh.edit(
        "domains/shop/models/products/orders.yml",
        "  - name: orders\n",
        "  - name: orders\n    deprecation_date: 2017-01-01\n",
    )
    # It was never published, so there is no notice that could be too short.
    assert "less than the notice" not in mesh.run("check", code=1).stdout
    mesh.write(FILE, "rules: {}\n")
    mesh.sell(1)
    mesh.edit("domains/shop/models/products/orders.yml", "    deprecation_date: 2017-01-01\n", "")
    mesh.run("run", "shop")
    mesh.edit(
        "domains/shop/models/products/orders.yml",
        "  - name: orders\n",
        "  - name: orders\n    deprecation_date: 2017-01-01\n",
    )
    mesh.write(FILE, "rules: {deprecation_notice: {severity: error, days: 30}}\n")
    assert "less than the notice of 30 days" in mesh.run("check", code=1).stdout
