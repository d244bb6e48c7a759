"""SQL expressions in one canonical form, so that equal expressions have equal texts.

Belongs here: rewriting one expression, and what an expression is made of. Not here: how a whole
query is made (shape.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlglot import exp

from meshhouse.governance.identities import coalesced, exact_sum, extreme

_FLIPPED = {exp.LT: exp.GT, exp.LTE: exp.GTE, exp.GT: exp.LT, exp.GTE: exp.LTE}
_NEGATED = {
    exp.EQ: exp.NEQ, exp.NEQ: exp.EQ, exp.LT: exp.GTE, exp.GTE: exp.LT, exp.GT: exp.LTE,
    exp.LTE: exp.GT,
}  # fmt: skip
_SORTED = (exp.And, exp.Or, exp.Add, exp.Mul)
"""Operators whose operands may change places."""
_DATES = (
    exp.TimestampTrunc, exp.DateTrunc, exp.DateAdd, exp.DateSub, exp.DateDiff, exp.TimestampDiff,
    exp.Extract, exp.Year, exp.Month, exp.Quarter, exp.Week, exp.WeekOfYear, exp.Day,
    exp.DayOfWeek, exp.DayOfWeekIso, exp.DayOfMonth, exp.DayOfYear, exp.LastDay, exp.TimeToStr,
    exp.AtTimeZone, exp.ConvertTimezone, exp.Interval, exp.TsOrDsToDate, exp.TsOrDsAdd,
    exp.CurrentDate, exp.CurrentTimestamp,
)  # fmt: skip
_DATE_NAMES = ("date", "year", "month", "week", "quarter", "day", "time", "fiscal", "dow")
ROUNDINGS = (exp.Round, exp.Floor, exp.Ceil, exp.Trunc)


@dataclass(frozen=True, eq=False)
class Value:
    """A canonical expression over base columns, such as `sum(sales_raw.transactions.amount)`."""

    tree: exp.Expression
    """Nobody changes it."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Value) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    @cached_property
    def text(self) -> str:
        """The canonical text."""
        return text_of(self.tree)

    @cached_property
    def columns(self) -> frozenset[str]:
        """The base columns that it reads, such as `sales_raw.transactions.amount`."""
        return frozenset(text_of(each) for each in self.tree.find_all(exp.Column))

    @cached_property
    def literals(self) -> tuple[str, ...]:
        """The numbers and strings in it, sorted."""
        return tuple(sorted(str(each.this) for each in self.tree.find_all(exp.Literal)))

    @cached_property
    def defaults(self) -> tuple[str, ...]:
        """The replacements of missing values: the literals in `coalesce`, sorted."""
        found = [
            text_of(each)
            for call in self.tree.find_all(exp.Coalesce)
            for each in call.expressions
            if not each.find(exp.Column)
        ]
        return tuple(sorted(found))

    @cached_property
    def dates(self) -> tuple[str, ...]:
        """The calendar functions in it with their literals, without their columns; sorted."""
        found = [_shell(each) for each in self.tree.walk() if _is_date(each)]
        return tuple(sorted(found))

    @cached_property
    def roundings(self) -> tuple[str, ...]:
        """The functions and casts to whole or decimal numbers that round in it; sorted."""
        found = [
            _shell(each)
            for each in self.tree.walk()
            if isinstance(each, ROUNDINGS)
            or (isinstance(each, exp.Cast) and each.to.is_type(*exp.DataType.NUMERIC_TYPES))
        ]
        return tuple(sorted(found))

    @cached_property
    def skeleton(self) -> str:
        """The text without its literals: equal if only numbers and strings differ."""

        def blank(node: exp.Expression) -> exp.Expression:
            return exp.Placeholder() if isinstance(node, exp.Literal) else node

        return text_of(self.tree.transform(blank))


def text_of(tree: exp.Expression) -> str:
    """The text of an expression, in one line."""
    return tree.sql(dialect="duckdb", comments=False, normalize_functions="lower")


def canonical(tree: exp.Expression) -> exp.Expression:
    """A canonical copy of an expression."""
    return _rewritten(tree.copy())


def conjuncts(tree: exp.Expression) -> Iterator[exp.Expression]:
    """The parts of a condition that must all hold."""
    inner = tree.unnest()
    if isinstance(inner, exp.And):
        yield from conjuncts(inner.this)
        yield from conjuncts(inner.expression)
    else:
        yield inner


def without_cast(tree: exp.Expression) -> exp.Expression:
    """The expression inside the outer cast: the contract knows the type of a column."""
    inner = tree.unnest()
    return inner.this if isinstance(inner, exp.Cast) else inner


def _rewritten(tree: exp.Expression) -> exp.Expression:
    for key, value in list(tree.args.items()):
        if isinstance(value, exp.Expression):
            tree.set(key, _rewritten(value))
        elif isinstance(value, list):
            made = [
                _rewritten(each) if isinstance(each, exp.Expression) else each for each in value
            ]
            tree.set(key, made)
    return _rewritten_node(tree)


def _rewritten_node(node: exp.Expression) -> exp.Expression:
    node.comments = None
    for kinds, rewrite in _REWRITES:
        if isinstance(node, kinds):
            return rewrite(node)
    return node


def _name(node: exp.Expression) -> exp.Expression:
    return exp.Identifier(this=str(node.this).lower(), quoted=False)


def _number(node: exp.Expression) -> exp.Expression:
    """`1E-9` as `1e-9`, `.5` as `0.5`; `1.0` and `1.00` stay different, as their types are."""
    if node.args.get("is_string"):
        return node
    text = str(node.this).lower()
    return exp.Literal.number(f"0{text}" if text.startswith(".") else text)


def _interval(node: exp.Expression) -> exp.Expression:
    if node.args.get("unit"):
        node.set("unit", exp.Var(this=text_of(node.args["unit"]).upper().rstrip("S")))
    return node


def _between(node: exp.Expression) -> exp.Expression:
    low = _compared(exp.GTE, node.this, node.args["low"])
    high = _compared(exp.LTE, node.this.copy(), node.args["high"])
    return _in_order(exp.And(this=low, expression=high))


def _counted(node: exp.Expression) -> exp.Expression:
    is_every = isinstance(node.this, exp.Literal) or not node.this
    return exp.Count(this=exp.Star(), big_int=True) if is_every else node


def _if(node: exp.Expression) -> exp.Expression:
    if isinstance(node.parent, exp.Case):
        return node
    branch = exp.If(this=node.this, true=node.args.get("true"))
    return _case(exp.Case(ifs=[branch], default=node.args.get("false")))


def _cast(node: exp.Expression) -> exp.Expression:
    # sqlglot reads the `cast` of some dialects as `try_cast`.
    if isinstance(node, exp.TryCast):
        node = exp.Cast(this=node.this, to=node.args["to"])
    node.set("this", exact_sum(node.this) or node.this)
    is_twice = isinstance(node.this, exp.Cast) and node.args["to"] == node.this.args["to"]
    return node.this if is_twice else node


def _operation(node: exp.Expression) -> exp.Expression:
    node.set("this", _wrapped(node.this))
    node.set("expression", _wrapped(node.expression))
    return node


def _compared(
    kind: type[exp.Expression], left: exp.Expression, right: exp.Expression
) -> exp.Expression:
    """A comparison with what is fixed on the right, or else with its operands in order."""
    if (_fixed(left), text_of(left)) > (_fixed(right), text_of(right)):
        kind, left, right = _FLIPPED.get(kind, kind), right, left
    return kind(this=_wrapped(left), expression=_wrapped(right))


def _negated(node: exp.Expression) -> exp.Expression:
    inner = node.this
    if isinstance(inner, exp.Not):
        return inner.this
    if type(inner) in _NEGATED:
        return _NEGATED[type(inner)](this=inner.this, expression=inner.expression)
    node.set("this", _wrapped(inner))
    return node


def _listed(node: exp.Expression) -> exp.Expression:
    if not node.expressions or node.args.get("query"):
        return node
    items = {text_of(each): each for each in node.expressions}
    if len(items) == 1:
        return _compared(exp.EQ, node.this, node.expressions[0])
    node.set("expressions", [items[each] for each in sorted(items)])
    return node


def _case(node: exp.Expression) -> exp.Expression:
    if isinstance(node.args.get("default"), exp.Null):
        node.set("default", None)
    if node.this:
        for branch in node.args["ifs"]:
            branch.set("this", _compared(exp.EQ, node.this.copy(), branch.this))
        node.set("this", None)
    return extreme(node) or node


def _in_order(node: exp.Expression) -> exp.Expression:
    kind = type(node)
    operands = {}
    for at, each in enumerate(_operands(node, kind)):
        name = text_of(each)
        # `a and a` is `a`; `a + a` is not.
        operands[name if kind in (exp.And, exp.Or) else (name, at)] = each
    made: exp.Expression | None = None
    for key in sorted(operands, key=lambda each: each if isinstance(each, str) else each[0]):
        each = _wrapped(operands[key])
        made = each if made is None else kind(this=made, expression=each)
    assert made is not None
    return made


def _operands(node: exp.Expression, kind: type[exp.Expression]) -> Iterator[exp.Expression]:
    inner = node.unnest()
    if type(inner) is kind:
        yield from _operands(inner.this, kind)
        yield from _operands(inner.expression, kind)
    else:
        yield inner


def _wrapped(node: exp.Expression) -> exp.Expression:
    """In parentheses if it is an operation, so that the text says what belongs together."""
    return exp.Paren(this=node) if isinstance(node, exp.Binary | exp.Not | exp.Is) else node


def _fixed(node: exp.Expression) -> int:
    """2 for a literal, 1 for another expression without columns, 0 with columns."""
    if isinstance(node, exp.Literal):
        return 2
    return 0 if node.find(exp.Column) else 1


def _is_date(node: exp.Expression) -> bool:
    if isinstance(node, _DATES):
        return True
    if isinstance(node, exp.Cast):
        return node.to.is_type(*exp.DataType.TEMPORAL_TYPES)
    return isinstance(node, exp.Anonymous) and any(
        part in str(node.this).lower() for part in _DATE_NAMES
    )


def _shell(node: exp.Expression) -> str:
    """The text of a function with `x` for what it computes on."""

    def blank(inner: exp.Expression) -> exp.Expression:
        is_operand = isinstance(inner, exp.Column | exp.AggFunc)
        return exp.Var(this="x") if is_operand else inner

    return text_of(node.transform(blank))


_REWRITES: tuple[tuple[Any, Callable[[Any], exp.Expression]], ...] = (
    ((exp.Paren, exp.Alias), lambda node: node.this),
    (exp.Identifier, _name),
    (exp.Literal, _number),
    (exp.Interval, _interval),
    (exp.Not, _negated),
    (exp.Between, _between),
    (exp.In, _listed),
    (exp.Count, _counted),
    (exp.Case, _case),
    (exp.If, _if),
    (exp.Coalesce, coalesced),
    (exp.Cast, _cast),
    (
        (exp.EQ, exp.NEQ, *_FLIPPED),
        lambda node: _compared(type(node), node.this, node.expression),
    ),
    (_SORTED, _in_order),
    (exp.Binary, _operation),
)
