"""Writes the names of the installed Spark's functions to meshhouse/lint/sql/lists/.

Run it after an update of pyspark: `.venv/bin/python .ci/spark_functions.py`. Needs Java.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from pyspark.sql import SparkSession

OPERATORS = {"and", "between", "case", "in", "not", "or", "when"}
FILE = Path(__file__).parents[1] / "meshhouse" / "lint" / "sql" / "lists" / "spark_functions.txt"


def main() -> None:
    """Lists the functions in a local Spark session, and replaces the file."""
    session = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    spark = session.getOrCreate()
    names = {row[0] for row in spark.sql("show functions").collect()} - OPERATORS
    words = sorted(name for name in names if re.fullmatch(r"\w+", name))
    FILE.write_text(
        f"# Functions of Apache Spark {spark.version}, as its SHOW FUNCTIONS lists them; written "
        "by .ci/spark_functions.py.\n" + textwrap.fill(" ".join(words), 100) + "\n"
    )
    spark.stop()


if __name__ == "__main__":
    main()
