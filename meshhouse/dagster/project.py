"""The Dagster project of a mesh: what its owner decides, and the definitions made of it.

Belongs here: which decisions there are beside those about steps (settings.py), putting assets,
sensors and schedules together, and finding the owner's project. Not here: the decisions, which are
in `orchestration/` of the mesh.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import dagster as dg

from meshhouse.dagster.jobs import WHOLE_MESH, Job, mesh_jobs
from meshhouse.dagster.mesh import mesh_assets, run_assets
from meshhouse.dagster.origin import MODULE
from meshhouse.dagster.reporter import Reporter
from meshhouse.dagster.settings import Settings
from meshhouse.errors import UsageError
from meshhouse.repository import ROOT_DOMAIN, Repository


@dataclass(frozen=True)
class Project:
    """What the owner of a mesh decides about Dagster."""

    steps: Settings
    executor: dg.ExecutorDefinition
    sensors: Callable[[Repository, Sequence[str] | None], Sequence[dg.SensorDefinition]]
    """The sensors of some domains; of all for None."""
    schedules: Callable[[Repository, Mapping[str, Job]], Sequence[dg.ScheduleDefinition]]
    """The schedules of the mesh, which start jobs by name, with those of `upkeep`."""
    upkeep: Callable[[Repository], Sequence[dg.ScheduleDefinition]]
    """The schedules of maintenance."""
    alerts: Callable[[Repository], Sequence[dg.SensorDefinition]]

    def definitions(
        self, repository: Repository, domains: Sequence[str] | None = None
    ) -> dg.Definitions:
        """Everything of these domains; None for the whole mesh.

        A broken domain is one asset that says what is wrong with it. Some domains alone are what a
        run needs, or one code location of several. Maintenance and alerts then come with the root
        domain.
        """
        assets = mesh_assets(repository, self.steps, domains)
        jobs = mesh_jobs(assets)
        of_the_mesh = domains is None or ROOT_DOMAIN in domains
        if domains is None:
            starts = self.schedules(repository, jobs)
        else:
            del jobs[WHOLE_MESH]
            starts = self.upkeep(repository) if of_the_mesh else []
        alerts = self.alerts(repository) if of_the_mesh else []
        return dg.Definitions(
            assets=assets,
            jobs=list(jobs.values()),
            sensors=[*self.sensors(repository, domains), *alerts],
            schedules=list(starts),
            executor=self.executor,
        )

    def run_definitions(
        self,
        repository: Repository,
        domains: list[str],
        reporter: Reporter,
        executor: dg.ExecutorDefinition | None = None,
    ) -> dg.Definitions:
        """What `mesh run` executes: the assets of these domains. It does not wait for pools.

        Args:
            repository: the mesh.
            domains: names of domains.
            reporter: receives what happens.
            executor: another one than the owner's.

        Raises:
            MeshError: a domain's dbt project does not parse.
        """
        return dg.Definitions(
            assets=run_assets(repository, domains, self.steps, reporter),
            executor=executor or self.executor,
        )


class Runs(Protocol):
    """What `mesh run` needs of the module `orchestration.definitions`."""

    def run_definitions(
        self,
        repository: Repository,
        domains: list[str],
        reporter: Reporter,
        executor: dg.ExecutorDefinition | None = None,
    ) -> dg.Definitions:
        """See `Project.run_definitions`."""
        ...


def project_of(repository: Repository) -> Runs:
    """The module `orchestration.definitions` of a mesh.

    Dagster's own commands look for it in the working directory; `mesh` works in any folder.

    Raises:
        UsageError: the mesh has none.
    """
    root = str(repository.root)
    if root not in sys.path:
        sys.path.insert(0, root)
    try:
        return cast(Runs, importlib.import_module(MODULE))
    except ModuleNotFoundError as error:
        if error.name is None or not f"{MODULE}.".startswith(f"{error.name}."):
            raise
        raise UsageError(
            f"{repository.root} has no {MODULE.replace('.', '/')}.py, the mesh's Dagster project. "
            "Restore it, or copy the folder `orchestration` of a mesh that `mesh init` wrote."
        ) from error
