"""What a step does for the tables that it changed, after its work is done.

Belongs here: calling maintenance from steps, without failing them. Not here: which tables are
shortened, and how (meshhouse/maintenance/short.py).
"""

from __future__ import annotations

from collections.abc import Collection

import dagster as dg

from meshhouse.engines import Engine
from meshhouse.errors import MeshError
from meshhouse.maintenance import keep_short


def shorten(context: dg.AssetExecutionContext, engine: Engine, relations: Collection[str]) -> None:
    """Keeps tables of the lake short; what goes wrong is a warning, as the step's work counts."""
    if engine.lake is None:
        return
    try:
        keep_short(engine.lake, relations)
    except (MeshError, OSError) as error:
        context.log.warning(f"Tables were not shortened; `mesh maintain` does it: {error}")
