"""The score of an audit: weights of checks, and a threshold that stops a publication."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from meshhouse.audit import AuditResult, CheckResult
from meshhouse.lint import check
from tests.conftest import Mesh
from tests.governance.test_objectives import product

NOW = datetime(2026, 11, 30, tzinfo=UTC)
ORDERS = "domains/shop/models/products/orders.yml"
CHECKS = "domains/shop/models/products/orders.checks.yml"


def result(outcome: str, key: str, kind: str) -> CheckResult:
    return CheckResult(key, key, kind, None, outcome, 1.0, "must be 0")


RESULTS = (
    result("passed", "schema", "schema"),
    result("warned", "amount__invalid", "invalid"),
    result("passed", "note__invalid", "invalid"),
    result("passed", "metric__sum", "metric"),
)


def audited(checks=RESULTS, **score) -> AuditResult:
    return AuditResult(replace(product(), **score), checks, NOW, NOW)


@pytest.mark.parametrize(
    ("weights", "score"),
    [
        ({}, 75.0),
        ({"invalid": 3}, 62.5),
        ({"amount__invalid": 3}, 50.0),
        ({"invalid": 3, "amount__invalid": 0}, 100.0),  # a key counts before its kind
        ({"schema": 0.5}, 71.43),
        ({"schema": 0, "invalid": 0, "metric": 0}, 0.0),
    ],
)
def test_the_score_is_the_weighted_share_of_checks_that_passed(weights, score):
    assert audited(weights=weights).score == score


def test_a_score_below_the_threshold_does_not_pass():
    assert audited(threshold=75).passed
    assert not audited(threshold=75.1).passed
    assert audited().passed


def test_a_failed_check_does_not_pass_whatever_its_weight():
    checks = (*RESULTS, result("failed", "rows", "row_count"))
    assert not audited(checks, weights={"row_count": 0}).passed


def weigh(mesh: Mesh, score: str) -> None:
    mesh.edit(ORDERS, "grain: [order_id]", f"grain: [order_id]\n        score: {score}")


@pytest.mark.parametrize(
    ("score", "said"),
    [
        ("{threshold: 101}", "give a number from 0 to 100"),
        ("{threshold: high}", "must be a number"),
        ("{threshold: 1:30}", "reads `1:30` as 90"),
        ("{threshold: yes}", "must be a number"),
        ("{treshold: 90}", "Did you mean `threshold`?"),
        ("{weights: {schema: -1}}", "the weight of `schema` is `-1`"),
        ("{weights: {schema: heavy}}", "the weight of `schema` is `heavy`"),
        ("{weights: [schema]}", "must be a mapping"),
        ("{weights: {schemas: 1}}", "neither the key nor the kind"),
    ],
)
def test_a_wrong_score_is_a_finding(mesh, score, said):
    weigh(mesh, score)
    assert said in " ".join(str(each) for each in check(mesh.repository))


def test_a_candidate_below_its_threshold_is_not_published(mesh):
    weigh(mesh, "{threshold: 90, weights: {row_count: 5}}")
    mesh.edit(
        CHECKS,
        "\nchecks:\n",
        "\nchecks:\n  - row_count: {qualifier: many, threshold: "
        "{must_be_greater_than: 5, level: warn}}\n",
    )
    assert not check(mesh.repository)
    mesh.sell(1)
    said = mesh.run("run", "shop", code=1).stderr
    assert "shop.orders has the score" in said
    assert "less than its threshold 90" in said
    mesh.sell(2, 3, 4, 5, 6)
    mesh.run("run", "shop")
