"""Whether one condition in SQL lets through every row of another.

Belongs here: proving that a condition implies another. What is not proved counts as not implied.
Not here: the canonical text of an expression (expressions.py), or what a filter means (rules/).
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from meshhouse.governance.expressions import canonical, conjuncts, text_of

_COMPARES: dict[type[exp.Expression], Callable[..., bool]] = {
    exp.EQ: operator.eq, exp.NEQ: operator.ne, exp.LT: operator.lt, exp.LTE: operator.le,
    exp.GT: operator.gt, exp.GTE: operator.ge,
}  # fmt: skip
_BELOW, _ABOVE = (exp.LT, exp.LTE), (exp.GT, exp.GTE)


class _Comparison(NamedTuple):
    """A column, or an expression, compared with a literal."""

    of: str
    kind: type[exp.Expression]
    value: Decimal | str

    def holds(self, value: Decimal | str) -> bool:
        if isinstance(value, str) != isinstance(self.value, str):
            return False
        return _COMPARES[self.kind](value, self.value)


def is_implied(narrow: str | None, wide: str | None) -> bool:
    """Whether every row that meets one condition is proved to meet another.

    Args:
        narrow: a condition in SQL; None or empty is met by every row.
        wide: the condition that must follow.
    """
    if not wide or wide == narrow:
        return True
    if not narrow:
        return False
    first, second = condition(narrow), condition(wide)
    return first is not None and second is not None and implies(first, second)


def condition(sql: str) -> exp.Expression | None:
    """A condition in canonical form; None if it cannot be parsed."""
    try:
        return canonical(sqlglot.parse_one(sql, dialect="duckdb"))
    except SqlglotError:
        return None


def implies(narrow: exp.Expression, wide: exp.Expression) -> bool:
    """Whether a canonical condition is proved to imply another."""
    narrow, wide = narrow.unnest(), wide.unnest()
    if text_of(narrow) == text_of(wide):
        return True
    if isinstance(wide, exp.And):
        return all(implies(narrow, each) for each in conjuncts(wide))
    if isinstance(narrow, exp.Or):
        return implies(narrow.this, wide) and implies(narrow.expression, wide)
    if isinstance(narrow, exp.And) and any(implies(each, wide) for each in conjuncts(narrow)):
        return True
    if isinstance(wide, exp.Or):
        return implies(narrow, wide.this) or implies(narrow, wide.expression)
    return _compares_closer(narrow, wide)


def _compares_closer(narrow: exp.Expression, wide: exp.Expression) -> bool:
    """Whether comparisons with literals imply one another, such as `x > 5` and `x > 1`."""
    if isinstance(wide, exp.In):
        return _is_among(narrow, wide)
    second = _comparison(wide)
    if second is None:
        return False
    if isinstance(narrow, exp.In):
        each_of = [_comparison(exp.EQ(this=narrow.this, expression=v)) for v in narrow.expressions]
        return bool(each_of) and all(each and _follows(each, second) for each in each_of)
    first = _comparison(narrow)
    return first is not None and _follows(first, second)


def _is_among(narrow: exp.Expression, wide: exp.In) -> bool:
    if not wide.expressions:
        return False
    listed = {text_of(each) for each in wide.expressions}
    if isinstance(narrow, exp.In):
        values = {text_of(each) for each in narrow.expressions}
        return bool(values) and text_of(narrow.this) == text_of(wide.this) and values <= listed
    return (
        isinstance(narrow, exp.EQ)
        and text_of(narrow.this) == text_of(wide.this)
        and text_of(narrow.expression) in listed
    )


def _follows(first: _Comparison, second: _Comparison) -> bool:
    if first.of != second.of:
        return False
    if first.kind is exp.EQ:
        return second.holds(first.value)
    same_side = next((side for side in (_BELOW, _ABOVE) if first.kind in side), ())
    if second.kind is exp.NEQ and same_side:
        return not first.holds(second.value)
    if second.kind not in same_side:
        return False
    is_closed_wider = first.kind in (exp.LT, exp.GT) or second.kind in (exp.LTE, exp.GTE)
    return second.holds(first.value) or (first.value == second.value and is_closed_wider)


def _comparison(node: exp.Expression) -> _Comparison | None:
    if type(node) not in _COMPARES:
        return None
    value = node.expression.unnest()
    is_negative = isinstance(value, exp.Neg)
    if isinstance(value, exp.Neg | exp.Cast):
        value = value.this.unnest()
    if not isinstance(value, exp.Literal):
        return None
    found: Decimal | str = str(value.this)
    if not value.is_string:
        found = Decimal(found) * (-1 if is_negative else 1)
    return _Comparison(text_of(node.this), type(node), found)
