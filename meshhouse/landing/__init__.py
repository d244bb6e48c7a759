"""Landing: every event of a topic becomes a row of a raw table exactly once.

Where to look: commands and assets call service.py. land.py and follow.py read the topic, and
pipeline.py decodes events (decode.py, plain.py, documents.py, formats/) while it commits others.
target.py decides what may be committed. store.py is the protocol of a raw store; lake_store.py and
lake_table.py implement it for the lake. rejected.py reads rejected events, redrive.py lands or
discards them, and reprocess.py lands an earlier part of a topic a second time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meshhouse.landing.follow import Pace
    from meshhouse.landing.lake_store import LakeStore
    from meshhouse.landing.land import Landing
    from meshhouse.landing.service import (
        Lander,
        follow_table,
        group_of,
        land_table,
        reprocess_table,
    )
    from meshhouse.landing.store import RawStore, lands_itself

_MODULES = {
    "LakeStore": "lake_store",
    "Lander": "service",
    "Landing": "land",
    "Pace": "follow",
    "RawStore": "store",
    "follow_table": "service",
    "group_of": "service",
    "land_table": "service",
    "lands_itself": "store",
    "reprocess_table": "service",
}
"""Name -> its module, loaded at first use: pyiceberg and pandas take 0.8 s, and most commands and
Dagster's code location do not land."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


__all__ = [
    "LakeStore",
    "Lander",
    "Landing",
    "Pace",
    "RawStore",
    "follow_table",
    "group_of",
    "land_table",
    "lands_itself",
    "reprocess_table",
]
