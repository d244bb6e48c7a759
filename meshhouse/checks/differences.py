"""SQL that runs on every target and computes something else on one of them.

Belongs here: recognising such SQL in a statement of one target. Not here: which targets were
checked and what becomes a finding (targets.py), or types (kinds.py). What each rule says of
DuckDB and Spark is measured: tests/checks/portability.tsv.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sqlglot import exp

from meshhouse.checks.kinds import kind_of


@dataclass(frozen=True)
class Difference:
    """One kind of SQL, and what each target makes of it."""

    what: str
    local: str
    spark: str
    snowflake: str
    instead: str
    """What computes the same on every target."""

    def of(self, target: str) -> str:
        """What a target makes of it."""
        return str(getattr(self, target))


Matches = Callable[[exp.Expression, str], bool]
"""Takes an expression, and the function's name as written, in lower case; empty if none."""


def differences(tree: exp.Expression, sql: str) -> Iterator[tuple[int, Difference]]:
    """The line of each place that computes something else on another target, and why.

    Args:
        tree: the statement, with types as far as they are known.
        sql: its text.
    """
    for node in tree.walk():
        name = _name(node, sql)
        for matches, difference in _RULES:
            if matches(node, name):
                yield _line(node), difference


def _name(node: exp.Expression, sql: str) -> str:
    if not isinstance(node, exp.Func) or "start" not in node.meta:
        return ""
    return sql[node.meta["start"] : node.meta["end"] + 1].lower()


def _line(node: exp.Expression) -> int:
    places = (each.meta["line"] for each in node.walk() if "line" in each.meta)
    return next(places, 1)


def _named(*names: str) -> Matches:
    return lambda node, name: name in names


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


def _may_be_null(node: exp.Expression, name: str) -> bool:
    return not all(_never_null(each) for each in _arguments(node))


def _average(kind: str) -> Matches:
    def matches(node: exp.Expression, name: str) -> bool:
        return isinstance(node, exp.Avg) and kind_of(node.this) == kind

    return matches


def _quotient(node: exp.Expression, name: str) -> bool:
    kinds = {kind_of(node.this), kind_of(node.expression)} if isinstance(node, exp.Div) else None
    return kinds is not None and "double" not in kinds and kinds != {"integer"}


def _quotient_of_integers(node: exp.Expression, name: str) -> bool:
    return isinstance(node, exp.Div) and {kind_of(node.this), kind_of(node.expression)} == {
        "integer"
    }


def _by_zero(node: exp.Expression, name: str) -> bool:
    if not isinstance(node, exp.Div | exp.Mod | exp.IntDiv):
        return False
    divisor = node.expression.unnest()
    if isinstance(divisor, exp.Literal):
        return float(divisor.name) == 0 if not divisor.is_string else True
    while isinstance(divisor, exp.Cast | exp.Paren):
        divisor = divisor.this
    return not isinstance(divisor, exp.Nullif | exp.Literal | exp.Sqrt | exp.Neg)


def _greatest_with_null(node: exp.Expression, name: str) -> bool:
    if not isinstance(node, exp.Greatest | exp.Least):
        return False
    parent = node.parent
    if isinstance(parent, exp.Coalesce):
        others = {each.sql() for each in parent.expressions}
        if {each.sql() for each in _arguments(node)} <= others:
            return False
    return _may_be_null(node, name)


def _kinds(node: exp.Expression) -> tuple[str, str]:
    return kind_of(node.args.get("this")), kind_of(node.args.get("expression"))


def _subtraction_of(kind: str) -> Matches:
    return lambda node, name: isinstance(node, exp.Sub) and _kinds(node) == (kind, kind)


def _date_with(kind: str) -> Matches:
    def matches(node: exp.Expression, name: str) -> bool:
        if not isinstance(node, exp.Add | exp.Sub):
            return False
        first, second = _kinds(node)
        interval = isinstance(node.expression, exp.Interval) and kind == "interval"
        return first == "date" and (second == kind or interval)

    return matches


def _cast(source: tuple[str, ...], target: str) -> Matches:
    def matches(node: exp.Expression, name: str) -> bool:
        if not isinstance(node, exp.Cast):
            return False
        made = kind_of(node)
        return made == target and kind_of(node.this) in source

    return matches


def _cast_of_double_to_decimal(node: exp.Expression, name: str) -> bool:
    if not isinstance(node, exp.Cast) or kind_of(node) != "decimal":
        return False
    value = node.this.unnest()
    lifted = isinstance(value, exp.Add) and value.expression.name.lower() == "1e-9"
    return kind_of(value) == "double" and not lifted


def _part(*parts: str) -> Matches:
    def matches(node: exp.Expression, name: str) -> bool:
        if isinstance(node, exp.Extract) or name in ("date_part", "datepart"):
            part = next(iter(_arguments(node)), None)
            return part is not None and part.name.lower() in parts
        return False

    return matches


def _start_below_one(node: exp.Expression, name: str) -> bool:
    start = node.args.get("start") if isinstance(node, exp.Substring) else None
    return start is not None and (
        isinstance(start, exp.Neg) or (start.is_int and int(start.to_py()) < 1)
    )


def _negative_count(node: exp.Expression, name: str) -> bool:
    return isinstance(node, exp.Left | exp.Right) and isinstance(node.expression, exp.Neg)


def _round_of_double(node: exp.Expression, name: str) -> bool:
    return isinstance(node, exp.Round) and kind_of(node.this) == "double"


def _backslash(node: exp.Expression, name: str) -> bool:
    return isinstance(node, exp.Literal) and node.is_string and "\\" in node.name


def _caret(node: exp.Expression, name: str) -> bool:
    return isinstance(node, exp.Pow | exp.BitwiseXor) and not name


def _distinct_columns(node: exp.Expression, name: str) -> bool:
    distinct = node.this if isinstance(node, exp.Count) else None
    return isinstance(distinct, exp.Distinct) and len(distinct.expressions) > 1


def _one_argument(node: exp.Expression, name: str) -> bool:
    return name == "log" and node.args.get("expression") is None


def _trim_of_characters(node: exp.Expression, name: str) -> bool:
    return name in ("trim", "ltrim", "rtrim") and node.args.get("expression") is not None


_INTERPOLATING = ("median", "percentile_cont", "quantile_cont", "percentile")


def _interpolates(node: exp.Expression, name: str) -> bool:
    if name not in _INTERPOLATING:
        return False
    group = node.parent if isinstance(node.parent, exp.WithinGroup) else None
    values = group.expression.expressions[0].this if group is not None else node.args.get("this")
    return kind_of(values) != "double"


_DOUBLE = "a double"
_ROUNDED = "a decimal that is rounded at six digits"
_RATIO = "Use the macro `ratio(numerator, denominator)` and cast it to a decimal"
_PER_TARGET = "Write a macro with a version for each target"

_RULES: tuple[tuple[Matches, Difference], ...] = (
    (
        lambda node, name: isinstance(node, exp.Avg) and kind_of(node.this) in ("decimal", ""),
        Difference(
            "an average of decimals", _DOUBLE, "a decimal with four more digits, rounded",
            _ROUNDED, "Use the macro `ratio('sum(x)', 'count(x)')` and cast it to a decimal, or "
            "average a double.",
        ),
    ),
    (
        _average("integer"),
        Difference(
            "an average of integers", _DOUBLE, _DOUBLE, _ROUNDED,
            "Use the macro `ratio('sum(x)', 'count(x)')` and cast it to a decimal, or average "
            "a double.",
        ),
    ),
    (
        _quotient,
        Difference(
            "a quotient of decimals", _DOUBLE, "a decimal that is rounded at six digits or more",
            "a decimal with six more digits, rounded", f"{_RATIO}, or divide doubles.",
        ),
    ),
    (
        _quotient_of_integers,
        Difference(
            "a quotient of integers", _DOUBLE, _DOUBLE, _ROUNDED,
            f"{_RATIO}, or divide doubles.",
        ),
    ),
    (
        _by_zero,
        Difference(
            "a division by what may be 0", "null or infinity", "an error", "an error",
            f"{_RATIO}, or divide by `nullif(..., 0)`.",
        ),
    ),
    (
        lambda node, name: name == "concat" and _may_be_null(node, name),
        Difference(
            "`concat` of what may be null", "the other values", "null", "null",
            "Use `||` or `dbt.concat([...])`, with `coalesce(..., '')` to skip nulls.",
        ),
    ),
    (
        lambda node, name: name == "concat_ws" and _may_be_null(node, name),
        Difference(
            "`concat_ws` of what may be null", "the other values", "the other values", "null",
            "Use `||` with `coalesce(..., '')`.",
        ),
    ),
    (
        _greatest_with_null,
        Difference(
            "`greatest` or `least` of what may be null", "the other values", "the other values",
            "null", "Use the macros `larger_of(a, b)` or `smaller_of(a, b)`, or say what null "
            "means: `coalesce(greatest(a, b), a, b)`.",
        ),
    ),
    (
        _subtraction_of("date"),
        Difference(
            "a date minus a date", "a number of days", "an interval", "a number of days",
            "Use the macro `days_between(first, last)`.",
        ),
    ),
    (
        _subtraction_of("timestamp"),
        Difference(
            "a timestamp minus a timestamp", "an interval of days and a time",
            "an interval of days to seconds", "an error",
            "Use the macro `seconds_between(first, last)`, or `dbt.datediff(first, last, part)`.",
        ),
    ),
    (
        _date_with("interval"),
        Difference(
            "a date and an interval", "a timestamp", "a date", "a date",
            "Use the macro `add_days(date, days)`, or cast `dbt.dateadd(part, number, date)`.",
        ),
    ),
    (
        lambda node, name: name in ("dayofweek", "weekday")
        or _part("dow", "dayofweek", "weekday")(node, name),
        Difference(
            "a day of the week", "0 for Sunday", "1 for Sunday (`weekday`: 0 for Monday)",
            "0 for Sunday, unless the account begins weeks on another day",
            "Use the macro `day_of_week(date)`: 1 for Monday to 7 for Sunday.",
        ),
    ),
    (
        _named("dayname", "monthname"),
        Difference(
            "a name of a day or month", "the whole name", "three letters", "three letters",
            "Use `case` on the number, or a table of names.",
        ),
    ),
    (
        _part("second", "seconds"),
        Difference(
            "seconds of a time", "whole seconds", "seconds with their fraction", "whole seconds",
            "Use `floor(extract(second from ...))`.",
        ),
    ),
    (
        _round_of_double,
        Difference(
            "a rounded double", "rounds its binary value", "rounds its decimal text",
            "rounds its binary value", "Cast to a decimal with the macro `ratio` and round that.",
        ),
    ),
    (
        _cast_of_double_to_decimal,
        Difference(
            "a double cast to a decimal", "rounds its binary value", "rounds its decimal text",
            "rounds its binary value", "Compute with decimals, or use the macro `ratio`, which "
            "settles the halves.",
        ),
    ),
    (
        _cast(("double", "decimal"), "integer"),
        Difference(
            "a fraction cast to an integer", "rounds", "cuts", "rounds",
            "Say which: `cast(round(x) as ...)` or `cast(floor(x) as ...)`.",
        ),
    ),
    (
        _cast(("double",), "text"),
        Difference(
            "a double cast to text", "1e+16", "1.0E16", "1e16",
            "Cast to a decimal first.",
        ),
    ),
    (
        _cast(("timestamp",), "text"),
        Difference(
            "a timestamp cast to text", "with the offset of an instant", "without it",
            "with three digits of the second and the offset", f"{_PER_TARGET}.",
        ),
    ),
    (
        _start_below_one,
        Difference(
            "`substring` from below 1", "counts the places before the first",
            "counts 0 as 1", "counts 0 as 1", "Begin at 1, or use `right(text, n)`.",
        ),
    ),
    (
        _negative_count,
        Difference(
            "`left` or `right` of a negative number", "all but so many", "empty text",
            "empty text", "Use `substring` with `length`.",
        ),
    ),
    (
        _named("split", "string_split"),
        Difference(
            "`split`", "at a text", "at a regular expression", "at a text",
            "Use `dbt.split_part(text, delimiter, part)`.",
        ),
    ),
    (
        _named("regexp_replace", "regexp_extract", "regexp_extract_all", "regexp_substr",
               "regexp_count", "regexp_instr"),
        Difference(
            "a regular expression", "RE2; `regexp_replace` replaces the first",
            "Java's; `regexp_replace` replaces all", "POSIX; `regexp_replace` replaces all",
            f"Use `replace`, `like` or `split_part`. {_PER_TARGET} otherwise.",
        ),
    ),
    (
        lambda node, name: isinstance(node, exp.Bracket),
        Difference(
            "an element of an array", "counts from 1", "counts from 0", "counts from 0",
            f"{_PER_TARGET}.",
        ),
    ),
    (
        _distinct_columns,
        Difference(
            "`count(distinct ...)` of several columns", "counts rows with a null",
            "skips rows with a null", "skips rows with a null",
            "Count a subquery with `select distinct`.",
        ),
    ),
    (
        _one_argument,
        Difference(
            "`log` of one argument", "base 10", "base e", "an error",
            "Use `ln(x)` or `log(10, x)`.",
        ),
    ),
    (
        _trim_of_characters,
        Difference(
            "`trim` of characters", "text first", "characters first (`trim`)", "text first",
            "Use `replace`, or `trim(both ... from ...)` in a macro with a version for each "
            "target.",
        ),
    ),
    (
        lambda node, name: name == "array_agg",
        Difference(
            "`array_agg`", "keeps nulls", "skips nulls", "skips nulls",
            "Use `dbt.listagg(measure, delimiter)`, or filter nulls before.",
        ),
    ),
    (
        _interpolates,
        Difference(
            "a median or percentile", "of the type of its values (a double of doubles)",
            _DOUBLE, "a decimal that is rounded", "Cast the values to double, and the result to "
            "a decimal.",
        ),
    ),
    (
        _named("approx_count_distinct", "approx_quantile", "approx_percentile", "hash", "mode"),
        Difference(
            "an approximation, a hash or a tie", "its own value", "another", "another",
            "Use an exact function, or `dbt.hash(text)`.",
        ),
    ),
    (
        _backslash,
        Difference(
            "a backslash in a text", "a backslash", "begins an escape", "begins an escape",
            f"Use a text without it. {_PER_TARGET} otherwise.",
        ),
    ),
    (
        _caret,
        Difference(
            "`^`", "a power", "exclusive or of bits", "no operator", "Use `power(x, y)`.",
        ),
    ),
)  # fmt: skip
