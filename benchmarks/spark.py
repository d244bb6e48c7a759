"""The time of publication on Spark for ten times the rows: `python -m benchmarks.spark`.

Publication is zero-copy: it registers the files that Spark built, so its time must not grow
with the number of rows.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from meshhouse.engines.builds import work_lake
from meshhouse.engines.spark.engine import SparkEngine, session_of, session_settings
from meshhouse.repository import Repository

ROWS = int(os.environ.get("MESH_BENCH_ROWS", "500000"))
ROUNDS = int(os.environ.get("MESH_BENCH_ROUNDS", "25"))
PRODUCT = "sales.orders"


def publication_seconds() -> dict[int, list[float]]:
    """Rows -> seconds of each round, from a built table to its publication."""
    found: dict[int, list[float]] = {ROWS: [], 10 * ROWS: []}
    root = Repository.find().root
    with tempfile.TemporaryDirectory() as home:
        os.environ["MESH_HOME"] = home
        repository = Repository(root)
        engine = SparkEngine(repository)
        product = next(
            each for each in repository.domain("sales").products if each.relation == PRODUCT
        )
        work = work_lake(repository.home, "sales")
        work.register_external({}, own="sales_build")
        spark = session_of(Path(home))
        for name, value in session_settings(work).items():
            spark.conf.set(name, value)
        spark.sql("create schema if not exists sales_build")
        for number in range(ROUNDS + 1):
            # Alternate the order: pending disk writes of the round before slow the first one.
            for rows in sorted(found, reverse=bool(number % 2)):
                spark.sql(
                    f"create or replace table sales_build.{product.build_name} using iceberg as "
                    "select id as basket_id, id % 2500 as household_id, "
                    f"cast(id % 1000 as decimal(12, 2)) as sales_value from range({rows})"
                )
                started = time.perf_counter()
                candidate = engine.stage(product)
                engine.lake.commit([candidate.staged])
                found[rows].append(time.perf_counter() - started)
                assert candidate.rows == rows
        spark.stop()
    return {rows: seconds[1:] for rows, seconds in found.items()}  # round 0 imports


def main() -> None:
    """Measures and prints the table "Publication on Spark" of benchmarks/README.md."""
    small, large = (median(each) for each in publication_seconds().values())
    table = Table(title="Meshhouse, target spark", title_justify="left")
    for column in ("what", "measured", "beside", "ratio", "aim"):
        table.add_column(column)
    table.add_row(
        f"publication of {10 * ROWS:,} rows",
        f"{large * 1000:.0f} ms",
        f"of {ROWS:,} rows: {small * 1000:.0f} ms",
        f"{large / small:.2f}",
        "at most 1.2",
    )
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
