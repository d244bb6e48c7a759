"""A folder whose content is made once and restored for each test.

Belongs here: copying a mesh away and back. Not here: how a mesh gets into its state (fixtures).

The content returns to the same place, because Iceberg's metadata holds absolute paths. A first run
of the tiny mesh takes 3 s, restoring it 0.1 s.
"""

from __future__ import annotations

import shutil
from pathlib import Path


class Kept:
    """Keeps a copy of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._copy = folder.with_name(f"{folder.name}.kept")
        shutil.copytree(folder, self._copy, symlinks=True)

    def restored(self) -> Path:
        """The folder, with the content that it had when the copy was made."""
        shutil.rmtree(self._folder)
        shutil.copytree(self._copy, self._folder, symlinks=True)
        return self._folder
