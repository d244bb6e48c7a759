"""Whether a check's new query looks at fewer rows than its old one.

Belongs here: comparing two queries of one check. Not here: conditions (predicates.py).
"""

from __future__ import annotations

from enum import Enum, auto

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from meshhouse.governance.expressions import canonical, text_of
from meshhouse.governance.predicates import implies


class Covers(Enum):
    """The rows that a query looks at, compared with an earlier query."""

    SAME = auto()
    FEWER = auto()
    OTHER = auto()
    """Another query: only a person can say what it finds."""


def compare_queries(before: str, after: str) -> Covers:
    """Compares the queries of one check.

    Layout, comments and the order of conditions do not matter.
    """
    if before.split() == after.split():
        return Covers.SAME
    old, new = _parsed(before), _parsed(after)
    if old is None or new is None:
        return Covers.OTHER
    if text_of(old) == text_of(new):
        return Covers.SAME
    (old_rest, old_where), (new_rest, new_where) = _split(old), _split(new)
    if text_of(old_rest) != text_of(new_rest):
        return Covers.OTHER
    if _is_sampled(new) and not _is_sampled(old):
        return Covers.FEWER
    if new_where is not None and (old_where is None or implies(new_where, old_where)):
        return Covers.FEWER
    return Covers.OTHER


def compare_conditions(before: str, after: str) -> Covers:
    """Compares the conditions of rows that fail a check."""
    if before.split() == after.split():
        return Covers.SAME
    old, new = _parsed(before), _parsed(after)
    if not before or not after or old is None or new is None:
        return Covers.OTHER
    if text_of(old) == text_of(new):
        return Covers.SAME
    return Covers.FEWER if implies(new, old) else Covers.OTHER


def _parsed(sql: str) -> exp.Expression | None:
    try:
        return canonical(sqlglot.parse_one(sql, dialect="duckdb"))
    except SqlglotError:
        return None


def _split(query: exp.Expression) -> tuple[exp.Expression, exp.Expression | None]:
    """The query without what narrows it down, and the condition of its last `where`."""
    rest = query.copy()
    where = rest.args.get("where")
    for each in list(rest.find_all(exp.TableSample, exp.Limit)):
        each.pop()
    if where is not None:
        where.pop()
    return rest, where.this if where is not None else None


def _is_sampled(query: exp.Expression) -> bool:
    return query.find(exp.TableSample, exp.Limit) is not None
