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
    if _samples(new) != _samples(old):
        return Covers.OTHER if _samples(old) else Covers.FEWER
    if old_where is None or new_where is None:
        return Covers.FEWER if old_where is None else Covers.OTHER
    return _narrower(old_where, new_where)


def compare_conditions(before: str, after: str) -> Covers:
    """Compares the conditions of rows that fail a check."""
    if before.split() == after.split():
        return Covers.SAME
    old, new = _parsed(before), _parsed(after)
    if not before or not after or old is None or new is None:
        return Covers.OTHER
    return _narrower(old, new)


def _narrower(old: exp.Expression, new: exp.Expression) -> Covers:
    """Compares two conditions: fewer rows meet the new one if it implies the old one."""
    if not implies(new, old):
        return Covers.OTHER
    return Covers.SAME if implies(old, new) else Covers.FEWER


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


def _samples(query: exp.Expression) -> list[str]:
    return sorted(text_of(each) for each in query.find_all(exp.TableSample, exp.Limit))
