"""Folders that are named by a new path, and what that makes of a location.

Belongs here: locations as they were and as they become. Not here: the files that hold them
(relocate.py, catalog_paths.py).
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
    """A folder that is to be named by another path."""

    old: str
    """An absolute path, or `s3://bucket`."""
    new: str
    physical: Path
    """Where the files of `new` are while this is done."""


def mapped(location: str, moves: Sequence[Move]) -> str | None:
    """A location by its new path; None if it is in none of the folders."""
    # Of two folders, one of which may be inside the other, the inner one counts.
    found = [
        (len(old), new + location[len(old) :])
        for move in moves
        for old, new in _prefixes(move)
        if location.startswith(old)
    ]
    return max(found)[1] if found else None


def _prefixes(move: Move) -> Iterator[tuple[str, str]]:
    """How old locations may begin, and how the new ones do; new ones stay as they are."""
    if is_remote(move.old):
        for scheme in ("s3", "s3a", "s3n"):
            yield f"{move.old.replace('s3', scheme, 1)}/", f"{move.new}/"
        return
    spellings = [(move.old, move.new)]
    if quote(move.old) != move.old:  # other engines may escape what a URL cannot hold
        spellings.append((quote(move.old), quote(move.new)))
    for scheme in _SCHEMES:
        for spelt in spellings:
            for top in TOPS:
                old, new = (f"{scheme}{each}/{top}/" for each in spelt)
                yield old, new
                yield new, new


def physical(location: str, moves: Sequence[Move]) -> Path | None:
    """Where a file of a new location is now; None if it is in an object store."""
    for move in moves:
        for scheme in ("", *_SCHEMES[:2]):
            prefix = f"{scheme}{move.new}/"
            if location.startswith(prefix):
                return move.physical / location[len(prefix) :]
    return None


def before(location: str, moves: Sequence[Move]) -> str:
    """A new location by the path that it had before."""
    for move in moves:
        if not is_remote(move.old) and f"{move.new}/" in location:
            return location.replace(f"{move.new}/", f"{move.old}/", 1)
    return location


def exists(location: str) -> bool:
    """Whether there is a local file at a location."""
    path = next(location.removeprefix(each) for each in _SCHEMES if location.startswith(each))
    return not is_remote(location) and Path(path).exists()
