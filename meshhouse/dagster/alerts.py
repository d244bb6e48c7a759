"""Sensors that alert people: a run failed, or a product is later than it promises.

Belongs here: what is worth an alert, once for each. Not here: delivery (delivery.py), or how often
a sensor looks (orchestration/alerts.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime

import dagster as dg

from meshhouse.dagster.delivery import Alert, Undelivered, deliver
from meshhouse.engines import engine as engine_of
from meshhouse.repository import Repository
from meshhouse.runs.status import ProductStatus, age, product_statuses

_SHOWN = 1_000
"""Characters of one failure; the page has all of them."""


def failure_sensor(name: str) -> dg.SensorDefinition:
    """Alerts after each failed run, also of `mesh run` and in every code location."""

    @dg.run_failure_sensor(
        name=name,
        monitor_all_code_locations=True,
        description="Alerts by webhook and e-mail after each failed run.",
    )
    def a_run_failed(context: dg.RunFailureSensorContext) -> None:
        deliver(failed_run(context.dagster_run, context.failure_event, _failures(context)))

    return a_run_failed


def late_sensor(repository: Repository, name: str, every_seconds: int) -> dg.SensorDefinition:
    """Alerts once for each product that is older than it promises, until it is refreshed.

    Args:
        repository: the mesh.
        name: of the sensor.
        every_seconds: how often it looks, at most.
    """

    @dg.sensor(
        name=name,
        minimum_interval_seconds=every_seconds,
        description="Alerts by webhook and e-mail when a product is older than it promises.",
    )
    def a_product_is_late(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        if repository.environment:
            return dg.SkipReason("Products of an environment promise nothing.")
        engine = engine_of(repository)
        now = datetime.now(UTC)
        statuses = product_statuses(repository, engine.ledger, engine.lake)
        late = {
            each.product.relation: each
            for each in statuses
            if each.state == "declared" and each.freshness(now) == "late"
        }
        since = {relation: str(each.refreshed_at) for relation, each in late.items()}
        known: dict[str, str] = json.loads(context.cursor or "{}")
        new = [each for relation, each in late.items() if known.get(relation) != since[relation]]
        if new:
            try:
                deliver(late_products(new, now))
            except Undelivered as error:
                if not error.others_did:  # the cursor stays, so the next look repeats it
                    raise
                context.log.error(str(error))
        context.update_cursor(json.dumps(since))
        return dg.SkipReason(f"{len(late)} late, {len(new)} of them since the last look.")

    return a_product_is_late


def failed_run(run: dg.DagsterRun, event: dg.DagsterEvent, failures: Iterable[str]) -> Alert:
    """The alert after a failed run."""
    because = tuple(failures) or (event.message or "",)
    return Alert(
        "run_failed",
        f"Mesh: run {run.run_id[:8]} failed ({run.job_name})",
        tuple(each[:_SHOWN] for each in because),
        {"run_id": run.run_id, "job": run.job_name, "failures": because},
        f"/runs/{run.run_id}",
    )


def late_products(late: Iterable[ProductStatus], now: datetime) -> Alert:
    """The alert about products that are late."""
    found = sorted(late, key=lambda each: each.product.relation)
    names = [each.product.relation for each in found]
    return Alert(
        "product_late",
        f"Mesh: {', '.join(names)} {'is' if len(names) == 1 else 'are'} late",
        tuple(
            f"{each.product.relation}: refreshed {age(each.refreshed_at, now)}, promised every "
            f"{each.promise.total_seconds() / 3600:g} hours"
            for each in found
        ),
        {"products": names},
        "/assets",
    )


def _failures(context: dg.RunFailureSensorContext) -> Iterable[str]:
    """What each failed step said; the run itself only says which steps failed."""
    for event in context.get_step_failure_events():
        data = event.step_failure_data
        told = data.user_failure_data.description if data.user_failure_data else None
        said = told or (data.error.message if data.error else "it gave no reason")
        yield f"{event.step_key}: {said}"
