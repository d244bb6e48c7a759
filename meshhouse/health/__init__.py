"""`mesh doctor`: finds damage in a mesh and names the remedy.

Belongs here: checks of everything that a mesh stores. Not here: repairs (each finding names the
command for it), or printing (cli/doctor.py).
"""

from meshhouse.health.examine import examine
from meshhouse.health.finding import Finding, Level

__all__ = ["Finding", "Level", "examine"]
