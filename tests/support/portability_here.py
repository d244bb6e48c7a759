"""Runs expressions on DuckDB and Spark, and asks `mesh check` about them.

`python -m tests.support.portability_here` writes what was observed into portability.tsv again;
needs Java.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from meshhouse.lint.sql.dialects import every_dialect
from meshhouse.lint.sql.rendering import Rendered
from meshhouse.lint.sql.targets import Places, differing, judge

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
"""Halves, zeros, nulls, signs, and counts by which few sums divide."""


@dataclass(frozen=True)
class Case:
    """An expression over the columns of `t`, and what was observed."""

    expression: str
    observed: str
    """`same`, `differs`, or the engines on which it fails, such as `fails on spark`."""
    snowflake: str
    """Why it is reported though DuckDB and Spark agree: what Snowflake makes of it."""


def cases() -> list[Case]:
    """What portability.tsv holds."""
    lines = FILE.read_text().splitlines()
    return [Case(*line.split("\t")) for line in lines if line and not line.startswith("#")]


def table(target: str) -> str:
    """A `with` that makes `t` on a target."""
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
    """Whether it makes a value of each row, rather than one of all."""
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


def on_spark(spark: Any, expressions: Iterable[str]) -> dict[str, Any]:
    """Like `on_duckdb`; with the settings with which dbt builds."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    from meshhouse.engines.spark.dbt import OF_EVERY_SESSION

    own = spark.newSession()
    for name, value in OF_EVERY_SESSION.items():
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
        """Together, where none of them fails; a half at a time otherwise."""
        try:
            found.update(values(several))
        except (PySparkException, Py4JError) as error:
            if len(several) == 1:
                found[several[0]] = f"fails: {str(error).splitlines()[0]}"
            else:
                for each in (several[: len(several) // 2], several[len(several) // 2 :]):
                    run(each)

    listed = list(expressions)
    for kind in (True, False):
        chosen = [each for each in listed if is_row(each) is kind]
        for start in range(0, len(chosen), 32):
            run(chosen[start : start + 32])
    return found


def _plain(value: Any) -> Any:
    """A value as any engine's driver gives it: numbers by their size, not their type."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, float):
        # The last digits of a double depend on the order of its operations.
        return _plain(Decimal(f"{value:.12g}")) if math.isfinite(value) else repr(value)
    if isinstance(value, int | Decimal):
        return f"{Decimal(value).normalize():f}"
    if isinstance(value, datetime):
        return f"moment {value.replace(tzinfo=None)}"
    if isinstance(value, date | timedelta):
        return f"{type(value).__name__} {value}"
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def observed(local: Any, spark: Any) -> str:
    """What two engines made of an expression, in a word."""
    failing = [name for name, found in (("duckdb", local), ("spark", spark)) if _fails(found)]
    if failing:
        return f"fails on {' and '.join(failing)}"
    return "same" if local == spark else "differs"


def _fails(found: Any) -> bool:
    return isinstance(found, str) and found.startswith("fails")


def reported(sql: str, known: Mapping[str, Mapping[str, str]]) -> list[str]:
    """What `mesh check --target all` says of a model.

    Args:
        sql: the model's.
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
    """Observes everything that is listed, and writes it down."""
    from meshhouse.engines.spark.session import session

    listed = cases()
    expressions = [each.expression for each in listed]
    local, spark = on_duckdb(expressions), on_spark(session(), expressions)
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
