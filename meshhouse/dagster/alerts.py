"""The sensor that looks for what is wrong or new, and sends it.

Belongs here: runs of Dagster that failed without a word in the ledger. Not here: everything else
that is worth a message, and its delivery (meshhouse/notices/), or how often the sensor looks
(orchestration/alerts.py).
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg

from meshhouse.engines import Engine
from meshhouse.engines import engine as engine_of
from meshhouse.ledger import Ledger
from meshhouse.notices import JobFailure, look
from meshhouse.repository import Repository

_PAGE = "MESH_DAGSTER_URL"
_LOOK_BACK = timedelta(days=7)
"""A failed run that no run of the same assets follows in this time counts as over."""
_MOST_RUNS = 1_000
_MOST_REASONS = 10
_ENDED = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS]
_GOOD = ("published", "unchanged", "built")


def notices_sensor(repository: Repository, name: str, every_seconds: int) -> dg.SensorDefinition:
    """Sends what begins, what is over and what changes, as `mesh notices send` does.

    Args:
        repository: the mesh.
        name: of the sensor.
        every_seconds: how often it looks, at most.
    """

    @dg.sensor(
        name=name,
        minimum_interval_seconds=every_seconds,
        description="Tells owners what is wrong and over, and consumers what changes.",
    )
    def notices(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        if repository.environment:
            return dg.SkipReason("Notices are about production.")
        engine = engine_of(repository)
        now = datetime.now(UTC)
        done = look(repository, engine, list(_failed(context.instance, engine, now)), now)
        for problem in done.delivery.problems:
            context.log.error(problem)
        for title in done.unreceived:
            context.log.error(f"Nobody receives: {title}")
        return dg.SkipReason(
            f"{len(done.begun)} begin, {len(done.over)} over, {len(done.changes)} changes; "
            f"{done.delivery.sent} messages sent, {done.delivery.waiting} waiting."
        )

    return notices


def _failed(instance: dg.DagsterInstance, engine: Engine, now: datetime) -> Iterator[JobFailure]:
    """Runs that failed and that no successful run of the same assets followed."""
    filters = dg.RunsFilter(statuses=_ENDED, updated_after=now - _LOOK_BACK)
    records = instance.get_run_records(filters, limit=_MOST_RUNS)
    streaks: dict[str, list[dg.RunRecord]] = defaultdict(list)
    ended: set[str] = set()
    for record in records:  # newest first
        run = record.dagster_run
        subject = _subject(run)
        if run.status == dg.DagsterRunStatus.SUCCESS:
            ended.add(subject)
        elif subject not in ended:
            streaks[subject].append(record)
    known = _recorded(engine.ledger, now) if streaks else frozenset()
    for subject, failures in streaks.items():
        unknown = [each for each in failures if each.dagster_run.run_id not in known]
        if unknown:
            first = unknown[-1]
            run = first.dagster_run
            yield JobFailure(
                subject,
                run.run_id,
                first.create_timestamp.astimezone(UTC),
                tuple(_reasons(instance, run.run_id))[:_MOST_REASONS],
                _link(run.run_id),
            )


def _subject(run: dg.DagsterRun) -> str:
    """The job, with its assets if the run was about some of them."""
    assets = sorted(each.to_user_string() for each in run.asset_selection or ())
    return f"{run.job_name}: {', '.join(assets)}" if assets else run.job_name


def _recorded(ledger: Ledger, now: datetime) -> frozenset[str]:
    """Runs of which the ledger says that a domain failed: its owner hears of them already."""
    entries = ledger.entries("runs", None, now - _LOOK_BACK)
    return frozenset(each["run_id"] for each in entries if each["outcome"] not in _GOOD)


def _reasons(instance: dg.DagsterInstance, run_id: str) -> Iterable[str]:
    """What each failed step said; the run itself only says which steps failed."""
    failed = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    for entry in failed:
        event = entry.dagster_event
        if event is None:
            continue
        data = event.step_failure_data
        given = data.user_failure_data.description if data.user_failure_data else None
        said = given or (data.error.message if data.error else "it gave no reason")
        yield f"{event.step_key}: {said}"
    if not failed:
        for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_FAILURE):
            yield entry.dagster_event.message or "" if entry.dagster_event else ""


def _link(run_id: str) -> str:
    base = os.environ.get(_PAGE, "").rstrip("/")
    return f"{base}/runs/{run_id}" if base else ""
