"""What starts by the clock. All of it is off until it is switched on in Dagster's page.

Belongs here: cron expressions and the jobs that they start. Not here: what a job does
(meshhouse/dagster/).
"""

from __future__ import annotations

import dagster as dg

from meshhouse.dagster.maintenance import maintenance_job
from meshhouse.engines import engine
from meshhouse.repository import Repository

EVERY_NIGHT = "0 4 * * *"


def schedules(repository: Repository) -> list[dg.ScheduleDefinition]:
    """The schedules of the mesh. A target that keeps its own tables maintains them itself."""
    if engine(repository).lake is None:
        return []
    return [
        dg.ScheduleDefinition(
            name="maintenance_every_night",
            job=maintenance_job(repository),
            cron_schedule=EVERY_NIGHT,
        )
    ]
