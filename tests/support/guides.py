"""Follows a page of docs/guides: writes its files, and returns its commands.

Belongs here: reading a page. Not here: what the page promises (the tests of each page).
"""

from __future__ import annotations

import re

from tests.conftest import Mesh

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def follow(mesh: Mesh, page: str) -> list[str]:
    """Writes the files of a page; returns its commands."""
    commands: list[str] = []
    for kind, text in BLOCK.findall(page):
        if kind == "sh":
            commands += text.splitlines()
        else:
            path = re.match(r"(?:#|--) (\S+)\n", text)
            assert path, text
            # A comment is no row of a seed.
            mesh.write(path[1], text if kind != "csv" else text.removeprefix(path[0]))
    return commands
