"""The code location: everything that Dagster shows of the mesh.

Belongs here: putting assets, sensors and schedules together; add your own assets, jobs and
resources in `definitions`. Not here: the values (steps.py, sensors.py, schedules.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from meshhouse.dagster.jobs import WHOLE_MESH, mesh_jobs
from meshhouse.dagster.mesh import mesh_assets, run_assets
from meshhouse.dagster.process import domain_location, whole_location
from meshhouse.dagster.reporter import Reporter
from meshhouse.repository import ROOT_DOMAIN, Repository
from orchestration.alerts import alerts
from orchestration.schedules import schedules, upkeep
from orchestration.sensors import sensors
from orchestration.steps import EXECUTOR, STEPS


def definitions(repository: Repository, domains: Sequence[str] | None = None) -> dg.Definitions:
    """Everything of these domains; None for the whole mesh.

    A broken domain is one asset that says what is wrong with it. Some domains alone are what a
    run needs, or one code location of several. Maintenance and alerts then come with the root
    domain.
    """
    assets = mesh_assets(repository, STEPS, domains)
    jobs = mesh_jobs(assets)
    if domains is None:
        starts = schedules(repository, jobs)
    else:
        del jobs[WHOLE_MESH]
        starts = upkeep(repository) if ROOT_DOMAIN in domains else []
    of_the_mesh = domains is None or ROOT_DOMAIN in domains
    return dg.Definitions(
        assets=assets,
        jobs=list(jobs.values()),
        sensors=[*sensors(repository, domains), *(alerts(repository) if of_the_mesh else [])],
        schedules=starts,
        executor=EXECUTOR,
    )


def run_definitions(
    repository: Repository,
    domains: list[str],
    reporter: Reporter,
    executor: dg.ExecutorDefinition = EXECUTOR,
) -> dg.Definitions:
    """What `mesh run` executes: the assets of these domains. It does not wait for pools.

    Raises:
        MeshError: a domain's dbt project does not parse.
    """
    return dg.Definitions(
        assets=run_assets(repository, domains, STEPS, reporter), executor=executor
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What `dagster dev` loads."""
    return whole_location(definitions)


def __getattr__(name: str) -> object:
    """`location_<domain>`: a code location of one domain, for `mesh dev --locations`."""
    return domain_location(name, definitions)
