"""The code location: everything that Dagster shows of the mesh.

Belongs here: putting assets, sensors and schedules together; add your own assets, jobs and
resources in `definitions`. Not here: the values (steps.py, sensors.py, schedules.py).
"""

from __future__ import annotations

import dagster as dg

from meshhouse.dagster.jobs import mesh_jobs
from meshhouse.dagster.mesh import mesh_assets, run_assets
from meshhouse.dagster.reporter import Reporter
from meshhouse.repository import Repository
from orchestration.schedules import schedules
from orchestration.sensors import sensors
from orchestration.steps import EXECUTOR, STEPS


def definitions(repository: Repository) -> dg.Definitions:
    """Everything. A broken domain is one asset that says what is wrong with it."""
    assets = mesh_assets(repository, STEPS)
    jobs = mesh_jobs(assets)
    return dg.Definitions(
        assets=assets,
        jobs=list(jobs.values()),
        sensors=sensors(repository),
        schedules=schedules(repository, jobs),
        executor=EXECUTOR,
    )


def run_definitions(
    repository: Repository, domains: list[str], reporter: Reporter
) -> dg.Definitions:
    """What `mesh run` executes: the assets of these domains.

    Raises:
        MeshError: a domain's dbt project does not parse.
    """
    return dg.Definitions(
        assets=run_assets(repository, domains, STEPS, reporter), executor=EXECUTOR
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What `dagster dev -m orchestration.definitions` loads."""
    return definitions(Repository.find())
