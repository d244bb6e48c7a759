"""The writer of the site: makes the pages that changed, and removes those that are gone.

Belongs here: the list of makers, and what is written when. Not here: what a page holds
(pages/ and the other makers), or where facts come from (gather.py).

A maker is a function `(Mesh) -> Iterator[Page]`; `MAKERS` lists them all. See `page.py` for what a
page promises. A later maker may not write a path that an earlier one wrote.
"""

from __future__ import annotations

from meshhouse.catalog.page import Maker

MAKERS: tuple[Maker, ...] = ()
"""Every maker of pages. Add a line for yours."""
