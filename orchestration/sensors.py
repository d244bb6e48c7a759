"""What starts when something happened. All of it is off until it is switched on.

Belongs here: which sensors there are and how often they look. Not here: what they look at
(meshhouse/dagster/sensor.py), or when an asset is built again (steps.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from meshhouse.dagster.sensor import landing_sensor
from meshhouse.repository import Repository

LOOK_SECONDS = 30


def sensors(
    repository: Repository, domains: Sequence[str] | None = None
) -> list[dg.SensorDefinition]:
    """The sensors of these domains: landing where events wait, and whatever follows from it."""
    return [
        landing_sensor(repository, "events_wait", LOOK_SECONDS, domains),
        dg.AutomationConditionSensorDefinition(
            "whatever_follows",
            target=dg.AssetSelection.all(),
            description="Builds, audits and publishes what depends on what was landed.",
        ),
    ]
