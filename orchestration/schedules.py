"""What starts by the clock. All of it is off until it is switched on in Dagster's page.

Belongs here: cron expressions and the jobs that they start. Not here: what a job does
(meshhouse/dagster/).
"""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from meshhouse.dagster.jobs import WHOLE_MESH, Job
from meshhouse.dagster.maintenance import maintenance_job
from meshhouse.dagster.sinks import has_sinks, sinks_job
from meshhouse.engines import engine
from meshhouse.repository import Repository

EVERY_NIGHT = "0 4 * * *"
EVERY_HOUR = "0 * * * *"
EVERY_FIVE_MINUTES = "*/5 * * * *"


def schedules(repository: Repository, jobs: Mapping[str, Job]) -> list[dg.ScheduleDefinition]:
    """The schedules of the mesh.

    Args:
        repository: the mesh.
        jobs: name -> job: `whole_mesh`, and `run_sales` for a domain `sales`.
    """
    return [
        # For one domain: `job=jobs[domain_job("sales")]`, and another name.
        dg.ScheduleDefinition(
            name="whole_mesh_every_hour", job=jobs[WHOLE_MESH], cron_schedule=EVERY_HOUR
        ),
        *upkeep(repository),
    ]


def upkeep(repository: Repository) -> list[dg.ScheduleDefinition]:
    """Maintenance of tables, and deliveries to sinks.

    A target that keeps its own tables maintains them itself.
    """
    if engine(repository).lake is None:
        return []
    deliveries = [
        dg.ScheduleDefinition(
            name="sinks_every_five_minutes",
            job=sinks_job(repository),
            cron_schedule=EVERY_FIVE_MINUTES,
        )
    ]
    return [
        *(deliveries if has_sinks(repository) else ()),
        dg.ScheduleDefinition(
            name="maintenance_every_night",
            job=maintenance_job(repository),
            cron_schedule=EVERY_NIGHT,
        ),
    ]
