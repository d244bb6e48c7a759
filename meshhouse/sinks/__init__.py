"""Sinks: the changed rows of each publication, to places outside the lake.

Belongs here: what a sink has not received yet, the changed rows, and the shipped sinks. Not here:
declarations (repository/sinks.py), publication itself (runs/), or when deliveries start (cli/,
dagster/).
"""

from meshhouse.sinks.deliver import Outcome, SinkState, deliver, sink_states
from meshhouse.sinks.delivery import Change, Delivery

__all__ = ["Change", "Delivery", "Outcome", "SinkState", "deliver", "sink_states"]
