"""Ways to damage a file, for tests of the undamaged rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip(path: Path) -> None:
    content = path.read_bytes()
    quarter = len(content) // 4
    middle = bytes(255 - byte for byte in content[quarter:-quarter])
    path.write_bytes(content[:quarter] + middle + content[-quarter:])


HARM: dict[str, Callable[[Path], object]] = {
    "deleted": Path.unlink,
    "emptied": lambda path: path.write_bytes(b""),
    "cut": _cut,
    "flipped": _flip,
}
"""Kind of damage -> function that does it to a file."""
