"""What dbt-spark needs to build a domain.

Belongs here: the settings of every session in which dbt builds, ours or a Thrift server's.
Does not: anything that happens before or after dbt (spark.py).
"""

from __future__ import annotations

from meshhouse.engines.builds import plain_lake, work_lake
from meshhouse.engines.iceberg import pinned, readable
from meshhouse.engines.spark.access import check_place, explained, session_of, session_settings
from meshhouse.lake import Lake
from meshhouse.repository import Domain, Repository

OF_EVERY_SESSION = {
    # A cast that fails is an error, as on other targets; dbt-spark makes it null.
    "spark.sql.ansi.enabled": "true",
    "spark.sql.session.timeZone": "UTC",
    # `timestamp` has no time zone on other targets; Spark means an instant by default.
    "spark.sql.timestampType": "TIMESTAMP_NTZ",
}
"""What makes Spark compute as other targets do."""


def prepare(repository: Repository, domain: Domain) -> None:
    """Lets dbt see what a domain may read, as of now or as pinned, and build beside it.

    What dbt builds by itself, outside a run, is kept apart: a run that is at work would
    read and publish it otherwise.

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
    work.lend(pins, own=repository.build_schema(domain.name))
    # dbt gives these to every session that it opens; a profile cannot know the project.
    credentials = get_adapter_by_type("spark").config.credentials
    ours = credentials.method == "session"
    # A Thrift server takes for its own only what comes as if from Hive's JDBC driver.
    prefix = "" if ours else "set:hiveconf:"
    for name, value in (session_settings(work) | OF_EVERY_SESSION).items():
        credentials.server_side_parameters[prefix + name] = value
    if ours:
        with explained():
            # dbt would start one itself, without Iceberg.
            session_of(repository.home)
