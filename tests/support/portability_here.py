"""Runs expressions on DuckDB and Spark, and compares with the findings of `mesh check`.

`python -m tests.support.portability_here` writes the observed results to portability.tsv; it needs
Java.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from meshhouse.lint.sql.dialects import every_dialect
from meshhouse.lint.sql.rendering import Rendered
from meshhouse.lint.sql.targets import Places, differing, judge
from tests.support.spark_here import SPARKS_COMPILER

FILE = Path(__file__).parent.parent / "lint" / "sql" / "portability.tsv"
COLUMNS = {
    "k": "integer", "i": "integer", "b": "bigint", "n": "decimal(12,2)", "x": "double",
    "s": "string", "u": "string", "j": "string", "d": "date", "ts": "timestamp",
    "tz": "timestamptz", "ok": "boolean",
}  # fmt: skip
ROWS = (
    "(1, 1, 7, '1.50', '2.5', 'abc', 'é', '{{\"a\": 1}}', '2024-02-29', "
    "'2024-02-29 10:11:12.5', true)",
    "(2, -2, -7, '-0.25', '-2.5', 'x', 'ñandú', '{{\"a\": 2}}', '2023-12-31', "
    "'2023-12-31 23:59:59', false)",
    "(3, null, 3, null, null, null, null, null, null, null, null)",
    "(4, 5, 3, '2.50', '1.005', 'Abcb', '漢字', '{{}}', '2024-01-01', '2024-01-01 00:00:00', true)",
    "(5, 3, 1, '1.05', '1e17', ' aba ', 'a', '{{\"a\": 5}}', '2024-07-07', "
    "'2024-07-07 12:30:01.25', false)",
    "(6, 0, 0, '0.00', '0', 'abc', 'b', '{{}}', '2024-07-08', '2024-07-08 06:00:00', true)",
    "(7, 4, 9, '0.11', '1.45', 'a_c', 'c', '{{}}', '2025-01-01', '2025-01-01 00:00:01', true)",
    "(8, 6, 8, '7.77', '0.3', 'abc', 'd', '{{}}', '2024-12-30', '2024-12-30 18:00:00', true)",
    "(9, 1, 2, null, '0.7', 'b', 'e', '{{}}', '2024-03-01', '2024-03-01 09:00:00', null)",
)
"""Values with halves, zeros, nulls and signs; few sums are multiples of the number of rows."""


@dataclass(frozen=True)
class Case:
    """An expression over the columns of `t`, and its observed results."""

    expression: str
    observed: str
    """`same`, `differs`, or the engines on which it fails, such as `fails on spark`."""
    snowflake: str
    """If DuckDB and Spark agree and it is still reported: Snowflake's result."""


def cases() -> list[Case]:
    """Reads portability.tsv."""
    lines = FILE.read_text().splitlines()
    return [Case(*line.split("\t")) for line in lines if line and not line.startswith("#")]


def failing(listed: Iterable[Case]) -> set[str]:
    """Expressions that have failed on Spark."""
    return {each.expression for each in listed if "spark" in each.observed}


def table(target: str) -> str:
    """A `with` clause that makes `t` on a target."""
    instant = "timestamp_ltz" if target == "spark" else "timestamptz"
    words = {"string": "string", "timestamptz": instant}
    made = ", ".join(
        f"cast({'ts' if name == 'tz' else name} as {words.get(kind, kind)}) as {name}"
        for name, kind in COLUMNS.items()
    )
    names = ", ".join(name for name in COLUMNS if name != "tz")
    rows = ", ".join(row.format() for row in ROWS)
    return f"with t as (select {made} from (values {rows}) as v({names}))"


def is_row(expression: str) -> bool:
    """Whether an expression gives one value per row, rather than one for all rows."""
    from sqlglot import exp, parse_one
    from sqlglot.errors import SqlglotError

    try:
        tree = parse_one(f"select {expression}", dialect="duckdb")
    except SqlglotError:
        return True
    names = ("bool_and", "bool_or", "median", "mode", "count_if")
    return not any(
        isinstance(node, exp.AggFunc) and not node.find_ancestor(exp.Window, exp.Subquery)
        for node in tree.find_all(exp.AggFunc)
    ) and not expression.startswith(names)


def on_duckdb(expressions: Iterable[str]) -> dict[str, Any]:
    """Expression -> its values, or the text of an error."""
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'; set autoinstall_known_extensions = false")
        connection.execute("set default_null_order = 'nulls_first_on_asc_last_on_desc'")
        connection.execute(f"create table t as {table('local')} from t")
        found: dict[str, Any] = {}
        for each in expressions:
            try:
                rows = connection.execute(f"select {each} as v from t").fetchall()
                found[each] = sorted((_plain(row[0]) for row in rows), key=repr)
            except duckdb.Error as error:
                found[each] = f"fails: {str(error).splitlines()[0]}"
    return found


def on_spark(
    spark: Any, expressions: Iterable[str], failing: Collection[str] = ()
) -> dict[str, Any]:
    """Like `on_duckdb`, in Spark, with the settings with which dbt builds.

    Args:
        spark: a session.
        expressions: the expressions to evaluate, many in one query.
        failing: expressions that probably fail. Each is evaluated in a separate query: if a query
            with many expressions fails, it is repeated in halves.
    """
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    from meshhouse.engines.spark.dbt import OF_EVERY_SESSION

    own = spark.newSession()
    for name, value in {**SPARKS_COMPILER, **OF_EVERY_SESSION}.items():
        own.conf.set(name, value)
    own.sql(f"{table('spark')} select * from t").coalesce(1).cache().createOrReplaceTempView("t")

    def values(several: list[str]) -> dict[str, Any]:
        listed = ", ".join(f"{each} as v{n}" for n, each in enumerate(several))
        rows = own.sql(f"select {listed} from t").collect()
        return {
            each: sorted((_plain(row[n]) for row in rows), key=repr)
            for n, each in enumerate(several)
        }

    found: dict[str, Any] = {}

    def run(several: list[str]) -> None:
        """Runs expressions in one query; if it fails, runs each half separately."""
        try:
            found.update(values(several))
        except (PySparkException, Py4JError) as error:
            if len(several) == 1:
                found[several[0]] = f"fails: {str(error).splitlines()[0]}"
            else:
                for each in (several[: len(several) // 2], several[len(several) // 2 :]):
                    run(each)

    listed = list(expressions)
    alone = [[each] for each in listed if each in failing]
    rows = [each for each in listed if each not in failing and is_row(each)]
    others = [each for each in listed if each not in failing and not is_row(each)]
    for several in (*alone, *batched(rows), *batched(others)):
        run(several)
    return found


def batched(listed: list[str]) -> list[list[str]]:
    return [listed[start : start + 32] for start in range(0, len(listed), 32)]


def _plain(value: Any) -> Any:
    """A value in a form that is the same for all engines; numbers lose their type."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, float):
        # The last digits of a double depend on the order of its operations.
        return _plain(Decimal(f"{value:.12g}")) if math.isfinite(value) else repr(value)
    if isinstance(value, int | Decimal):
        return f"{Decimal(value).normalize():f}"
    if isinstance(value, datetime):
        return f"time {value.replace(tzinfo=None)}"
    if isinstance(value, date | timedelta):
        return f"{type(value).__name__} {value}"
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def observed(local: Any, spark: Any) -> str:
    """The comparison of two engines' results, in a word."""
    failing = [name for name, found in (("duckdb", local), ("spark", spark)) if _fails(found)]
    if failing:
        return f"fails on {' and '.join(failing)}"
    return "same" if local == spark else "differs"


def _fails(found: Any) -> bool:
    return isinstance(found, str) and found.startswith("fails")


def reported(sql: str, known: Mapping[str, Mapping[str, str]]) -> list[str]:
    """The findings of `mesh check --target all` for a model.

    Args:
        sql: the model's SQL.
        known: table -> its columns with their types.
    """
    rendered = Rendered(Path(__file__), sql, {})
    places: Places = defaultdict(set)
    found = [
        finding.problem
        for each in every_dialect()
        for finding in judge(rendered, each, dict(known), places)
    ]
    return [*found, *(finding.problem for finding in differing(places))]


def main() -> None:
    """Runs every listed expression and writes the observed results."""
    from meshhouse.engines.spark.session import session

    listed = cases()
    expressions = [each.expression for each in listed]
    local, spark = on_duckdb(expressions), on_spark(session(), expressions, failing(listed))
    head = [line for line in FILE.read_text().splitlines() if line.startswith("#")]
    lines = [
        f"{each.expression}\t{observed(local[each.expression], spark[each.expression])}"
        f"\t{each.snowflake}"
        for each in listed
    ]
    for each in listed:
        made = local[each.expression], spark[each.expression]
        if observed(*made) != each.observed:
            print(each.expression, observed(*made), *made, sep="\n    ")
    FILE.write_text("\n".join([*head, *lines]) + "\n")


if __name__ == "__main__":
    main()
