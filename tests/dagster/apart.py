"""A code location whose steps run in separate processes, as an owner may choose."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from meshhouse.dagster.process import whole_location
from meshhouse.repository import Repository
from orchestration.definitions import definitions


def apart(repository: Repository, domains: Sequence[str] | None = None) -> dg.Definitions:
    return dg.Definitions(
        assets=definitions(repository, domains).assets, executor=dg.multiprocess_executor
    )


@dg.definitions
def defs() -> dg.Definitions:
    return whole_location(apart)
