"""Whether Spark can be tried on this machine."""

from __future__ import annotations

import os

import pytest

from meshhouse.errors import UsageError


def _missing() -> str:
    """Why it cannot, if it cannot."""
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
    raise RuntimeError(MISSING)  # where tests must be whole, to leave some out is to fail
needs_spark = pytest.mark.skipif(bool(MISSING), reason=MISSING or "Spark is here")
