"""Gathering: the documents of a mesh, from its declarations, its ledger and its raw tables.

Belongs here: reading each source once, and joining what it says; a module for each topic. Not here:
rules that other rooms own (runs/, governance/), or how people see documents (pages/).
"""

from meshhouse.catalog.gather.mesh import Gathered, check_consumer, gather, gathered

__all__ = ["Gathered", "check_consumer", "gather", "gathered"]
