"""Jobs: one for each domain, and one for the whole mesh.

Belongs here: what each job selects. Not here: when a job starts (orchestration/schedules.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition as Job,
)

__all__ = ["WHOLE_MESH", "Job", "domain_job", "mesh_jobs"]

WHOLE_MESH = "whole_mesh"
"""The job that runs every domain."""


def domain_job(group: str) -> str:
    """The name of a domain's job; the step that builds a domain already has the domain's name."""
    return f"run_{group}"


def mesh_jobs(assets: Sequence[dg.AssetsDefinition]) -> dict[str, Job]:
    """Name -> job.

    Args:
        assets: those of all domains; a broken domain's job fails with what is wrong with it.
    """
    groups = sorted({name for each in assets for name in each.group_names_by_key.values()})
    jobs = {
        domain_job(group): dg.define_asset_job(
            domain_job(group),
            selection=dg.AssetSelection.groups(group),
            description=f"Lands, builds, audits and publishes everything of the domain {group}.",
        )
        for group in groups
    }
    jobs[WHOLE_MESH] = dg.define_asset_job(
        WHOLE_MESH,
        selection=dg.AssetSelection.groups(*groups),
        description="Lands, builds, audits and publishes every domain, as `mesh run` does.",
    )
    return jobs
