"""SQL that runs on every target but gives different results.

Belongs here: recognising such SQL in a statement of one target. Not here: which targets were
checked and what becomes a finding (targets.py), or types (kinds.py). The results on DuckDB and
Spark are measured: tests/lint/sql/portability.tsv.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot import exp

from meshhouse.lint.sql import shapes
from meshhouse.lint.sql.kinds import kind_of


@dataclass(frozen=True)
class Difference:
    """One kind of SQL, and its result on each target."""

    what: str
    local: str
    spark: str
    snowflake: str
    instead: str
    """SQL with the same result on every target."""

    def of(self, target: str) -> str:
        """The result on a target."""
        return str(getattr(self, target))


def differences(tree: exp.Expression, sql: str) -> Iterator[tuple[int, Difference]]:
    """Line and kind of each expression that gives another result on another target.

    Args:
        tree: the statement, with types as far as they are known.
        sql: the text of the statement.
    """
    for node in tree.walk():
        name = shapes.name(node, sql)
        for matches, difference in _RULES:
            if matches(node, name):
                yield shapes.line(node), difference


_DOUBLE = "a double"
_ROUNDED = "a decimal that is rounded at six digits"
_RATIO = "Use the macro `ratio(numerator, denominator)` and cast it to a decimal"
_PER_TARGET = "Write a macro with a version for each target"

_RULES: tuple[tuple[shapes.Matches, Difference], ...] = (
    (
        lambda node, name: isinstance(node, exp.Avg) and kind_of(node.this) in ("decimal", ""),
        Difference(
            "an average of decimals", _DOUBLE, "a decimal with four more digits, rounded",
            _ROUNDED, "Use the macro `ratio('sum(x)', 'count(x)')` and cast it to a decimal, or "
            "average a double.",
        ),
    ),
    (
        shapes.average("integer"),
        Difference(
            "an average of integers", _DOUBLE, _DOUBLE, _ROUNDED,
            "Use the macro `ratio('sum(x)', 'count(x)')` and cast it to a decimal, or average "
            "a double.",
        ),
    ),
    (
        shapes.quotient,
        Difference(
            "a quotient of decimals", _DOUBLE, "a decimal that is rounded at six digits or more",
            "a decimal with six more digits, rounded", f"{_RATIO}, or divide doubles.",
        ),
    ),
    (
        shapes.quotient_of_integers,
        Difference(
            "a quotient of integers", _DOUBLE, _DOUBLE, _ROUNDED,
            f"{_RATIO}, or divide doubles.",
        ),
    ),
    (
        shapes.by_zero,
        Difference(
            "a division by a value that may be 0", "null or infinity", "an error", "an error",
            f"{_RATIO}, or divide by `nullif(..., 0)`.",
        ),
    ),
    (
        lambda node, name: name == "concat" and shapes.may_be_null(node, name),
        Difference(
            "`concat` of values that may be null", "the other values", "null", "null",
            "Use `||` or `dbt.concat([...])`, with `coalesce(..., '')` to skip nulls.",
        ),
    ),
    (
        lambda node, name: name == "concat_ws" and shapes.may_be_null(node, name),
        Difference(
            "`concat_ws` of values that may be null", "the other values", "the other values",
            "null",
            "Use `||` with `coalesce(..., '')`.",
        ),
    ),
    (
        shapes.greatest_with_null,
        Difference(
            "`greatest` or `least` of values that may be null", "the other values",
            "the other values", "null", "Use the macros `larger_of(a, b)` or `smaller_of(a, b)`, "
            "or write what null means: `coalesce(greatest(a, b), a, b)`.",
        ),
    ),
    (
        shapes.subtraction_of("date"),
        Difference(
            "a date minus a date", "a number of days", "an interval", "a number of days",
            "Use the macro `days_between(first, last)`.",
        ),
    ),
    (
        shapes.subtraction_of("timestamp"),
        Difference(
            "a timestamp minus a timestamp", "an interval",
            "an interval",
            "an error",
            "Use the macro `seconds_between(first, last)`, or `dbt.datediff(first, last, part)`.",
        ),
    ),
    (
        shapes.date_with("interval"),
        Difference(
            "a date and an interval", "a timestamp", "a date", "a date",
            "Use the macro `add_days(date, days)`, or cast `dbt.dateadd(part, number, date)`.",
        ),
    ),
    (
        lambda node, name: name in ("dayofweek", "weekday")
        or shapes.part("dow", "dayofweek", "weekday")(node, name),
        Difference(
            "a day of the week", "0 for Sunday", "1 for Sunday (`weekday`: 0 for Monday)",
            "0 for Sunday, unless the account begins weeks on another day",
            "Use the macro `day_of_week(date)`: 1 for Monday to 7 for Sunday.",
        ),
    ),
    (
        shapes.named("dayname", "monthname"),
        Difference(
            "a name of a day or month", "the whole name", "three letters", "three letters",
            "Use `case` on the number, or a table of names.",
        ),
    ),
    (
        shapes.part("second", "seconds"),
        Difference(
            "seconds of a time", "whole seconds", "seconds with their fraction", "whole seconds",
            "Use `floor(extract(second from ...))`.",
        ),
    ),
    (
        shapes.round_of_double,
        Difference(
            "a rounded double", "rounds its binary value", "rounds its decimal text",
            "rounds its binary value", "Cast to a decimal with the macro `ratio` and round that.",
        ),
    ),
    (
        shapes.cast_of_double_to_decimal,
        Difference(
            "a double cast to a decimal", "rounds its binary value", "rounds its decimal text",
            "rounds its binary value", "Compute with decimals, or use the macro `ratio`, which "
            "settles the halves.",
        ),
    ),
    (
        shapes.cast(("double", "decimal"), "integer"),
        Difference(
            "a fraction cast to an integer", "rounds", "truncates", "rounds",
            "Write which you mean: `cast(round(x) as ...)` or `cast(floor(x) as ...)`.",
        ),
    ),
    (
        shapes.cast(("double",), "text"),
        Difference(
            "a double cast to text", "1e+16", "1.0E16", "1e16",
            "Cast to a decimal first.",
        ),
    ),
    (
        shapes.cast(("timestamp",), "text"),
        Difference(
            "a timestamp cast to text", "with the offset of an instant", "without it",
            "with three digits of the second and the offset", f"{_PER_TARGET}.",
        ),
    ),
    (
        shapes.start_below_one,
        Difference(
            "`substring` from a position below 1", "counts the positions before the first",
            "counts 0 as 1", "counts 0 as 1", "Begin at 1, or use `right(text, n)`.",
        ),
    ),
    (
        shapes.negative_count,
        Difference(
            "`left` or `right` with a negative number", "all characters but that many",
            "empty text", "empty text", "Use `substring` with `length`.",
        ),
    ),
    (
        shapes.split_at_pattern,
        Difference(
            "`split`", "at a text", "at a regular expression", "at a text",
            "Use `dbt.split_part(text, delimiter, part)`.",
        ),
    ),
    (
        shapes.named("regexp_replace", "regexp_extract", "regexp_extract_all", "regexp_substr",
               "regexp_count", "regexp_instr"),
        Difference(
            "a regular expression", "RE2; `regexp_replace` replaces the first",
            "Java's; `regexp_replace` replaces all", "POSIX; `regexp_replace` replaces all",
            f"Use `replace`, `like` or `split_part`. {_PER_TARGET} otherwise.",
        ),
    ),
    (
        shapes.field_of_struct,
        Difference(
            "a field of a struct behind a dot", "the field", "the field", "an error",
            "Use the macro `nested_field(struct, path, data_type)`.",
        ),
    ),
    (
        shapes.cast_of_struct,
        Difference(
            "a cast of a struct", "takes fields by name", "takes fields by position", "an error",
            "Use the macro `struct_of(fields, data_type)`, or leave the cast out.",
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
        shapes.distinct_columns,
        Difference(
            "`count(distinct ...)` of several columns", "counts rows with a null",
            "skips rows with a null", "skips rows with a null",
            "Count a subquery with `select distinct`.",
        ),
    ),
    (
        shapes.one_argument,
        Difference(
            "`log` of one argument", "base 10", "base e", "an error",
            "Use `ln(x)` or `log(10, x)`.",
        ),
    ),
    (
        shapes.trim_of_characters,
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
            "Use `dbt.listagg(measure, delimiter)`, or filter out nulls first.",
        ),
    ),
    (
        shapes.interpolates,
        Difference(
            "a median or percentile of decimals", "a decimal",
            _DOUBLE, "a decimal that is rounded", "Cast the values to double, and the result to "
            "a decimal.",
        ),
    ),
    (
        shapes.named(
            "approx_count_distinct", "approx_quantile", "approx_percentile", "hash", "mode"
        ),
        Difference(
            "an approximation, a hash or a tie", "its own value", "another", "another",
            "Use an exact function, or `dbt.hash(text)`.",
        ),
    ),
    (
        shapes.call_of(2, "lpad", "rpad"),
        Difference(
            "`lpad` or `rpad` without the text to pad with", "an error", "spaces", "spaces",
            "Name the text: `lpad(text, n, ' ')`.",
        ),
    ),
    (
        shapes.call_of(2, "datediff", "date_diff"),
        Difference(
            "`datediff` of two arguments", "an error", "days, the later date first", "an error",
            "Use the macro `days_between(first, last)`.",
        ),
    ),
    (
        shapes.named("to_timestamp"),
        Difference(
            "`to_timestamp`", "takes seconds since 1970", "takes a text", "takes either",
            "Use `cast(text as timestamp)`.",
        ),
    ),
    (
        shapes.interpolates_integers,
        Difference(
            "a median or percentile of integers", _DOUBLE, _DOUBLE, "a decimal that is rounded",
            "Cast the values to double, and the result to a decimal.",
        ),
    ),
    (
        shapes.membership_as_value,
        Difference(
            "`in (select ...)` as a value", "null if a null decides", "false if a null decides",
            "null if a null decides", "Use `exists (...)`, or a join.",
        ),
    ),
    (
        shapes.named("trunc", "truncate"),
        Difference(
            "`trunc`", "truncates a number", "truncates a date", "truncates either",
            "Use `floor(...)` and the sign, or `dbt.date_trunc(part, date)`.",
        ),
    ),
    (
        shapes.part("isodow", "epoch", "dayofweek_iso", "dayofweekiso", "epoch_second", "isoyear"),
        Difference(
            "a part of a date", "knows `isodow` and `epoch`", "knows `dayofweek_iso`",
            "knows `dayofweekiso` and `epoch_second`",
            "Use the macros `day_of_week(date)` or `seconds_between(first, last)`.",
        ),
    ),
    (
        shapes.backslash,
        Difference(
            "a backslash in a text", "a backslash", "begins an escape", "begins an escape",
            f"Use a text without it. {_PER_TARGET} otherwise.",
        ),
    ),
    (
        shapes.caret,
        Difference(
            "`^`", "a power", "exclusive or of bits", "not an operator", "Use `power(x, y)`.",
        ),
    ),
)  # fmt: skip
