"""Landing: every event of a topic becomes a row of a raw table exactly once.

Where to look: commands and assets call service.py. land.py and follow.py read the topic, and
pipeline.py decodes events (decode.py, plain.py, documents.py, formats/) while it commits others.
target.py decides what may be committed. store.py is the protocol of a raw store; lake_store.py and
lake_table.py implement it for the lake. rejected.py reads rejected events, redrive.py lands or
discards them, and reprocess.py lands an earlier part of a topic a second time.
"""

from meshhouse.landing.follow import Pace
from meshhouse.landing.lake_store import LakeStore
from meshhouse.landing.land import Landing, land
from meshhouse.landing.service import (
    Lander,
    follow_table,
    group_of,
    land_table,
    lands_itself,
    reprocess_table,
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
    "lands_itself",
    "reprocess_table",
]
