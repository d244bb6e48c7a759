"""What the owner of a mesh decides about the steps of its domains.

Belongs here: which decisions there are. Not here: their values, which are in orchestration/.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    """Dagster's concurrency pool of landings; None for no limit."""
    build_pool: str | None = None
    """Dagster's concurrency pool of builds; None for no limit."""
