"""Dagster's instance for a mesh: its home folder, its settings, and where events are recorded.

Belongs here: which instance the web page and `mesh run` share. Not here: how one run is executed
(run.py), or how events are written cheaply (storage.py).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from dagster._core.instance import InstanceRef
from dagster._core.storage.noop_compute_log_manager import NoOpComputeLogManager
from sqlalchemy.exc import OperationalError

from meshhouse.dagster.storage import CannotRecord, OpenEventLog
from meshhouse.errors import MeshError
from meshhouse.repository import Repository

_INSTANCE_SETTINGS = """\
# Written by Meshhouse. Nothing about the use of this mesh leaves the machine.
telemetry:
  enabled: false
# No question for an e-mail address on the first visit.
nux:
  enabled: false
"""


def dagster_home(repository: Repository) -> Path:
    """Dagster's home folder inside the mesh's, with telemetry switched off.

    Each environment has one: an asset is called the same in all of them, and what follows it
    in production must not start because of an environment.
    """
    home = repository.workspace / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    settings = home / "dagster.yaml"
    if not settings.exists():
        settings.write_text(_INSTANCE_SETTINGS)
    return home


@contextmanager
def mesh_instance(repository: Repository) -> Iterator[dg.DagsterInstance]:
    """The instance on which `mesh run` records what it does.

    Raises:
        MeshError: its files cannot be written.
    """
    home = dagster_home(repository)
    log = {
        "module": OpenEventLog.__module__,
        "class": OpenEventLog.__name__,
        "config": {"base_dir": str(home / "history" / "runs")},
    }
    # Captured output would come through four more processes a step, to which Ctrl-C goes as well.
    output = {"module": NoOpComputeLogManager.__module__, "class": NoOpComputeLogManager.__name__}
    overrides = {"event_log_storage": log, "compute_logs": {**output, "config": {}}}
    reference = InstanceRef.from_dir(str(home), overrides=overrides)
    try:
        with dg.DagsterInstance.from_ref(reference) as instance:
            yield instance
    except (CannotRecord, OperationalError) as error:
        # A full disk is often called a "disk I/O error" only.
        left = shutil.disk_usage(home).free / 2**20
        raise MeshError(
            f"Dagster's record of runs in {home} cannot be written: "
            f"{getattr(error, 'orig', error)} ({left:,.0f} MiB are free on its disk). Make its "
            "folder writable and make room on its disk, then run the same command again."
        ) from error
