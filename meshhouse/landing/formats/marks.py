"""The columns that a format adds to events.

Belongs here: their names. Not here: `reason`, which every format adds (`Format.as_json`).
"""

from __future__ import annotations

DELETED = "is_deletion"
"""Whether an event with a value deletes its key; the value then holds facts about the deletion."""
