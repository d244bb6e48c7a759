"""Every policy of the mesh by its own examples, and severities, waivers and rules in Python."""

from __future__ import annotations

import re

import pytest
import yaml

from meshhouse.governance.policies.catalogue import CHAPTERS, RULES, page
from meshhouse.governance.policies.contracts import selects_star
from meshhouse.governance.policies.evaluation import Federation
from meshhouse.repository import Repository
from meshhouse.repository.policies import read_policies
from tests.conftest import ROOT
from tests.support.examples import TODAY, evaluate, make

EVERY = "rules:\n" + "".join(f"  {name}: error\n" for name in RULES)


def broken(tmp_path, example, policies: str = EVERY) -> set[str]:
    repository = make(tmp_path, example)
    (tmp_path / "policies.yml").write_text(policies)
    domain = repository.reading("sales")
    assert not domain.problems
    assert not domain.unknown_keys
    return {each.rule for each in evaluate(repository, example).broken}


def test_there_are_at_least_25_rules_each_in_one_chapter():
    assert len(RULES) >= 25
    assert len(RULES) == sum(map(len, CHAPTERS.values()))


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.name)
def test_the_passing_example_passes(tmp_path, rule):
    assert rule.name not in broken(tmp_path, rule.passes)


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.name)
def test_the_failing_example_fails_with_a_place_and_a_remedy(tmp_path, rule):
    repository = make(tmp_path, rule.fails)
    (tmp_path / "policies.yml").write_text(f"rules: {{{rule.name}: error}}\n")
    found = [each for each in evaluate(repository, rule.fails).broken if each.rule == rule.name]
    assert found
    for each in found:
        assert each.breach.path.is_file()
        assert each.breach.line >= 1
        assert each.breach.problem.endswith(".")
        assert each.remedy.endswith(".")
        assert "sales" in each.breach.subject


def test_the_mesh_of_the_examples_keeps_every_rule(tmp_path):
    assert broken(tmp_path, {}) == set()


def test_a_rule_that_is_not_named_is_off_except_those_of_the_mesh_itself(tmp_path):
    fails = {"product": "config: {meta: {grain: null, promises: null}}"}
    assert broken(tmp_path, fails, "rules: {}\n") == {"grain"}
    assert broken(tmp_path, fails, "rules: {freshness_promise: off}\n") == {"grain"}


def test_severities_and_parameters_come_from_the_file(tmp_path):
    repository = make(tmp_path, {})
    text = "rules: {freshness_promise: {severity: warn, most_hours: 12}, column_types: off}\n"
    (tmp_path / "policies.yml").write_text(text)
    [each] = evaluate(repository, {}).broken
    assert (each.rule, each.severity) == ("freshness_promise", "warn")
    assert "more than 12" in each.breach.problem


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("rules: [\n", 1, "not valid YAML"),
        ("rules:\n  ownr: error\n", 2, "Did you mean `owner`?"),
        ("rules:\n  column_types: fatal\n", 2, "Write error, warn or off."),
        ("rules:\n  column_types: {types: [date]}\n", 2, "Write error, warn or off."),
        ("rules:\n  column_types: {severity: error, typs: [x]}\n", 2, "has no parameter `typs`"),
        ("rules:\n  live_versions: {severity: error, most: 1:30}\n", 2, "reads `1:30` as 90"),
        ("rules:\n  live_versions: {severity: error, most: many}\n", 2, "a whole number from 0"),
        ("rules:\n  live_versions: {severity: error, most: yes}\n", 2, "a whole number from 0"),
        ("rules:\n  column_types: {severity: error, types: date}\n", 2, "a list of texts"),
        ("rules:\n  product_names: {severity: error, pattern: '['}\n", 2, "a regular expression"),
        ("rules:\n  classification: {severity: error, names: ['(']}\n", 2, "a regular expression"),
        ("rules:\n  grain: off\n", 2, "one of the mesh itself"),
        ("rule: {}\n", 1, "Did you mean `rules`?"),
        ("own:\n  - {file: ../x.py}\n", 2, "not a Python file in policies/"),
        ("own:\n  - {file: policies/../x.py}\n", 2, "not a Python file in policies/"),
        ("own:\n  - {file: /etc/x.py}\n", 2, "not a Python file in policies/"),
        ("own:\n  - {file: policies/none.py}\n", 2, "there is no file"),
        ("own:\n  - {severity: error}\n", 2, "has no `file`"),
    ],
)
def test_a_fault_in_the_file_is_a_finding_with_its_line(tmp_path, text, line, said):
    repository = make(tmp_path, {})
    (tmp_path / "policies.yml").write_text(text)
    [problem] = Federation(repository, TODAY).problems
    assert problem.line == line
    assert said in f"{problem.problem} {problem.remedy}"
    assert not evaluate(repository, {}).broken


# Waivers


def waiver(**changes: str) -> dict[str, str]:
    entry = {"policy": "column_units", "product": "sales.orders", "why": "w", "owner": "o",
             "until": "2027-01-31", **changes}  # fmt: skip
    return {"column": "config: {meta: {unit: null}}",
            "waivers.yml": yaml.safe_dump({"waivers": [entry]})}  # fmt: skip


@pytest.mark.parametrize("product", ["sales.orders.amount", "sales.orders", "sales"])
def test_a_waiver_covers_its_subject_and_what_is_in_it(tmp_path, product):
    example = waiver(product=product)
    repository = make(tmp_path, example)
    (tmp_path / "policies.yml").write_text("rules: {column_units: error}\n")
    found = evaluate(repository, example)
    assert not found.broken
    assert not found.problems
    [(each, by)] = found.waived
    assert (each.breach.subject, by.owner) == ("sales.orders.amount", "o")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"product": "sales.orders.order_id"}, "is unused"),
        ({"product": "sales.order"}, "is unused"),
        ({"policy": "grain"}, "is unused"),
        ({"policy": "unit"}, "there is no rule `unit`"),
        ({"until": "2026-11-29"}, None),  # `mesh check` says that it ended
    ],
)
def test_a_waiver_of_something_else_allows_nothing_and_is_a_finding(tmp_path, changes, said):
    example = waiver(**changes)
    repository = make(tmp_path, example)
    (tmp_path / "policies.yml").write_text("rules: {column_units: error}\n")
    found = evaluate(repository, example)
    assert [each.rule for each in found.broken] == ["column_units"]
    assert [said in each.problem for each in found.problems] == ([True] if said else [])


def test_a_rule_of_the_mesh_itself_has_no_exceptions(tmp_path):
    example = {**waiver(policy="grain"), "product": "config: {meta: {grain: null}}"}
    assert "grain" in broken(tmp_path, example, "rules: {}\n")


# Rules in Python

OWN = """
from meshhouse.governance.policies.rule import Breach

def check(domain, mesh):
    for each in domain.products:
        for column in each.product.columns:
            if column.name == "amount":
                yield each.column_breach(column, "is called amount.", "Say which amount.")
"""


def own(tmp_path, text: str, severity: str = "error"):
    repository = make(tmp_path, {})
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "amounts.py").write_text(text)
    (tmp_path / "policies.yml").write_text(
        f"own: [{{file: policies/amounts.py, severity: {severity}}}]\n"
    )
    return repository


def test_a_rule_in_python_is_one_function(tmp_path):
    [each] = evaluate(own(tmp_path, OWN, "warn"), {}).broken
    assert (each.rule, each.severity, each.remedy) == ("amounts", "warn", "Say which amount.")
    assert each.breach.subject == "sales.orders.amount"
    assert not list(tmp_path.rglob("__pycache__"))


def test_a_rule_in_python_can_be_waived(tmp_path):
    repository = own(tmp_path, OWN)
    entry = waiver(policy="amounts")["waivers.yml"]
    (tmp_path / "domains/sales/waivers.yml").write_text(entry)
    found = evaluate(Repository(repository.root), {})
    assert (len(found.broken), len(found.waived), found.problems) == (0, 1, ())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def check(domain, mesh:\n", "SyntaxError in line 1"),
        ("x = 1\n", "there is no function `check(domain, mesh)`"),
        ("\n\nraise ValueError('bad')\n", "ValueError in line 3: bad"),
        ("import sys\nsys.exit(3)\n", "SystemExit in line 2: 3"),
        ("def check(domain):\n    return []\n", "TypeError"),
        ("def check(domain, mesh):\n    return [1 / 0]\n", "ZeroDivisionError in line 2"),
        ("def check(domain, mesh):\n    yield 'text'\n", "yielded a str"),
        ("def check(domain, mesh):\n    return 3\n", "TypeError"),
    ],
)
def test_a_fault_in_a_rule_is_a_finding_and_not_a_crash(tmp_path, text, said):
    found = evaluate(own(tmp_path, text), {})
    assert not found.broken
    [problem] = found.problems
    assert said in problem.problem
    assert (problem.path.name, problem.line) == ("policies.yml", 1)


def test_a_rule_in_python_must_not_have_the_name_of_another(tmp_path):
    repository = own(tmp_path, OWN)
    (tmp_path / "policies" / "grain.py").write_text(OWN)
    (tmp_path / "policies.yml").write_text("own: [{file: policies/grain.py}]\n")
    [problem] = Federation(repository, TODAY).problems
    assert "has the name of a rule" in problem.problem


def test_a_link_out_of_the_repository_is_refused(tmp_path):
    repository = own(tmp_path / "mesh", OWN)
    (tmp_path / "elsewhere.py").write_text(OWN)
    (repository.root / "policies" / "amounts.py").unlink()
    (repository.root / "policies" / "amounts.py").symlink_to(tmp_path / "elsewhere.py")
    assert read_policies(repository.root).problems


# Details


@pytest.mark.parametrize(
    ("sql", "is_star"),
    [
        ("select * from x", True),
        ("select  DISTINCT\n * from x", True),
        ("with a as (select * from x) select a.one from a", False),
        ("with a as (select * from x) select a.* from a", True),
        ("select one from a union all select * from b", True),
        ("select count(*) as n from x", False),
        ("select one * two as product from x", False),
        ("-- select *\nselect one from x", False),
        ("select 'select * (' as text, one from x", False),
        ("{{ config(materialized='table') }} select * from {{ ref('x') }}", True),
    ],
)
def test_a_star_counts_where_the_query_returns_it(sql, is_star):
    assert selects_star(sql) is is_star


def test_the_page_is_current():
    """If it fails, run `python -m meshhouse.governance.policies.catalogue`."""
    assert (ROOT / "docs" / "policies.md").read_text() == page()


def test_this_repository_names_every_rule_and_keeps_all_of_them():
    repository = Repository(ROOT)
    named = read_policies(ROOT)
    assert set(named.rules) == set(RULES)
    assert "off" not in {each.severity for each in named.rules.values()}
    federation = Federation(repository, TODAY)
    assert not federation.problems
    for domain in repository.domains:
        found = federation.evaluate(domain)
        assert not [str(each.breach.problem) for each in found.broken]
        assert not found.problems


def test_the_page_has_a_section_for_every_rule():
    assert re.findall(r"^### `(\w+)`", page(), re.MULTILINE) == list(RULES)
