"""A benign edit of all models of the demo raises no alarm.

Belongs here: edits that code can make of any query without changing a value. Not here: pairs of
queries that a person wrote (changes/benign-*.yml), or lineage (lineage/test_demo.py).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlglot
from sqlglot import exp

from meshhouse.governance.change import Verdict
from meshhouse.governance.comparison import Comparison
from meshhouse.governance.contract import Contract
from meshhouse.governance.describe import Model, Sources, describe
from meshhouse.governance.judgement import judge
from meshhouse.governance.readers import Readers
from meshhouse.governance.shape import shape_of
from meshhouse.repository import Repository

Tree = exp.Expression
Models = dict[str, dict[str, list[str]]]


def parsed(sql: str) -> Tree:
    return sqlglot.parse_one(sql, read="duckdb")


def written(tree: Tree, **options: object) -> str:
    return tree.sql(dialect="duckdb", **options)


def with_other_layout(sql: str) -> str:
    """In another format, with comments and quoted names."""
    text = written(parsed(sql), pretty=True, identify=True)
    return "-- why\n" + text.replace(",\n", ", -- and\n") + "\n/* end */"


def in_upper_case(sql: str) -> str:
    """Upper case of everything except quoted names and strings: names ignore case."""
    found, end = "", 0
    kept = {sqlglot.TokenType.STRING, sqlglot.TokenType.IDENTIFIER}
    for token in sqlglot.tokenize(sql, read="duckdb"):
        text = sql[token.start : token.end + 1]
        found += sql[end : token.start] + (text if token.token_type in kept else text.upper())
        end = token.end + 1
    return found + sql[end:]


def with_renamed_ctes(sql: str) -> str:
    tree = parsed(sql)
    names = {each.alias for each in tree.find_all(exp.CTE)}
    for table in tree.find_all(exp.Table):
        if table.name in names and not table.db:
            if not table.alias:
                table.set("alias", exp.TableAlias(this=exp.to_identifier(table.name)))
            table.set("this", exp.to_identifier(f"{table.name}_renamed"))
    for each in tree.find_all(exp.CTE):
        each.set("alias", exp.TableAlias(this=exp.to_identifier(f"{each.alias}_renamed")))
    return written(tree)


def with_renamed_aliases(sql: str) -> str:
    tree = parsed(sql)
    sources = [*tree.find_all(exp.Table), *tree.find_all(exp.Subquery)]
    sources = [each for each in sources if each.alias_or_name]
    names = {each.alias_or_name for each in sources}
    for column in tree.find_all(exp.Column):
        if column.table in names:
            column.set("table", exp.to_identifier(f"{column.table}_renamed"))
    for each in sources:
        name = exp.to_identifier(f"{each.alias_or_name}_renamed")
        each.set("alias", exp.TableAlias(this=name))
    return written(tree)


def with_swapped_operands(sql: str) -> str:
    """The other order of `and`, `or` and `=`."""
    tree = parsed(sql)
    for each in [*tree.find_all(exp.And, exp.Or, exp.EQ)]:
        left, right = each.this, each.expression
        each.set("this", right)
        each.set("expression", left)
    return written(tree)


def wrapped(sql: str) -> str:
    """The whole query as the last CTE."""
    return f"with whole as (\n{sql}\n) select * from whole"


EDITS = [
    with_other_layout, in_upper_case, with_renamed_ctes, with_renamed_aliases,
    with_swapped_operands, wrapped,
]  # fmt: skip


def contracts(demo: Repository, demo_models: Models, edit: Callable[[str], str]) -> list[Contract]:
    """The contract of each product, after an edit of every model."""
    found = []
    for domain in demo.domains:
        made = [
            Model(relation.partition(".")[2], relation, edit(renderings[-1]), "table")
            for relation, renderings in demo_models[domain.name].items()
        ]
        upstream = demo.provided(domain)
        found += [
            describe(product, Sources(domain, "local", "duckdb", made, upstream))
            for product in domain.products
        ]
    return found


@pytest.fixture(scope="module")
def published(demo: Repository, demo_models: Models) -> list[Contract]:
    return contracts(demo, demo_models, lambda sql: sql)


def test_the_shape_of_every_product_is_known(published):
    assert len(published) >= 15
    assert [each.product for each in published if shape_of(each) is None] == []


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
def test_a_benign_edit_of_every_model_is_no_change(demo, demo_models, published, edit):
    edited = contracts(demo, demo_models, edit)
    alarms = []
    for before, after in zip(published, edited, strict=True):
        readers = Readers.of([before.product, before.relation], published)
        changes = judge(Comparison(before, after, readers))
        alarms += [f"{before.product} {each.key}: {each.what}" for each in changes
                   if each.verdict > Verdict.MINOR]  # fmt: skip
    assert alarms == []
