"""Landing: from topics to raw tables, each event exactly once."""

from meshhouse.landing.follow import Pace
from meshhouse.landing.land import Landing, land
from meshhouse.landing.service import (
    ENGINES,
    follow_table,
    group_of,
    land_table,
    land_table_again,
    lands_itself,
)

__all__ = [
    "ENGINES",
    "Landing",
    "Pace",
    "follow_table",
    "group_of",
    "land",
    "land_table",
    "land_table_again",
    "lands_itself",
]
