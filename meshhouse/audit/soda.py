"""Soda, loaded without its telemetry and without data sources.

Belongs here: importing Soda. Not here: what is done with it (verify.py).

The import takes 0.4 s of CPU. So this module is imported where a candidate is audited, and in the
server from which the processes of a run are forked.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any

_DATA_SOURCES = "soda.plugins.data_source."


@contextmanager
def _without_data_sources() -> Iterator[None]:
    """Hides installed data sources from Soda, which would import all of them, with their drivers.

    Those of Snowflake and Spark take 0.7 s of CPU in a run on DuckDB. Each engine imports its data
    source where it makes one. Other plugins, such as Soda's own kinds of checks, stay.
    """
    every = metadata.entry_points

    def others(**wanted: Any) -> Any:
        found = every(**wanted)
        if wanted:
            return found
        return metadata.EntryPoints(
            each
            for group in found.groups
            if not group.startswith(_DATA_SOURCES)
            for each in found.select(group=group)
        )

    metadata.entry_points = others
    try:
        yield
    finally:
        metadata.entry_points = every


# Set before the import: Soda starts its telemetry while it is imported.
os.environ.setdefault("SODA_CORE_TELEMETRY_ENABLED", "false")
with warnings.catch_warnings(), _without_data_sources():
    warnings.simplefilter("ignore")  # connectors warn about versions
    from soda_core.common.yaml import ContractYamlSource
    from soda_core.contracts.contract_verification import ContractVerificationSession

__all__ = ["ContractVerificationSession", "ContractYamlSource"]
