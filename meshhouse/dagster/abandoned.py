"""Runs whose process was killed, which Dagster would otherwise take for running.

Belongs here: the lock by which a process shows that it lives, and ending what a dead one left. Not
here: cleaning up the data of such a run, which the next run does (meshhouse/runs/).

A few runs may be in progress at once (dagster.yaml), so two that died would stop the whole queue.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from uuid import uuid4

import dagster as dg

from meshhouse.locks import hold_until_the_end, lock_if_free
from meshhouse.repository import Repository

PROCESS = "meshhouse/process"
"""Tag of a run of `mesh run`: the lock that its process holds. Other runs have their own ids."""

_BUSY = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)
_ENDED = "The process of this run was killed. Consumers keep what was published before."


def process_tag(repository: Repository) -> dict[str, str]:
    """The tag of a run that this process is about to execute."""
    return {PROCESS: _lock_of_this_process(_folder(repository))}


def show_life(repository: Repository, run_id: str) -> None:
    """Holds a run's lock while this process lives."""
    hold_until_the_end(_folder(repository) / run_id)


def end_abandoned(repository: Repository, instance: dg.DagsterInstance) -> None:
    """Marks the runs of dead processes as failed, and gives their places to others.

    A run without a lock here, as of another machine, is left as it is. So is everything where the
    launcher looks after its runs by itself, as that of Kubernetes does.
    """
    if instance.run_launcher.supports_check_run_worker_health:
        return
    busy = instance.get_run_records(dg.RunsFilter(statuses=list(_BUSY)))
    runs = {_lock_of(each): each for each in (record.dagster_run for record in busy)}
    for path in _folder(repository).glob("*"):
        with lock_if_free(path) as holder:
            if holder:
                continue
            if run := runs.get(path.name):
                # It may have ended well between the list of runs and its lock.
                now = instance.get_run_by_id(run.run_id)
                if now is not None and now.status in _BUSY:
                    instance.report_run_failed(now, _ENDED)
                    instance.event_log_storage.free_concurrency_slots_for_run(now.run_id)
            path.unlink(missing_ok=True)


def _lock_of(run: dg.DagsterRun) -> str:
    """The name of a run's lock; Dagster copies the tags of a run that it executes again."""
    return run.run_id if run.parent_run_id else run.tags.get(PROCESS, run.run_id)


def _folder(repository: Repository) -> Path:
    return repository.workspace / "locks" / "runs"


@cache
def _lock_of_this_process(folder: Path) -> str:
    name = uuid4().hex
    hold_until_the_end(folder / name)
    return name
