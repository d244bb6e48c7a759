"""This mesh's own Dagster project. Its owner edits it.

Belongs here: what Dagster shows and starts, and every value that its owner may want to change:
when (schedules.py, sensors.py), how (steps.py), and which definitions (definitions.py). Not here:
how a domain becomes assets, checks and runs (meshhouse/dagster/).
"""
