"""Files that every page uses: styles, the script, the icon.

Belongs here: the list of files. Not here: their content (assets/).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from meshhouse.catalog.documents import Mesh
from meshhouse.catalog.page import Page

FOLDER = Path(__file__).parent / "assets"


def pages(mesh: Mesh) -> Iterator[Page]:
    """The files of assets/, as they are."""
    for file in sorted(FOLDER.iterdir()):
        yield Page(f"assets/{file.name}", file.name, partial(_content, file.name))


def _content(name: str) -> bytes:
    return (FOLDER / name).read_bytes()
