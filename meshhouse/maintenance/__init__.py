"""Upkeep: tables stay quick to read and take no more room than they need.

Belongs here: merging small files (compaction.py), dropping old snapshots (expiry.py),
removing files that nothing refers to (orphans.py), and doing so beside landers and
readers (maintenance.py). Does not: changing a row, a column or a property.
"""

from meshhouse.maintenance.maintain import Upkept, maintain, tidy

__all__ = ["Upkept", "maintain", "tidy"]
