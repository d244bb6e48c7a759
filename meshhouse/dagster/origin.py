"""Where Dagster's page finds what a run of `mesh run` executed.

Belongs here: the origin and the tags by which such a run belongs to the page's code location. Not
here: executing it (run.py).

Without an origin, Dagster can neither execute a run again nor show it in its timeline.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

import dagster as dg
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from meshhouse.ledger import user

MODULE = "orchestration.definitions"
"""What `mesh dev` loads; the page calls its code location so."""
STARTED_BY = "meshhouse/started_by"
"""Tag of a run: the command that started it."""
USER = "meshhouse/user"
"""Tag of a run that a command started: who gave the command."""


def started_tags() -> Mapping[str, str]:
    """The tags that say who started a run of `mesh run`."""
    return {STARTED_BY: "mesh run", USER: user()}


def job_origin(job: str) -> RemoteJobOrigin:
    """The origin of a job in the code location that `mesh dev` serves."""
    target = LoadableTargetOrigin(executable_path=sys.executable, module_name=MODULE)
    location = ManagedGrpcPythonEnvCodeLocationOrigin(target, MODULE)
    return RemoteJobOrigin(RemoteRepositoryOrigin(location, SINGLETON_REPOSITORY_NAME), job)


def give_origins(instance: dg.DagsterInstance) -> None:
    """Lets every run that this process creates on an instance belong to the code location.

    `execute_in_process` has no argument for an origin; the method that it calls has one.
    """
    create = instance.create_run_for_job

    def create_with_origin(job_def: dg.JobDefinition, **options: object) -> dg.DagsterRun:
        options.setdefault("remote_job_origin", job_origin(job_def.name))
        return create(job_def, **options)  # type: ignore[arg-type]

    instance.create_run_for_job = create_with_origin  # type: ignore[method-assign]
