"""Runs: what a run is about, what it does, and what consumers see after it.

Belongs here: selecting domains (selection.py), planning (plan.py), the steps of one domain's run
(run.py), publication and its history. Not here: landing events (landing/), what a check means
(audit/), or Dagster's assets (dagster/).
"""
