"""Sinks: the changed rows of each publication, to places outside the lake.

Belongs here: what a sink has not received yet, the changed rows, and the shipped sinks. Not here:
declarations (repository/sinks.py), publication itself (runs/), or when deliveries start (cli/,
dagster/).
"""

from meshhouse.sinks.deliver import Outcome, deliver
from meshhouse.sinks.delivery import Change, Delivery
from meshhouse.sinks.received import SinkState, sink_states

__all__ = ["Change", "Delivery", "Outcome", "SinkState", "deliver", "sink_states"]
