"""Each edit of a query's conditions, figures, joins and order before a limit changes its shape.

Belongs here: edits of the queries of TPC-H, made one by one. Not here: pairs of queries that a
person wrote (test_shape.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import sqlglot
from sqlglot import exp

from meshhouse.governance.contract import Contract
from meshhouse.governance.shape import Shape, shape_of

QUERIES = re.split(
    r"-- Q\d+\n", (Path(__file__).parents[1] / "lint" / "sql" / "tpch.sql").read_text()
)[1:]
COMPARED = (exp.LT, exp.LTE, exp.GT, exp.GTE, exp.EQ)
EDITED = (
    *COMPARED, exp.Literal, exp.Column, exp.And, exp.Or, exp.Not, exp.Sum, exp.Join, exp.Ordered,
)  # fmt: skip
EVERY = 4
"""All 849 edits take 5 s, every fourth one 1.3 s."""


def shape(sql: str) -> Shape | None:
    return shape_of(
        Contract({"product": "s.sums", "model": "sums", "models": {"sums": {"sql": sql}}})
    )


def edits(query: exp.Expression) -> Iterator[exp.Expression]:
    """The query with one node edited, for every fourth node."""
    for at in range(0, len(list(query.find_all(*EDITED))), EVERY):
        edited = query.copy()
        node = list(edited.find_all(*EDITED))[at]
        is_order = isinstance(node, exp.Ordered) or node.find_ancestor(exp.Order)
        if is_order and not query.args.get("limit"):
            continue  # rows are the same in any order
        edit(node)
        if edited != query:
            yield edited


def edit(node: exp.Expression) -> None:
    if isinstance(node, exp.Literal) and node.is_string:
        node.replace(exp.Literal.string(f"{node.this}x"))
    elif isinstance(node, exp.Literal):
        node.replace(exp.Literal.number(f"{node.this}7"))
    elif isinstance(node, exp.Column):
        node.set("this", exp.to_identifier(f"{node.name}_x"))
    elif isinstance(node, exp.And | exp.Not):
        node.replace(node.this)
    elif isinstance(node, exp.Or):
        node.replace(exp.And(this=node.this, expression=node.expression))
    elif isinstance(node, COMPARED):
        node.replace(exp.NEQ(this=node.this, expression=node.expression))
    elif isinstance(node, exp.Sum):
        node.replace(exp.Max(this=node.this))
    elif isinstance(node, exp.Ordered):
        node.set("desc", not node.args.get("desc"))
    elif isinstance(node, exp.Join) and node.args.get("on"):
        node.set("side", None if node.side else "LEFT")


def test_each_edit_changes_the_shape():
    overlooked = []
    for query in QUERIES:
        before, tree = shape(query), sqlglot.parse_one(query, dialect="duckdb")
        assert before is not None
        overlooked += [
            sql
            for edited in edits(tree)
            if shape(sql := edited.sql("duckdb")) == before
            and "c_custkey_x" not in sql  # Q13 selects it and does not use it
        ]
    assert overlooked == []


def test_layout_and_quotes_do_not():
    for query in QUERIES:
        tree = sqlglot.parse_one(query, dialect="duckdb")
        assert shape(query) == shape(tree.sql("duckdb", pretty=True, identify=True))
