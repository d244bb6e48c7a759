"""Whether Spark can run on this machine, and settings for the small tables of tests.

Belongs here: what tests of Spark share. Not here: the session that they share (conftest.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from meshhouse.errors import UsageError

NO_COMPILER = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}
SPARKS_COMPILER = {
    "spark.sql.codegen.wholeStage": "true",
    "spark.sql.codegen.factoryMode": "FALLBACK",
}
"""Spark's defaults."""
_FEW_ROWS = {
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.shuffle.partitions": "1",
    "spark.default.parallelism": "1",
}
QUICK = ";".join(f"{name}={value}" for name, value in (NO_COMPILER | _FEW_ROWS).items())
"""Settings (`MESH_SPARK_CONF`) for tests about flows, whose tables have a few rows. Without code
that Spark writes and compiles for each query, Java takes 3.1 instead of 4.4 s of processor time to
build and publish two domains. Tests about values use `with_compiler`. The tests of the whole demo
and of the object store keep the product's settings."""


@contextmanager
def with_compiler(spark: Any) -> Iterator[None]:
    """Spark computes as users' sessions do inside the block, with code that it compiles."""
    for name, value in SPARKS_COMPILER.items():
        spark.conf.set(name, value)
    try:
        yield
    finally:
        for name, value in NO_COMPILER.items():
            spark.conf.set(name, value)


def _missing() -> str:
    """The reason why Spark cannot run; empty if it can."""
    try:
        import jgo  # noqa: F401
        import pyspark  # noqa: F401
    except ImportError as error:
        return f"{error.name} is not installed (extras spark and kafka)"
    from meshhouse.engines.spark.session import sparks_java

    try:
        sparks_java()
    except UsageError as error:
        return str(error)
    return ""


MISSING = _missing()
if MISSING and os.environ.get("MESH_TESTS_NEED_SPARK"):
    raise RuntimeError(MISSING)  # in CI, skipped tests must fail
needs_spark = pytest.mark.skipif(bool(MISSING), reason=MISSING or "Spark is here")
