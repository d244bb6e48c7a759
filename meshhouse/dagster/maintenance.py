"""Maintenance of the lake's tables as a job of Dagster.

Belongs here: the job. Not here: what maintenance does (meshhouse/maintenance/), or when the job
starts (orchestration/schedules.py).
"""

from datetime import UTC, datetime, timedelta

import dagster as dg

from meshhouse.engines import engine as engine_of
from meshhouse.engines import lake_of
from meshhouse.governance.policies import notice_days
from meshhouse.repository import Repository


def maintenance_job(repository: Repository) -> dg.JobDefinition:
    """The job that maintains every table. It fails on a target that keeps its own tables."""

    @dg.op(name="maintain_tables")
    def maintain_tables(context: dg.OpExecutionContext) -> None:
        # Loads pyiceberg, which takes 0.5 s: not in each code location.
        from meshhouse.maintenance import maintain
        from meshhouse.usage import store_of

        before = datetime.now(UTC) - timedelta(days=notice_days(repository))
        lake = lake_of(engine_of(repository))
        for done in maintain(lake, say=context.log.info, retired_before=before):
            context.log.info(
                f"{done.relation}: {done.files_before} files became {done.files_after}, "
                f"{done.snapshots_expired} snapshots expired, "
                f"{done.orphans_removed} orphans removed"
            )
        store_of(repository).fold()

    @dg.job(name="maintenance", description="Compacts tables, expires snapshots, removes orphans.")
    def maintenance() -> None:
        maintain_tables()

    return maintenance
