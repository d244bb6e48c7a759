"""The sensor that looks for what is wrong or new, and sends it.

Belongs here: runs of Dagster that failed without a word in the ledger. Not here: everything else
that is worth a message, and its delivery (meshhouse/notices/), or how often the sensor looks
(orchestration/alerts.py).
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from meshhouse.dagster.results import RECORDED
from meshhouse.dagster.tags import LANDS, OF_DOMAIN
from meshhouse.engines import engine as engine_of
from meshhouse.notices import JOB_FAILED, Cause, JobFailure, look, outbox_of
from meshhouse.repository import Repository

_PAGE = "MESH_DAGSTER_URL"
_LOOK_BACK = timedelta(days=7)
"""How far back runs are looked for that failed and are not known yet."""
_MOST_RUNS = 1_000
_MOST_REASONS = 10
_ENDED = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS]


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
        known = [each.cause for each in outbox_of(repository).open_causes()]
        failed = list(_failed(repository, context.instance, now, known))
        done = look(repository, engine, failed, now)
        for problem in done.delivery.problems:
            context.log.error(problem)
        for title in done.unreceived:
            context.log.error(f"Nobody receives: {title}")
        return dg.SkipReason(
            f"{len(done.begun)} begin, {len(done.over)} over, {len(done.changes)} changes; "
            f"{done.delivery.sent} messages sent, {done.delivery.waiting} waiting."
        )

    return notices


def _failed(
    repository: Repository, instance: dg.DagsterInstance, now: datetime, known: Sequence[Cause]
) -> Iterator[JobFailure]:
    """Runs that failed and that no successful run of the same assets followed.

    Args:
        repository: the mesh.
        instance: which knows the runs.
        now: the time.
        known: what was wrong at the last look; it is over only after a success.
    """
    still = list(_still_failed(instance, known))
    yield from still
    kept = {each.job for each in still}
    filters = dg.RunsFilter(statuses=_ENDED, updated_after=now - _LOOK_BACK)
    streaks: dict[str, list[dg.RunRecord]] = defaultdict(list)
    succeeded: list[dg.DagsterRun] = []
    for record in instance.get_run_records(filters, limit=_MOST_RUNS):  # newest first
        subject = _subject(record.dagster_run)
        if record.dagster_run.status == dg.DagsterRunStatus.SUCCESS:
            succeeded.append(record.dagster_run)
        elif subject not in kept and not _is_mended(subject, succeeded):
            streaks[subject].append(record)
    for subject, failures in streaks.items():
        for first in reversed(failures):
            run = first.dagster_run
            if (reasons := _reasons(instance, run.run_id)) is not None:
                since = first.create_timestamp.astimezone(UTC)
                domain = _domain(run)
                yield JobFailure(subject, run.run_id, since, tuple(reasons[:_MOST_REASONS]),
                                 _link(run.run_id), domain,
                                 _groups(repository, run))  # fmt: skip
                break


def _still_failed(instance: dg.DagsterInstance, known: Sequence[Cause]) -> Iterator[JobFailure]:
    """Failures that are known and that no success followed, however long ago they began."""
    failed = {each: each.since for each in map(_known, known) if each is not None}
    if not failed:
        return
    succeeded = dg.RunsFilter(
        statuses=[dg.DagsterRunStatus.SUCCESS], created_after=min(failed.values())
    )
    records = instance.get_run_records(succeeded, limit=_MOST_RUNS)
    for each in failed:
        later = [
            one.dagster_run for one in records if one.create_timestamp.astimezone(UTC) > each.since
        ]
        if not _is_mended(each.job, later):
            yield each


def _known(cause: Cause) -> JobFailure | None:
    if cause.rule != JOB_FAILED or cause.since is None:
        return None
    return JobFailure(
        cause.subject, str(cause.facts["run_id"]), cause.since, tuple(cause.facts["reasons"]),
        cause.link, cause.domain, cause.groups,
    )  # fmt: skip


def _is_mended(subject: str, succeeded: Sequence[dg.DagsterRun]) -> bool:
    """Whether the same job succeeded, or runs of all assets that a failed run was about.

    People choose assets by hand, and the next run has other ones beside them.
    """
    job, _, assets = subject.partition(": ")
    missing = set(assets.split(", ")) if assets else {job}
    for run in succeeded:
        if _subject(run) in (subject, job):
            return True
        if assets:
            missing -= {each.to_user_string() for each in run.asset_selection or ()}
    return not missing


def _groups(repository: Repository, run: dg.DagsterRun) -> tuple[str, ...]:
    """Groups of the products that a run was about; none, which means all, if one has none."""
    group_of = {
        (domain.name, product.name): product.group or ""
        for domain in repository.readings
        for product in domain.products
    }
    found = {group_of.get(tuple(each.path), "") for each in run.asset_selection or ()}
    return () if "" in found else tuple(sorted(found))


def _subject(run: dg.DagsterRun) -> str:
    """The job, with its assets if the run was about some of them."""
    assets = sorted(each.to_user_string() for each in run.asset_selection or ())
    return f"{run.job_name}: {', '.join(assets)}" if assets else run.job_name


def _domain(run: dg.DagsterRun) -> str:
    """The only domain of a run, by its tags; empty if there is none, or several."""
    found = {name.removeprefix(OF_DOMAIN) for name in run.tags if name.startswith(OF_DOMAIN)}
    found |= {run.tags[LANDS]} if LANDS in run.tags else set()
    return found.pop() if len(found) == 1 else ""


def _reasons(instance: dg.DagsterInstance, run_id: str) -> list[str] | None:
    """What each failed step said, other than what the ledger has; None if the ledger has it all."""
    failed = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    found = []
    for event in (each.dagster_event for each in failed):
        assert event is not None
        data = event.step_failure_data
        given = data.user_failure_data
        if given is not None and RECORDED in given.metadata:
            continue
        description = given.description if given else None
        said = description or (data.error.message if data.error else "it gave no reason")
        found.append(f"{event.step_key}: {said}")
    if failed:
        return found or None
    ends = instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    return [(each.dagster_event and each.dagster_event.message) or "" for each in ends]


def _link(run_id: str) -> str:
    base = os.environ.get(_PAGE, "").rstrip("/")
    return f"{base}/runs/{run_id}" if base else ""
