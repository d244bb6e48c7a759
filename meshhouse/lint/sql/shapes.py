"""Shapes of SQL expressions, recognised in sqlglot's tree and by their types.

Belongs here: one function per shape. Not here: the results on each target (differences.py),
or the kind of value of an expression (kinds.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from sqlglot import exp

from meshhouse.lint.sql.kinds import kind_of

Matches = Callable[[exp.Expression, str], bool]
"""Takes an expression, and the function's name as written, in lower case; empty if none."""


def name(node: exp.Expression, sql: str) -> str:
    """The name of a function as written, in lower case; empty for anything else."""
    if not isinstance(node, exp.Func) or "start" not in node.meta:
        return ""
    return sql[node.meta["start"] : node.meta["end"] + 1].lower()


def line(node: exp.Expression) -> int:
    """The line of the SQL on which an expression begins."""
    places = (each.meta["line"] for each in node.walk() if "line" in each.meta)
    return next(places, 1)


def named(*names: str) -> Matches:
    """A call of one of these functions."""
    return lambda node, name: name in names


def field_of_struct(node: exp.Expression, name: str) -> bool:
    """A field such as `customer.address.zip`; the outermost of several."""
    is_field = isinstance(node, exp.Dot) and isinstance(node.expression, exp.Identifier)
    return is_field and not isinstance(node.parent, exp.Dot)


def cast_of_struct(node: exp.Expression, name: str) -> bool:
    """A cast to a type that holds structs, of anything but null."""
    if not isinstance(node, exp.Cast | exp.TryCast) or isinstance(node.this, exp.Null):
        return False
    return any(each.this == exp.DType.STRUCT for each in node.to.find_all(exp.DataType))


def _is_literal(node: exp.Expression | None) -> bool:
    return isinstance(node, exp.Literal | exp.Boolean) or (
        isinstance(node, exp.Neg | exp.Paren | exp.Cast) and _is_literal(node.this)
    )


def _arguments(node: exp.Expression) -> list[exp.Expression]:
    every = [node.args.get("this"), *node.expressions]
    return [each for each in every if isinstance(each, exp.Expression)]


def _never_null(node: exp.Expression) -> bool:
    if isinstance(node, exp.Coalesce):
        return _is_literal(_arguments(node)[-1])
    if isinstance(node, exp.Cast | exp.Paren | exp.Upper | exp.Lower | exp.Trim):
        return _never_null(node.this)
    return _is_literal(node)


def call_of(count: int, *names: str) -> Matches:
    """A call of one of these functions with exactly `count` arguments."""

    def matches(node: exp.Expression, name: str) -> bool:
        if name not in names:
            return False
        values = node.args.values()
        lists = [
            each for value in values for each in (value if isinstance(value, list) else [value])
        ]
        return len([each for each in lists if isinstance(each, exp.Expression)]) == count

    return matches


def may_be_null(node: exp.Expression, name: str) -> bool:
    """An expression with an argument that may be null."""
    return not all(_never_null(each) for each in _arguments(node))


def average(kind: str) -> Matches:
    """An average of values of a kind."""

    def matches(node: exp.Expression, name: str) -> bool:
        return isinstance(node, exp.Avg) and kind_of(node.this) == kind

    return matches


def quotient(node: exp.Expression, name: str) -> bool:
    """A quotient in which no side is a double and not both sides are integers."""
    kinds = {kind_of(node.this), kind_of(node.expression)} if isinstance(node, exp.Div) else None
    return kinds is not None and "double" not in kinds and kinds != {"integer"}


def quotient_of_integers(node: exp.Expression, name: str) -> bool:
    """A quotient of two integers."""
    return isinstance(node, exp.Div) and {kind_of(node.this), kind_of(node.expression)} == {
        "integer"
    }


def by_zero(node: exp.Expression, name: str) -> bool:
    """A division by something that is neither a number other than 0 nor `nullif(...)`."""
    if not isinstance(node, exp.Div | exp.Mod | exp.IntDiv):
        return False
    divisor = node.expression.unnest()
    if isinstance(divisor, exp.Literal):
        return float(divisor.name) == 0 if not divisor.is_string else True
    while isinstance(divisor, exp.Cast | exp.Paren):
        divisor = divisor.this
    return not isinstance(divisor, exp.Nullif | exp.Literal | exp.Sqrt | exp.Neg | exp.Count)


def greatest_with_null(node: exp.Expression, name: str) -> bool:
    """`greatest` or `least` with an argument that may be null, without a `coalesce` around it."""
    if not isinstance(node, exp.Greatest | exp.Least):
        return False
    parent = node.parent
    if isinstance(parent, exp.Coalesce):
        others = {each.sql() for each in parent.expressions}
        if {each.sql() for each in _arguments(node)} <= others:
            return False
    return may_be_null(node, name)


def _kinds(node: exp.Expression) -> tuple[str, str]:
    return kind_of(node.args.get("this")), kind_of(node.args.get("expression"))


def subtraction_of(kind: str) -> Matches:
    """A difference of two values of a kind."""
    return lambda node, name: isinstance(node, exp.Sub) and _kinds(node) == (kind, kind)


def date_with(kind: str) -> Matches:
    """A date, plus or minus a value of a kind."""

    def matches(node: exp.Expression, name: str) -> bool:
        if not isinstance(node, exp.Add | exp.Sub):
            return False
        first, second = _kinds(node)
        interval = isinstance(node.expression, exp.Interval) and kind == "interval"
        return first == "date" and (second == kind or interval)

    return matches


def cast(source: tuple[str, ...], target: str) -> Matches:
    """A cast from one of the source kinds to the target kind."""

    def matches(node: exp.Expression, name: str) -> bool:
        if not isinstance(node, exp.Cast):
            return False
        made, value = kind_of(node), node.this.unnest()
        whole = isinstance(value, exp.Floor | exp.Ceil | exp.Trunc) or (
            isinstance(value, exp.Round) and value.args.get("decimals") is None
        )
        return made == target and kind_of(value) in source and not whole

    return matches


def cast_of_double_to_decimal(node: exp.Expression, name: str) -> bool:
    """A cast of a double to a decimal, except the one in the macro `ratio`."""
    if not isinstance(node, exp.Cast) or kind_of(node) != "decimal":
        return False
    value = node.this.unnest()
    lifted = isinstance(value, exp.Add) and value.expression.name.lower() == "1e-9"
    return kind_of(value) == "double" and not lifted


def part(*parts: str) -> Matches:
    """One of these parts of a date or time."""

    def matches(node: exp.Expression, name: str) -> bool:
        if isinstance(node, exp.Extract) or name in ("date_part", "datepart"):
            part = next(iter(_arguments(node)), None)
            return part is not None and part.name.lower() in parts
        return False

    return matches


def start_below_one(node: exp.Expression, name: str) -> bool:
    """A part of a text that begins before its first character."""
    start = node.args.get("start") if isinstance(node, exp.Substring) else None
    if start is None or node.args.get("length") is None:
        return False
    return bool(isinstance(start, exp.Neg) or (start.is_int and int(start.to_py()) < 1))


def negative_count(node: exp.Expression, name: str) -> bool:
    """`left` or `right` with a negative number."""
    return isinstance(node, exp.Left | exp.Right) and isinstance(node.expression, exp.Neg)


def round_of_double(node: exp.Expression, name: str) -> bool:
    """A double that is rounded to some digits."""
    digits = node.args.get("decimals") if isinstance(node, exp.Round) else None
    return digits is not None and kind_of(node.this) == "double"


def backslash(node: exp.Expression, name: str) -> bool:
    """A text with a backslash, or with a newline or tab that an escape may have produced."""
    if not isinstance(node, exp.Literal) or not node.is_string:
        return False
    return bool(set("\\\n\t") & set(node.name))


def caret(node: exp.Expression, name: str) -> bool:
    """The operator `^`."""
    return isinstance(node, exp.Pow | exp.BitwiseXor) and not name


def distinct_columns(node: exp.Expression, name: str) -> bool:
    """`count(distinct a, b)`."""
    distinct = node.this if isinstance(node, exp.Count) else None
    return isinstance(distinct, exp.Distinct) and len(distinct.expressions) > 1


def one_argument(node: exp.Expression, name: str) -> bool:
    """`log` with one argument."""
    return name == "log" and node.args.get("expression") is None


def trim_of_characters(node: exp.Expression, name: str) -> bool:
    """`trim` of named characters."""
    return isinstance(node, exp.Trim) and node.args.get("expression") is not None


def split_at_pattern(node: exp.Expression, name: str) -> bool:
    """`split` at a regular expression, or at a text that may be one."""
    if name not in ("split", "string_split", "str_split"):
        return False
    delimiter = node.args.get("expression")
    text = delimiter.name if isinstance(delimiter, exp.Literal) else "."
    return not re.fullmatch(r"[\w ,;:/-]+", text)


def membership_as_value(node: exp.Expression, name: str) -> bool:
    """`x in (select ...)` outside `where`, `having`, `join` and `qualify`.

    Inside these, null and false both drop the row, so the difference does not matter.
    """
    if not isinstance(node, exp.In) or node.args.get("query") is None:
        return False
    within = node.find_ancestor(exp.Where, exp.Having, exp.Join, exp.Qualify, exp.Select)
    return isinstance(within, exp.Select)


def interpolates_integers(node: exp.Expression, name: str) -> bool:
    """A median or percentile of integers."""
    return name in _INTERPOLATING and _interpolated(node) == "integer"


_INTERPOLATING = ("median", "percentile_cont", "quantile_cont", "percentile")


def interpolates(node: exp.Expression, name: str) -> bool:
    """A median or percentile of values that are neither doubles nor integers."""
    return name in _INTERPOLATING and _interpolated(node) not in ("double", "integer")


def _interpolated(node: exp.Expression) -> str:
    group = node.parent if isinstance(node.parent, exp.WithinGroup) else None
    values = group.expression.expressions[0].this if group is not None else node.args.get("this")
    return kind_of(values)
