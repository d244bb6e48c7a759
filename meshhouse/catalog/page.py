"""A page: one file of the catalog's site, and what decides its content.

Belongs here: what makers of pages give to the writer. Not here: the writer and the list of makers
(site.py), names of files (paths.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from meshhouse.catalog.documents import Mesh


@dataclass(frozen=True)
class Page:
    """One file of the site: HTML, JSON, a script, a picture."""

    path: str
    """Relative to the root of the site, with `/`; see `paths.py`."""
    inputs: object
    """Everything that decides the content beside the code in `meshhouse/catalog/`: documents,
    text, numbers, dates, None, and tuples, lists and mappings of these. If it did not change since
    the last build, `render` is not called. Give documents as they are in the `Mesh`, not copies:
    each document is digested once, however many pages are made from it. Do not give
    `Mesh.built_at`, or the page changes in every build, as only the home page and one file of
    assets/ do."""
    render: Callable[[], str | bytes]
    """Makes the content from `inputs` alone. It may run in another process, and the order of calls
    is not defined, so it changes nothing outside."""


Maker = Callable[[Mesh], Iterator[Page]]
"""Lists pages of a mesh. Listing is cheap, because it is done for every page in every build; what
takes time belongs into `render`."""
