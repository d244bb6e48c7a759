"""Maintenance: keeps tables fast to read and their storage small; also backup and restore.

Belongs here: merging small files (compaction.py), expiring snapshots (expiry.py), removing
unreferenced files (builds.py), doing so while others land and read (maintain.py) and after each
run (short.py), dropping environments (environments.py), backups (backup.py, restore.py, bundle.py).
Not here: anything that changes a row, a column or a property.
"""

from meshhouse.maintenance.maintain import Maintained, maintain, maintain_while_landing
from meshhouse.maintenance.short import keep_short

__all__ = ["Maintained", "keep_short", "maintain", "maintain_while_landing"]
