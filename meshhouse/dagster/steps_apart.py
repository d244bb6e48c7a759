"""The job of `mesh run` as the processes of its steps see it.

Belongs here: making that job again from a text. It is made once, in the server from which the
processes are forked. Not here: starting them (meshhouse/dagster/run.py).
"""

from __future__ import annotations

import gc
import json
import os
from contextlib import suppress
from functools import cache
from pathlib import Path

import dagster as dg
from dagster._core.definitions.assets.job.asset_job import IMPLICIT_ASSET_JOB_NAME

from meshhouse import garbage
from meshhouse.dagster.apart import REQUEST, begin, executor_of, warm
from meshhouse.dagster.project import project_of
from meshhouse.dagster.relay import Relay
from meshhouse.repository import Repository


def definitions(request: str) -> dg.RepositoryDefinition:
    """What a request describes; see `meshhouse.dagster.apart.request`."""
    begin()
    return _made(request)


@cache
def _made(request: str) -> dg.RepositoryDefinition:
    asked = json.loads(request)
    relay = Relay(asked["address"], asked["force"], asked["full_refresh"], asked["confirmed"])
    repository = Repository(Path(asked["root"]))
    executor = executor_of(asked["jobs"])
    run_definitions = project_of(repository).run_definitions
    made = run_definitions(repository, asked["domains"], relay, executor).get_repository_def()
    made.get_job(IMPLICIT_ASSET_JOB_NAME)  # so that it is made before the first fork
    return made


garbage.look_seldom()  # in the server, and so in each of its processes
if request := os.environ.get(REQUEST):
    with suppress(Exception):  # each step then says what is wrong
        _made(request)
        warm(json.loads(request))
    # Its processes then neither look through these objects nor copy the memory that holds them.
    gc.freeze()
