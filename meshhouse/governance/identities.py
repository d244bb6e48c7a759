"""Two spellings of one expression that are proved to give the same value for all inputs.

Belongs here: proofs that need the types of operands, as an expression states them. Not here:
rewrites that hold for every type (expressions.py), or what holds for usual data only: that asks
for a confirmation.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

_SAME_IF_EQUAL = (
    exp.DataType.Type.DATE, exp.DataType.Type.TIMESTAMP, exp.DataType.Type.TIMESTAMPTZ,
    exp.DataType.Type.BOOLEAN, exp.DataType.Type.SMALLINT, exp.DataType.Type.INT,
    exp.DataType.Type.BIGINT,
)  # fmt: skip
"""Types of which equal values are the same value. In others, 0.0 equals -0.0, 30 days equal a
month, and with a collation `a` equals `A`."""
_LONGEST_DECIMAL = 18
"""DuckDB's decimals of up to 18 digits get a digit more with each addition. One with more than 18
fails on overflow, which depends on the order of the additions."""
_LARGER, _SMALLER = (exp.GT, exp.GTE), (exp.LT, exp.LTE)
_VOLATILE = ("random(", "uuid", "nextval(", "(select ")


def extreme(node: exp.Case | exp.Coalesce) -> exp.Expression | None:
    """The larger or smaller of two values, or the other one if one is null, in one spelling.

    `case when b is null or a > b then a else b end` is `coalesce(greatest(a, b), a, b)`, whether
    `greatest` ignores nulls (DuckDB, Spark) or is null if one of its arguments is (Snowflake).

    Returns:
        None if the expression is something else, or nothing is proved of its types.
    """
    found = _from_case(node) if isinstance(node, exp.Case) else _from_coalesce(node)
    if found is None:
        return None
    kind, *pair = found
    types = [_type(each) for each in pair]
    if types[0] is None or types[0] != types[1] or not all(map(_is_stable, pair)):
        return None
    one, other = sorted(pair, key=_text)
    call = kind(this=one, expressions=[other], ignore_nulls=True)
    return exp.Coalesce(this=call, expressions=[one.copy(), other.copy()])


def coalesced(node: exp.Coalesce) -> exp.Expression:
    """The same value without a repeated default: `coalesce(coalesce(a, 0), 0)`."""
    inner = node.this.unnest()
    if isinstance(inner, exp.Coalesce) and inner.expressions and len(node.expressions) == 1:
        default = node.expressions[0]
        if isinstance(default, exp.Literal) and inner.expressions[-1] == default:
            return inner
    return extreme(node) or node


def exact_sum(node: exp.Expression) -> exp.Expression | None:
    """A sum or difference of decimals: `a - (b - c)` is `a - b + c`.

    Holds only inside a cast: the two spellings may differ in the number of digits of their type.

    Returns:
        None if the expression is something else, or a result may need more than 18 digits.
    """
    if not isinstance(node.unnest(), exp.Add | exp.Sub | exp.Neg):
        return None
    terms = list(_terms(node, is_added=True))
    types = [each.to if isinstance(each, exp.Cast) else None for each, _ in terms]
    if types[0] is None or any(each != types[0] for each in types):
        return None
    if _digits(types[0]) + len(terms) - 1 > _LONGEST_DECIMAL:
        return None
    terms.sort(key=lambda each: (not each[1], _text(each[0])))
    made: exp.Expression | None = None
    for term, is_added in terms:
        if made is None:
            made = term if is_added else exp.Neg(this=term)
        else:
            made = (exp.Add if is_added else exp.Sub)(this=exp.Paren(this=made), expression=term)
    return made


def _from_case(
    node: exp.Case,
) -> tuple[type[exp.Expression], exp.Expression, exp.Expression] | None:
    branches, default = node.args["ifs"], node.args.get("default")
    condition = branches[0].this.unnest()
    if len(branches) != 1 or default is None or not isinstance(condition, exp.Or):
        return None
    first, second = branches[0].args["true"].unnest(), default.unnest()
    parts = condition.this.unnest(), condition.expression.unnest()
    tests = [each for each in parts if not _is_null_test(each, second)]
    if len(tests) != 1:
        return None
    test = tests[0]
    for kind, ahead, behind in ((exp.Greatest, _LARGER, _SMALLER), (exp.Least, _SMALLER, _LARGER)):
        sides = [each.unnest() for each in (test.this, test.args.get("expression")) if each]
        if (isinstance(test, ahead) and sides == [first, second]) or (
            isinstance(test, behind) and sides == [second, first]
        ):
            return kind, first, second
    return None


def _is_null_test(node: exp.Expression, of: exp.Expression) -> bool:
    is_test = isinstance(node, exp.Is) and isinstance(node.expression, exp.Null)
    return is_test and node.this.unnest() == of


def _from_coalesce(
    node: exp.Coalesce,
) -> tuple[type[exp.Expression], exp.Expression, exp.Expression] | None:
    call, others = node.this.unnest(), [each.unnest() for each in node.expressions]
    if not isinstance(call, exp.Greatest | exp.Least) or len(call.expressions) != 1:
        return None
    pair = [call.this.unnest(), call.expressions[0].unnest()]
    if others not in (pair, pair[::-1]):
        return None
    return type(call), pair[0], pair[1]


def _type(node: exp.Expression) -> exp.DataType | None:
    """The type that an expression states, if equal values of it are the same value."""
    inner = node.unnest()
    if isinstance(inner, exp.Cast):
        return inner.to if inner.to.this in _SAME_IF_EQUAL else None
    if isinstance(inner, exp.Max | exp.Min):
        # `max(a, 2)` is a list.
        return (
            None if any(inner.args[key] for key in {*inner.args} - {"this"}) else _type(inner.this)
        )
    if isinstance(inner, exp.Case):
        results = [each.args["true"] for each in inner.args["ifs"]]
        results += [inner.args["default"]] if inner.args.get("default") else []
        types = [_type(each) for each in results]
        return types[0] if all(each == types[0] for each in types) else None
    return None


def _is_stable(node: exp.Expression) -> bool:
    """Whether an expression gives the same value each time; an unknown function might not."""
    text = _text(node).lower()
    return node.find(exp.Anonymous) is None and not any(each in text for each in _VOLATILE)


def _terms(node: exp.Expression, is_added: bool) -> Iterator[tuple[exp.Expression, bool]]:
    """The terms of a sum, each with whether it is added or subtracted."""
    inner = node.unnest()
    if isinstance(inner, exp.Add | exp.Sub):
        yield from _terms(inner.this, is_added)
        yield from _terms(inner.expression, is_added == isinstance(inner, exp.Add))
    elif isinstance(inner, exp.Neg):
        yield from _terms(inner.this, not is_added)
    else:
        yield inner, is_added


def _digits(kind: exp.DataType) -> int:
    """The digits of a decimal with a stated precision; too many for another type."""
    stated = [each.this.this for each in kind.expressions if isinstance(each, exp.DataTypeParam)]
    is_known = kind.this == exp.DataType.Type.DECIMAL and len(stated) == 2
    return int(stated[0]) if is_known else _LONGEST_DECIMAL + 1


def _text(node: exp.Expression) -> str:
    return node.sql(dialect="duckdb", comments=False)
