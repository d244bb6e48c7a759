"""Governance: what products promise, to whom, and what a change would do to readers.

Belongs here: contracts as documents, column lineage, the judgement of changes, waivers, policies,
service-level objectives. Not here: running checks on a candidate (audit/), or deciding when a run
judges (runs/).
"""
