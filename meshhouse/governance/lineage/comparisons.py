"""The flow of comparisons and choices, with the values that columns are compared with.

Belongs here: `=`, `in`, `between`, `case` and functions that compare. Not here: other expressions
(expressions.py).
"""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from meshhouse.governance.lineage.flow import NOTHING, Flow, merged
from meshhouse.governance.lineage.operators import operators_of
from meshhouse.governance.lineage.scope import Scope, answer

_COMPARISONS = (
    exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ,
    exp.Like, exp.ILike, exp.SimilarTo, exp.RegexpLike, exp.RegexpILike, exp.Glob,
    exp.StartsWith, exp.EndsWith, exp.Contains, exp.ArrayContains,
)  # fmt: skip


def _comparison(expression: exp.Expression, scope: Scope) -> Flow:
    left = _values(expression.this, scope)
    right = _values(expression.args.get("expression"), scope)
    _compare(left, right, expression, scope)
    return merged([each.as_condition() for each in (*left, *right)])


def _values(expression: exp.Expression | None, scope: Scope) -> list[Flow]:
    """The flow of a value, or those of the values of `(a, b)` or `(select a, b from t)`."""
    if isinstance(expression, exp.Tuple):
        return [scope.flow(each, scope) for each in expression.expressions]
    if isinstance(expression, exp.Query):
        table, deciding = answer(expression, scope)
        flows = [Flow({**deciding.origins, **each.flow.origins}, each.flow.constants)
                 for each in table.columns]  # fmt: skip
        return flows if table.rest is None else [merged([*flows, table.rest, deciding])]
    return [scope.flow(expression, scope)]


def _compare(left: list[Flow], right: list[Flow], comparison: exp.Expression, scope: Scope) -> None:
    if len(left) == len(right):
        operators = operators_of(comparison)
        for one, other in zip(left, right, strict=True):
            scope.uses.compare(one, other, operators)


def _between(expression: exp.Expression, scope: Scope) -> Flow:
    value = scope.flow(expression.this, scope)
    bounds = [scope.flow(expression.args[key], scope) for key in ("low", "high")]
    for bound in bounds:
        scope.uses.compare(value, bound, operators_of(expression))
    return merged([each.as_condition() for each in (value, *bounds)])


def _in(expression: exp.Expression, scope: Scope) -> Flow:
    value = _values(expression.this, scope)
    others = [*expression.expressions]
    others += [expression.args.get(key) for key in ("query", "unnest", "field")]
    flows = [*value]
    for other in others:
        if other is not None:
            inner = other.this if type(other) is exp.Subquery and other.this else other
            found = _values(inner, scope)
            _compare(value, found, expression, scope)
            flows += found
    return merged([each.as_condition() for each in flows])


def _case(expression: exp.Expression, scope: Scope) -> Flow:
    subject = expression.this
    flows = []
    value = scope.flow(subject, scope) if subject is not None else NOTHING
    for each in expression.args.get("ifs") or []:
        condition = scope.flow(each.this, scope)
        if subject is not None:
            scope.uses.compare(value, condition, operators_of(expression))
        flows += [condition.as_condition(), scope.flow(each.args.get("true"), scope)]
    flows.append(scope.flow(expression.args.get("default"), scope))
    return merged([value.as_condition(), *flows])


def _if(expression: exp.Expression, scope: Scope) -> Flow:
    condition = scope.flow(expression.this, scope)
    results = [scope.flow(expression.args.get(key), scope) for key in ("true", "false")]
    return merged([condition.as_condition(), *results])


def _decode(expression: exp.Expression, scope: Scope) -> Flow:
    """`decode(status, 'a', 1, 'b', 2, 3)`: a case with comparisons."""
    value, *rest = [scope.flow(each, scope) for each in expression.expressions]
    pairs = len(rest) // 2
    for wanted in rest[: 2 * pairs : 2]:
        scope.uses.compare(value, wanted, operators_of(expression))
    return merged([value.as_condition(), *rest[1 : 2 * pairs : 2], *rest[2 * pairs :]])


def _nullif(expression: exp.Expression, scope: Scope) -> Flow:
    value, other = scope.flow(expression.this, scope), scope.flow(expression.expression, scope)
    scope.uses.compare(value, other, operators_of(expression))
    return merged([value, other.as_condition()])


COMPARING: dict[type, Callable[[exp.Expression, Scope], Flow]] = {
    **dict.fromkeys(_COMPARISONS, _comparison),
    exp.Between: _between,
    exp.In: _in,
    exp.Case: _case,
    exp.If: _if,
    exp.DecodeCase: _decode,
    exp.Nullif: _nullif,
}
"""Kind of expression -> what finds its flow."""
