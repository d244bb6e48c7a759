"""Whether a column of a product is a figure about many rows.

Belongs here: finding the aggregate function behind a column's name. Not here: lineage (lineage/).
"""

from __future__ import annotations

from collections.abc import Iterator

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from meshhouse.governance.contract import Contract

_MANY = (exp.Count, exp.CountIf, exp.Sum, exp.Avg, exp.ApproxDistinct, exp.Stddev, exp.Variance)
"""Functions whose result is not the value of one row, as `min` or `any_value` are."""


def is_aggregate(contract: Contract, column: str) -> bool:
    """Whether some model of the product computes the column as a count, sum or mean."""
    return any(
        each.find(*_MANY) is not None
        for model in contract.get("models", {}).values()
        for each in _computed(str(model.get("sql", "")), column.lower())
    )


def _computed(sql: str, column: str) -> Iterator[exp.Expression]:
    """The expressions that any part of a query calls by a name."""
    try:
        tree = sqlglot.parse_one(sql, dialect="duckdb")
    except SqlglotError:
        return
    for query in tree.find_all(exp.Select):
        yield from (each for each in query.expressions if each.alias_or_name.lower() == column)
