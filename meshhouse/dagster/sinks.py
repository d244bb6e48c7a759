"""Deliveries to sinks as a job of Dagster.

Belongs here: the job. Not here: what a delivery is (meshhouse/sinks/), or when the job starts
(orchestration/schedules.py).
"""

import dagster as dg

from meshhouse.engines import engine as engine_of
from meshhouse.repository import Repository


def has_sinks(repository: Repository) -> bool:
    """Whether any product declares a sink."""
    return any(product.sinks for each in repository.readings for product in each.products)


def sinks_job(repository: Repository) -> dg.JobDefinition:
    """The job that delivers what sinks lack. It fails if a sink does, after all others."""

    @dg.op(name="deliver_publications")
    def deliver_publications(context: dg.OpExecutionContext) -> None:
        # Loads DuckDB and pyarrow, which take 0.5 s: not in each code location.
        from meshhouse.sinks import deliver

        fresh = Repository(repository.root)
        domains = [each for each in fresh.readings if not each.problems]
        outcomes = deliver(fresh, engine_of(fresh), domains, context.log.info)
        failed = [
            f"{each.product} was not delivered to {each.sink}: {each.problem}"
            for each in outcomes
            if not each.ok
        ]
        if failed:
            raise dg.Failure("\n".join(failed))

    @dg.job(name="sinks", description="Delivers to sinks what was published since.")
    def sinks() -> None:
        deliver_publications()

    return sinks
