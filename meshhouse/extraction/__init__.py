"""Extraction: what is in files, tables and streams becomes events of a topic, once.

Belongs here: finding what is new, and sending it. Not here: topics (events/), or turning events
into rows (landing/).
"""

from meshhouse.extraction.run import Extracted
from meshhouse.extraction.steps import extract, extracted_whole, no_reading_in_part

__all__ = ["Extracted", "extract", "extracted_whole", "no_reading_in_part"]
