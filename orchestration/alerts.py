"""Alerts. Both sensors are off until they are switched on in Dagster's page.

Belongs here: which alerts there are and how often they look. Not here: what they say
(meshhouse/dagster/alerts.py), or who receives them: that is in the environment variables of
docs/settings.md#alerts.
"""

from __future__ import annotations

import dagster as dg

from meshhouse.dagster.alerts import failure_sensor, late_sensor
from meshhouse.repository import Repository

LATE_LOOK_SECONDS = 300


def alerts(repository: Repository) -> list[dg.SensorDefinition]:
    """The alerts of the whole mesh."""
    return [
        failure_sensor("a_run_failed"),
        late_sensor(repository, "a_product_is_late", LATE_LOOK_SECONDS),
    ]
