"""Landing: from topics to raw tables, each event exactly once.

Where to look: service.py is what commands and assets call; land.py and follow.py read the topic,
pipeline.py decodes (decode.py, plain.py, documents.py, formats/) beside commits, target.py
decides what may be committed, lake_table.py commits. rejected.py reads rejected events,
redrive.py lands or discards them, reprocess.py lands events again.
"""

from meshhouse.landing.follow import Pace
from meshhouse.landing.lake_store import LakeStore
from meshhouse.landing.land import Landing, land
from meshhouse.landing.service import (
    Lander,
    follow_table,
    group_of,
    land_table,
    land_table_again,
    lands_itself,
)
from meshhouse.landing.store import RawStore

__all__ = [
    "LakeStore",
    "Lander",
    "Landing",
    "Pace",
    "RawStore",
    "follow_table",
    "group_of",
    "land",
    "land_table",
    "land_table_again",
    "lands_itself",
]
