"""Landing: from topics to raw tables, each event exactly once."""

from meshhouse.landing.land import Landing, land
from meshhouse.landing.service import land_table

__all__ = ["Landing", "land", "land_table"]
