"""The operator of a comparison, as its place in the query turns it.

Belongs here: what `not`, `or`, `case` and `pivot` make of `=`. Not here: finding comparisons and
their values (comparisons.py), or what an operator means for readers (rules/).
"""

from __future__ import annotations

from sqlglot import exp

OR = "or"
"""Beside an operator: another condition can be true instead, so that it bounds nothing."""
PIVOT = "pivot"
"""The values become columns."""
KEY = "key"
"""The values are the keys of a map that the query writes out: another value finds nothing."""
UNSURE = "?"
"""The place does not show whether the comparison must be true."""

_NAMES: dict[type, str] = {
    exp.EQ: "=", exp.NullSafeEQ: "=", exp.NEQ: "<>", exp.NullSafeNEQ: "<>",
    exp.GT: ">", exp.GTE: ">=", exp.LT: "<", exp.LTE: "<=",
    exp.In: "in", exp.ArrayContains: "in", exp.Between: "between",
    exp.DecodeCase: "=", exp.Case: "=", exp.Nullif: "=",
}  # fmt: skip
"""Every other comparison is a pattern, `like`."""
_NEGATED = {"=": "<>", "<>": "=", ">": "<=", "<=": ">", "<": ">=", ">=": "<"}
_FLIPPED = {">": "<", "<": ">", ">=": "<=", "<=": ">="}
_CONNECTORS = (exp.And, exp.Or, exp.Paren, exp.Not)
_DEEPEST = 100
"""Connectors above a comparison that are followed: 2,000 conditions joined by `or` are a chain,
and following each to its end takes 2 million steps."""


def operators_of(comparison: exp.Expression) -> frozenset[str]:
    """The operators with which a comparison meets its left side.

    Args:
        comparison: `=`, `in`, `between`, `case x when`, `decode` and the like.

    Returns:
        The operator, negated under `not`. `case` instead of `=` and `in` where another value gets
        null, because nothing follows `else`; `PIVOT` where another value gets no column. `OR`
        beside it under `or`.
    """
    name = _NAMES.get(type(comparison), "like")
    if isinstance(comparison, exp.Case):
        return frozenset({name if _has_else(comparison) else "case"})
    if isinstance(comparison, exp.DecodeCase):
        return frozenset({name if len(comparison.expressions) % 2 == 0 else "case"})
    if isinstance(comparison.parent, exp.Pivot):
        return frozenset({PIVOT})
    node, is_negated, found = comparison, False, set()
    for _ in range(_DEEPEST):
        if not isinstance(node.parent, _CONNECTORS):
            break
        node = node.parent
        is_negated ^= isinstance(node, exp.Not)
        if isinstance(node, exp.Or):
            found.add(OR)
    above = node.parent
    if isinstance(above, (*_CONNECTORS, *_NAMES)) and not isinstance(above, exp.Case):
        return frozenset({UNSURE})
    if is_negated:
        name = _NEGATED.get(name, f"not {name}")
    is_condition = isinstance(above, exp.If) and above.this is node
    if name in {"=", "in"} and is_condition and not _has_else(above):
        name = "case"
    return frozenset({name, *found})


def flipped(operators: frozenset[str]) -> frozenset[str]:
    """The same operators, seen from the right side."""
    return frozenset(_FLIPPED.get(each, each) for each in operators)


def _has_else(choice: exp.Expression) -> bool:
    """Whether a choice gives values that it does not list a result, or an aggregate skips them."""
    case = choice.parent if isinstance(choice.parent, exp.Case) else choice
    if case.args.get("default" if isinstance(case, exp.Case) else "false") is not None:
        return True
    above = case.parent
    while isinstance(above, exp.Paren | exp.Distinct):
        above = above.parent
    return isinstance(above, exp.AggFunc) and not isinstance(above, exp.ArrayAgg)
