"""Preparation of dbt-spark to build a domain.

Belongs here: the settings of each session in which dbt builds, in this process or on a Thrift
server. Not here: anything that happens before or after dbt (engine.py).
"""

from __future__ import annotations

from meshhouse.engines.builds import plain_lake, work_lake
from meshhouse.engines.iceberg import pinned, readable
from meshhouse.engines.spark.access import check_place, explained, session_of, session_settings
from meshhouse.lake import Lake
from meshhouse.repository import Domain, Repository

OF_EVERY_SESSION = {
    # A failed cast is an error, as on other targets; dbt-spark's setting returns null.
    "spark.sql.ansi.enabled": "true",
    "spark.sql.session.timeZone": "UTC",
    # `timestamp` has no time zone on other targets; Spark's default is an instant.
    "spark.sql.timestampType": "TIMESTAMP_NTZ",
}
"""Settings with which Spark computes the same results as other targets."""


def prepare(repository: Repository, domain: Domain) -> None:
    """Registers the tables that a domain may read in the catalog in which dbt builds.

    Within a run, these are the tables that the run has pinned; otherwise, the current ones. When a
    person starts dbt, it builds in another catalog, because a concurrent run would otherwise read
    and publish those tables.

    Raises:
        UsageError: a raw table of the domain has never been landed, or Spark cannot run.
    """
    from dbt.adapters.factory import get_adapter_by_type

    pins = pinned()
    if pins is not None:
        work = work_lake(repository.workspace, domain.name)
    else:
        lake = Lake(repository.home)
        check_place(lake)
        pins = readable(repository, domain, lake.visible())
        work = plain_lake(repository.workspace, domain.name)
    work.register_external(pins, own=repository.build_schema(domain.name))
    # dbt passes these to every session that it opens. A profile cannot hold them, because it does
    # not know which project is built.
    credentials = get_adapter_by_type("spark").config.credentials
    in_process = credentials.method == "session"
    # A Thrift server accepts session settings only in the form that Hive's JDBC driver uses.
    prefix = "" if in_process else "set:hiveconf:"
    for name, value in (session_settings(work) | OF_EVERY_SESSION).items():
        credentials.server_side_parameters[prefix + name] = value
    if in_process:
        with explained():
            # Otherwise dbt would start a session without Iceberg.
            session_of(repository.home)
