"""The dbt-duckdb plugin with which dbt builds a domain on the lake.

Belongs here: the path of the domain's DuckDB file, and views over the raw tables and published
products that it reads, each pinned at one snapshot for the whole run. Not here: anything that
happens before or after dbt (engine.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dbt.adapters.duckdb.credentials import DuckDBCredentials
from dbt.adapters.duckdb.plugins import BasePlugin
from dbt.flags import get_flags
from dbt_common.exceptions import DbtRuntimeError
from duckdb import DuckDBPyConnection

from meshhouse.engines.duckdb.engine import work_file
from meshhouse.engines.iceberg import pinned, readable
from meshhouse.errors import MeshError
from meshhouse.lake import Lake
from meshhouse.lake.views import UNSIGNED, create_views, enable_iceberg
from meshhouse.repository import Domain, Repository


class Plugin(BasePlugin):
    """profiles.yml names this class; dbt-duckdb calls it when it opens the domain's file."""

    def update_connection_config(self, creds: DuckDBCredentials, config: dict[str, Any]) -> None:
        """Sets the connection's path to the domain's file."""
        with _explained():
            repository, domain = self._project()
        path = work_file(repository.workspace, domain.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        creds.path = str(path)
        self._is_unsigned_ours = UNSIGNED not in config
        config.setdefault(UNSIGNED, "true")

    def configure_connection(self, conn: DuckDBPyConnection) -> None:
        """Creates views over what the domain may read: as the run pinned it, or as it is now."""
        _share(conn)
        enable_iceberg(conn)
        if self._is_unsigned_ours:
            conn.execute(f"set {UNSIGNED} = false")
        pins = pinned()
        if pins is None:
            with _explained():
                repository, domain = self._project()
                pins = readable(repository, domain, Lake(repository.home).visible())
        create_views(conn, pins)

    def _project(self) -> tuple[Repository, Domain]:
        folder = Path(get_flags().PROJECT_DIR or Path.cwd()).resolve()
        repository = Repository.find(folder)
        name = next(each for each in repository.domain_names if repository.folder(each) == folder)
        return repository, repository.domain(name)


def _share(connection: DuckDBPyConnection) -> None:
    """Leaves memory and cores to the other domains that the run builds at the same time.

    Not in profiles.yml: dbt parses a project again if a variable of its profile has changed.
    """
    if threads := os.environ.get("MESH_JOB_THREADS"):
        connection.execute(f"set threads = {int(threads)}")
    if mib := os.environ.get("MESH_JOB_MIB"):
        (now,) = connection.execute(
            "select parse_formatted_bytes(current_setting('memory_limit')) // 1048576"
        ).fetchone() or (0,)
        connection.execute(f"set memory_limit = '{min(int(mib), now)}MiB'")


@contextmanager
def _explained() -> Iterator[None]:
    """Raises Meshhouse's errors as dbt's, which dbt prints without a traceback."""
    try:
        yield
    except MeshError as error:
        raise DbtRuntimeError(str(error)) from error
