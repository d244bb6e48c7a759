"""The blocks of a page, followed as a reader does.

Belongs here: which blocks are commands, files or outputs. Not here: which page is followed, or with
which programs (journeys/test_init.py).

A block `sh` holds commands; `sh exit=1` ends with a command that fails so. A block `text` holds
parts of what the commands before it print. Other blocks are files that begin with their path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_BLOCK = re.compile(r"^```(\w+) ?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PATH = re.compile(r"(?:#|--) (\S+)\n")


@dataclass(frozen=True)
class Step:
    """One block."""

    kind: str
    """`sh`, `text` or `file`."""
    text: str
    note: str = ""
    """What follows the kind, or the path of a file."""

    @property
    def exit_code(self) -> int:
        """How the commands end."""
        found = re.search(r"exit=(\d+)", self.note)
        return int(found[1]) if found else 0


def steps(page: str) -> Iterator[Step]:
    """The blocks of a page, in their order."""
    for kind, note, text in _BLOCK.findall(page):
        if kind in ("sh", "text"):
            yield Step(kind, text, note)
            continue
        path = _PATH.match(text)
        assert path, f"a file without its path:\n{text}"
        yield Step("file", text, path[1])
