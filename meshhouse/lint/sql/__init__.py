"""SQL portability: SQL that a target does not understand, or computes differently.

Belongs here: rendering SQL for a target without connecting to it, and judging it. Not here:
other rules of `mesh check` (lint/), or running SQL on a target (engines/).
"""
