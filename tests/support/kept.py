"""A mesh whose state is made once and restored for each test.

Belongs here: copying a mesh away and back. Not here: how a mesh gets into its state (the tests).

The state returns to the same folder, because Iceberg's metadata holds absolute paths. Copying the
tiny mesh takes 0.1 s; a first run takes 4 s.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path


def kept(folder: Path) -> Callable[[], None]:
    """Copies a folder, and returns a function that gives it this content again."""
    copy = folder.with_name(f"{folder.name}.kept")
    shutil.copytree(folder, copy, symlinks=True)

    def restore() -> None:
        shutil.rmtree(folder)
        shutil.copytree(copy, folder, symlinks=True)

    return restore
