"""Alerts and notices of change. The sensor is off until it is switched on in Dagster's page.

Belongs here: how often it looks. Not here: what is worth a message (meshhouse/notices/), or who
receives it: that is in the environment variables of docs/settings.md#alerts.
"""

from __future__ import annotations

import dagster as dg

from meshhouse.dagster.alerts import notices_sensor
from meshhouse.repository import Repository

LOOK_SECONDS = 60


def alerts(repository: Repository) -> list[dg.SensorDefinition]:
    """The alerts of the whole mesh."""
    return [notices_sensor(repository, "notices", LOOK_SECONDS)]
