"""What is damaged in a mesh, and what to do about it.

Belongs here: looking at everything that a mesh keeps, one check after another. Not here:
repairing, which the commands do that the findings name, or printing (cli/doctor.py).
"""

from meshhouse.health.examine import examine
from meshhouse.health.finding import Finding, Level

__all__ = ["Finding", "Level", "examine"]
