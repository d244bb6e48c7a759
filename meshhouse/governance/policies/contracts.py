"""Rules about contracts: grain, enforcement, checks, tests and SQL of products.

Belongs here: rules with their examples. Not here: service-level objectives (promises.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from meshhouse.governance.policies.rule import (
    Breach,
    Check,
    DomainFacts,
    Mesh,
    Options,
    Rule,
)
from meshhouse.repository.keys import GRAIN as GRAIN_KEY


def _enforced(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    for each in domain.products:
        if not each.product.contract:
            yield each.breach("has no contract.")


CONTRACT_ENFORCED = Rule(
    name="contract_enforced",
    demands="dbt enforces the contract of every product.",
    because="Otherwise a changed column reaches consumers without a word.",
    remedy="Set config.contract.enforced to true.",
    check=_enforced,
    passes={"product": "config: {contract: {enforced: true}}"},
    fails={"product": "config: {contract: {enforced: false}}"},
    is_core=True,
)


def _grain(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    for each in domain.products:
        if not each.product.grain:
            yield each.breach("states no grain.")


GRAIN = Rule(
    name="grain",
    demands="Every product states the columns that identify a row.",
    because="Consumers join and count by it.",
    remedy=f"Set config.meta.{GRAIN_KEY.name} to the columns that identify a row.",
    check=_grain,
    passes={"product": "config: {meta: {grain: [order_id]}}"},
    fails={"product": "config: {meta: {grain: null}}"},
    is_core=True,
)


def _real_check(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    for each in domain.products:
        real = [check for check in each.checks or () if check.kind not in options["not_counted"]]
        if each.checks is not None and len(real) < options["least"]:
            yield each.breach(
                f"has {len(real)} checks of its rows beyond {', '.join(options['not_counted'])}."
            )


REAL_CHECKS = Rule(
    name="real_checks",
    demands="Every product has written checks of what its rows say, not only of their number.",
    because="Figures times 100 have the right columns and the right number of rows.",
    remedy="Add checks of values: `invalid`, `missing`, `failed_rows`, `aggregate` or `metric`.",
    check=_real_check,
    passes={
        "checks": "columns: [{name: amount, checks: [{invalid: {valid_min: 0}}]}]\n"
        "checks: [{duplicate: {columns: [order_id]}}]"
    },
    fails={"checks": "checks: [{schema: null}, {duplicate: {columns: [order_id]}}]"},
    options={"least": 1, "not_counted": ["schema", "row_count", "duplicate", "freshness"]},
)


def _row_count(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    for each in domain.products:
        if not each.product.may_be_empty or each.checks is None:
            continue  # the mesh refuses a candidate without rows
        if not any(map(_counts_rows, each.checks)):
            yield each.breach("may be empty, and has no check of its number of rows.")


def _counts_rows(check: Check) -> bool:
    query = str(check.body.get("query") or "").lower()
    return check.kind == "row_count" or (check.kind == "metric" and "count(*)" in query)


ROW_COUNT = Rule(
    name="row_count",
    demands="A product that may be empty has a check of its number of rows.",
    because="An empty product passes every check of its rows.",
    remedy="Add a `row_count` check or a `metric` check of count(*), or remove `may_be_empty`.",
    check=_row_count,
    passes={"product": "config: {meta: {may_be_empty: null}}", "checks": ""},
    fails={
        "product": "config: {meta: {may_be_empty: true}}",
        "checks": "checks: [{duplicate: {columns: [order_id]}}]",
    },
)


def _tests(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    for each in domain.products:
        if each.tests < options["least"]:
            yield each.breach(
                f"has {each.tests} dbt tests, those of the models that it is made of included."
            )


DBT_TESTS = Rule(
    name="dbt_tests",
    demands="Every product, or a model that it is made of, has dbt tests or unit tests.",
    because="A check sees the result of a mistake; a test sees the mistake.",
    remedy="Write a unit test with a few rows, or data tests, in the YAML of the model.",
    check=_tests,
    passes={"product": "data_tests: [{unique: {column_name: order_id}}]"},
    fails={"product": "data_tests: []"},
    options={"least": 1},
)

_JINJA = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_TOKEN = re.compile(r"'(?:[^']|'')*'|[()]|\bselect\b(\s+(?:distinct\s+)?(?:\w+\.)?\*)?", re.I)


def _star(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    for each in domain.products:
        if selects_star(each.sql):
            path, subject = each.product.sql_path, each.product.relation
            yield Breach(path, 1, f"product {subject} selects `*`.", subject)


def selects_star(sql: str) -> bool:
    """Whether a query selects `*` outside of parentheses: in what it returns, not in its CTEs."""
    depth = 0
    for token in _TOKEN.finditer(_COMMENT.sub("", _JINJA.sub("x", sql))):
        if token[0] in "()":
            depth += 1 if token[0] == "(" else -1
        elif token[1] and depth == 0:
            return True
    return False


NO_SELECT_STAR = Rule(
    name="no_select_star",
    demands="The SQL of a product names each of its columns.",
    because="With `*`, a column that is added upstream changes the product.",
    remedy="List the columns of the product. `select *` stays allowed in its CTEs.",
    check=_star,
    passes={"sql": "select order_id, amount from {{ source('sales_raw', 'sales') }}"},
    fails={"sql": "select * from {{ source('sales_raw', 'sales') }}"},
)


def _materialized(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    for each in domain.products:
        if each.materialized in options["not"]:
            yield each.breach(f"is materialized as `{each.materialized}`.")


MATERIALIZED = Rule(
    name="materialized",
    demands="Products are tables, not views.",
    because="A view is computed again for every check and every copy that is published.",
    remedy="Set `materialized: table` or `incremental`.",
    check=_materialized,
    passes={"product": "config: {materialized: table}"},
    fails={"product": "config: {materialized: view}"},
    options={"not": ["view", "ephemeral"]},
)

RULES = (
    CONTRACT_ENFORCED,
    GRAIN,
    REAL_CHECKS,
    ROW_COUNT,
    DBT_TESTS,
    NO_SELECT_STAR,
    MATERIALIZED,
)
