"""What the owner of a mesh decides about the steps of its domains.

Belongs here: which decisions there are. Not here: their values, which are in orchestration/.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import dagster as dg


@dataclass(frozen=True)
class Settings:
    """How the steps of every domain behave."""

    follows: dg.AutomationCondition | None = None
    """When a model or product is built without being asked for; None for never."""
    landing_retries: dg.RetryPolicy | None = None
    """What is done where a landing failed; None for nothing."""
    build_retries: dg.RetryPolicy | None = None
    """What is done where a build failed. A rejected build is not tried again."""
    landing_pool: str | None = None
    """Dagster's concurrency pool of landings; None for no limit. `{domain}` and `{target}` stand
    for the names of the domain and the target."""
    build_pool: str | None = None
    """Dagster's concurrency pool of builds, in the same form; None for no limit."""

    def without_pools(self) -> Settings:
        """For a run that nobody queues: its slots would stay taken after a kill."""
        return replace(self, landing_pool=None, build_pool=None)


def pool_name(pool: str | None, domain: str, target: str) -> str | None:
    """The pool of a domain's step."""
    return pool.format(domain=domain, target=target) if pool else None
