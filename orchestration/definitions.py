"""The code location: everything that Dagster shows of the mesh.

Belongs here: which decisions make the project; your own assets, jobs and resources. Not here: the
decisions (steps.py, sensors.py, schedules.py, alerts.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from meshhouse.dagster.process import domain_location, whole_location
from meshhouse.dagster.project import Project
from meshhouse.repository import Repository
from orchestration.alerts import alerts
from orchestration.schedules import schedules, upkeep
from orchestration.sensors import sensors
from orchestration.steps import EXECUTOR, STEPS

PROJECT = Project(
    steps=STEPS,
    executor=EXECUTOR,
    sensors=sensors,
    schedules=schedules,
    upkeep=upkeep,
    alerts=alerts,
)
run_definitions = PROJECT.run_definitions  # what `mesh run` executes


def definitions(repository: Repository, domains: Sequence[str] | None = None) -> dg.Definitions:
    """Everything of these domains; None for the whole mesh.

    To add your own, return `dg.Definitions.merge(..., dg.Definitions(assets=[...]))`.
    """
    return PROJECT.definitions(repository, domains)


@dg.definitions
def defs() -> dg.Definitions:
    """What `dagster dev` loads."""
    return whole_location(definitions)


def __getattr__(name: str) -> object:
    """`location_<domain>`: a code location of one domain, for `mesh dev --locations`."""
    return domain_location(name, definitions)
