"""Dagster's instance for a mesh: where `mesh run` records what it does, as the web page does.

Belongs here: opening the instance that dagster.yaml describes, and what to say where it cannot be
opened or written. Not here: which folder has that file (home.py), or how events are written
cheaply (storage.py).
"""

from __future__ import annotations

import logging
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from dagster._core.instance import InstanceRef
from dagster._core.storage.noop_compute_log_manager import NoOpComputeLogManager
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from sqlalchemy.exc import OperationalError

from meshhouse.dagster.abandoned import end_abandoned
from meshhouse.dagster.home import SETTINGS, dagster_home
from meshhouse.dagster.storage import CannotRecord, OpenEventLog, OpenSqliteStorage
from meshhouse.errors import MeshError, UsageError
from meshhouse.extras import missing
from meshhouse.repository import Repository

_NO_DRIVER = {
    # SQLAlchemy 2.1 takes `postgresql://` for psycopg 3; dagster-postgres installs psycopg2.
    "psycopg": "say which driver connects to PostgreSQL, with `scheme: postgresql+psycopg2` below "
    "`postgres_db`, or with a `postgres_url` that begins with `postgresql+psycopg2://`."
}


@contextmanager
def mesh_instance(repository: Repository) -> Iterator[dg.DagsterInstance]:
    """The instance on which `mesh run` records what it does: the one of the web page.

    Raises:
        MeshError: it cannot be opened or written.
    """
    home = dagster_home(repository)
    instance = _opened(home)
    try:
        with instance:
            end_abandoned(repository, instance)
            yield instance
    except (CannotRecord, OperationalError) as error:
        raise MeshError(_cannot_write(home, instance, error)) from error


def check_instance(repository: Repository) -> None:
    """Opens the instance once.

    Raises:
        MeshError: its settings are wrong, or its database cannot be reached.
    """
    with mesh_instance(repository):
        pass


def _opened(home: Path) -> dg.DagsterInstance:
    settings = home / SETTINGS
    try:
        reference = _reference(home)
    except (dg.DagsterError, yaml.YAMLError) as error:
        raise UsageError(f"{settings}:1: {_last_said(error)} Correct the file.") from error
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)  # one for each attempt to reach a database
    try:
        return dg.DagsterInstance.from_ref(reference)
    except CannotRecord as error:
        raise MeshError(_full_or_closed(home, error)) from error
    except Exception as error:  # a storage class raises whatever it likes
        if isinstance(getattr(error, "orig", None), sqlite3.Error):  # a file, on a full disk
            raise MeshError(_full_or_closed(home, error)) from error
        because = (
            missing(error)
            or _NO_DRIVER.get(getattr(error, "name", ""))
            or (f"{_last_said(error)} Start the database, or correct the file.")
        )
        raise MeshError(
            f"{settings}: the storage of Dagster's runs cannot be opened: {because}"
        ) from error
    finally:
        logging.disable(level)


def _reference(home: Path) -> InstanceRef:
    """What dagster.yaml says, with two changes that other processes do not notice.

    Events go to the same SQLite files in a cheaper way; any other storage is used as it is.
    Captured output would come through four more processes a step, to which Ctrl-C goes as well.
    """
    output = {"module": NoOpComputeLogManager.__module__, "class": NoOpComputeLogManager.__name__}
    changes: dict[str, Any] = {"compute_logs": {**output, "config": {}}}
    storage = InstanceRef.from_dir(str(home)).storage_data
    default = DagsterSqliteStorage.__module__, DagsterSqliteStorage.__name__
    if storage is not None and (storage.module_name, storage.class_name) == default:
        changes["storage"] = {
            "custom": {
                "module": OpenSqliteStorage.__module__,
                "class": OpenSqliteStorage.__name__,
                "config": yaml.safe_load(storage.config_yaml),
            }
        }
    return InstanceRef.from_dir(str(home), overrides=changes)


def _cannot_write(home: Path, instance: dg.DagsterInstance, error: BaseException) -> str:
    if isinstance(instance.event_log_storage, OpenEventLog):
        return _full_or_closed(home, error)
    return (
        f"Dagster's record of runs cannot be written to the database in {home / SETTINGS}: "
        f"{_last_said(error)} Start the database, then run the same command again."
    )


def _full_or_closed(home: Path, error: BaseException) -> str:
    # A full disk is often called a "disk I/O error" only.
    left = shutil.disk_usage(home).free / 2**20
    return (
        f"Dagster's record of runs in {home} cannot be written: "
        f"{getattr(error, 'orig', error)} ({left:,.0f} MiB are free on its disk). Make its "
        "folder writable and make room on its disk, then run the same command again."
    )


def _last_said(error: BaseException) -> str:
    """The first cause in one line: Dagster wraps it several times."""
    while error.__cause__ is not None:
        error = error.__cause__
    said = " ".join(str(getattr(error, "orig", None) or error).split())
    return said if said.endswith(".") else f"{said}."
