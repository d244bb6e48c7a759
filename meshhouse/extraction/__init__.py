"""Extraction: what is in files becomes events of a topic, exactly once.

Belongs here: finding what is new, and sending it. Not here: topics (events/), or turning events
into rows (landing/).
"""

from meshhouse.extraction.steps import Extracted, extract

__all__ = ["Extracted", "extract"]
