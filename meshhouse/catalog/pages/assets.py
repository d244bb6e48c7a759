"""Files that every page uses: styles, the script, the icon, and the time of the build.

Belongs here: the list of files. Not here: their content (assets/).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

from meshhouse.catalog.documents import Mesh
from meshhouse.catalog.page import Page
from meshhouse.catalog.pages.words import iso

BUILT = "assets/built.js"
"""Holds the time of the build, so that the other pages need not change with each build."""
FOLDER = Path(__file__).parent / "assets"


def pages(mesh: Mesh) -> Iterator[Page]:
    """The files of assets/, as they are, and the time of the build."""
    yield Page(BUILT, mesh.built_at, partial(_built, mesh.built_at))
    for file in sorted(FOLDER.iterdir()):
        yield Page(f"assets/{file.name}", file.name, partial(_content, file.name))


def _built(at: datetime) -> str:
    return f"document.documentElement.dataset.built = {json.dumps(iso(at))};\n"


def _content(name: str) -> bytes:
    return (FOLDER / name).read_bytes()
