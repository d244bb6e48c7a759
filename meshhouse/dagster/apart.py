"""Steps of a run in processes that work beside each other.

Belongs here: the server from which these processes are forked, and the executor. Not here: what the
steps report (relay.py), or how many processes a machine can bear (meshhouse/processes.py).
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.code_pointer import CustomPointer, ModuleCodePointer
from dagster._core.definitions.assets.job.asset_job import IMPLICIT_ASSET_JOB_NAME
from dagster._core.definitions.reconstruct import ReconstructableJob, ReconstructableRepository
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.multiprocess import MultiprocessExecutor

from meshhouse.dagster.reporter import Reporter
from meshhouse.dbt import environment, invoke
from meshhouse.processes import end_with_parent
from meshhouse.repository import Repository

REQUEST = "MESH_STEPS"
"""Environment variable of the server: what its processes execute."""
MODULE = "meshhouse.dagster.steps_apart"
LOADED = (
    "dagster._core.executor.multiprocess",
    "dagster._core.workspace.context",
    "dagster._daemon.controller",
    "dbt.cli.main",
    "dbt.task.build",
    "dbt_meshhouse",
    "meshhouse.audit.soda",
    "meshhouse.dagster.instance",
    "meshhouse.lake.staging",
    "meshhouse.landing.service",
    "meshhouse.runs.steps",
    "meshhouse.lint.refusal",
    "pyiceberg.io.pyarrow",
    "soda_core.check_collections.session",
    "upath.implementations.local",
    MODULE,
)
"""What the server loads before the first fork: what each step would load, which takes 2 s."""


def request(
    repository: Repository, domains: list[str], reporter: Reporter, address: str, jobs: int
) -> str:
    """What the processes must know to make the job of a run."""
    return json.dumps(
        {
            "root": str(repository.root),
            "domains": domains,
            "address": address,
            "jobs": jobs,
            "force": reporter.force,
            "full_refresh": reporter.full_refresh,
            "confirmed": reporter.confirmed,
        }
    )


@contextmanager
def server(repository: Repository, asked: str, variables: Mapping[str, str]) -> Iterator[None]:
    """Runs the server of a run, which loads libraries while this process does so too.

    What its processes print goes to a file. They report what people must know; libraries and
    Dagster's own log would print between the lines of several domains.

    Args:
        repository: the mesh.
        asked: see `request`.
        variables: environment variables of its processes.
    """
    # An ignored Ctrl-C stays ignored in the server, which would print a traceback.
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with environment({**variables, REQUEST: asked}), _stderr(repository):
            multiprocessing.get_context("forkserver").set_forkserver_preload(list(LOADED))
            forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        # The next run of this process may be about another mesh.
        forkserver._forkserver._stop()  # type: ignore[attr-defined]


@contextmanager
def _stderr(repository: Repository) -> Iterator[None]:
    """Gives processes that start inside another standard error."""
    path = repository.workspace / "logs" / "steps.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    ours = os.dup(2)
    try:
        with path.open("w") as file:
            os.dup2(file.fileno(), 2)
            yield
    finally:
        os.dup2(ours, 2)
        os.close(ours)


def job_of(asked: str) -> ReconstructableJob:
    """The job, in a form that can be made again in another process."""
    makes = CustomPointer(ModuleCodePointer(MODULE, "definitions"), [asked], [])
    repository = ReconstructableRepository(makes)
    return repository.get_reconstructable_job(IMPLICIT_ASSET_JOB_NAME)


def warm(asked: Mapping[str, Any]) -> None:
    """Lets dbt read a parsed domain in the server: it generates code at its first call."""
    repository = Repository(Path(asked["root"]))
    invoke(repository, asked["domains"][0], ["parse", "--no-write-json"], {})


def begin() -> None:
    """Prepares the process of a step: it must not go on, nor publish, without the run."""
    end_with_parent()


def executor_of(jobs: int) -> dg.ExecutorDefinition:
    """Dagster's own executor of steps in processes; they are forked from our server.

    The number is not in the run's configuration, with which Dagster's page may execute the run
    again, with another executor.
    """

    @dg.executor(name="processes")
    def processes(init: dg.InitExecutorContext) -> MultiprocessExecutor:
        return MultiprocessExecutor(
            retries=RetryMode.ENABLED,
            max_concurrent=jobs,
            start_method="forkserver",
            explicit_forkserver_preload=list(LOADED),
        )

    return processes
