"""Whether Spark can run on this machine."""

from __future__ import annotations

import os

import pytest

from meshhouse.errors import UsageError


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
