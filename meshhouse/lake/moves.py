"""Folders that get a new path, and the locations in them.

Belongs here: computing new locations from old ones, and old from new. Not here: rewriting the
files that hold locations (relocate.py, catalog_paths.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from meshhouse.lake.object_store import is_remote
from meshhouse.repository.environment import ENVIRONMENTS

TOPS = ("lake", "spark", "build", ENVIRONMENTS, "store")
"""Folders of a mesh's home that hold Iceberg files."""

_SCHEMES = ("file://", "file:", "")


@dataclass(frozen=True)
class Move:
    """A folder that gets another path."""

    old: str
    """An absolute path, or `s3://bucket`."""
    new: str
    physical: Path
    """Where the files of `new` are during the rewriting."""


def mapped(location: str, moves: Sequence[Move]) -> str | None:
    """The new location of an old one; None if it is in none of the folders."""
    # If one folder is inside another, the inner one counts.
    found = [
        (len(old), new + location[len(old) :])
        for move in moves
        for old, new in _prefixes(move)
        if location.startswith(old)
    ]
    return max(found)[1] if found else None


def _prefixes(move: Move) -> Iterator[tuple[str, str]]:
    """Pairs of an old prefix and its new one; a new prefix is also paired with itself."""
    if is_remote(move.old):
        for scheme in ("s3", "s3a", "s3n"):
            yield f"{move.old.replace('s3', scheme, 1)}/", f"{move.new}/"
        return
    spellings = [(move.old, move.new)]
    if quote(move.old) != move.old:  # other engines may percent-encode paths
        spellings.append((quote(move.old), quote(move.new)))
    for scheme in _SCHEMES:
        for spelt in spellings:
            for top in TOPS:
                old, new = (f"{scheme}{each}/{top}/" for each in spelt)
                yield old, new
                yield new, new


def physical(location: str, moves: Sequence[Move]) -> Path | None:
    """The present path of a file with a new location; None if it is in an object store."""
    for move in moves:
        for scheme in ("", *_SCHEMES[:2]):
            prefix = f"{scheme}{move.new}/"
            if location.startswith(prefix):
                return move.physical / location[len(prefix) :]
    return None


def before(location: str, moves: Sequence[Move]) -> str:
    """The old location of a new one."""
    for move in moves:
        if not is_remote(move.old) and f"{move.new}/" in location:
            return location.replace(f"{move.new}/", f"{move.old}/", 1)
    return location


def exists(location: str) -> bool:
    """Whether there is a local file at a location."""
    path = next(location.removeprefix(each) for each in _SCHEMES if location.startswith(each))
    return not is_remote(location) and Path(path).exists()
