"""Copies of the tiny mesh in fixtures/.

Belongs here: the files of a copy. Not here: the fixtures that use it (conftest.py).
"""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "fixtures" / "tiny"


def copy_tiny(folder: Path) -> None:
    """Copies the tiny mesh, with the real profiles, into a folder."""
    left_out = shutil.ignore_patterns("target", "logs")
    shutil.copytree(TINY, folder, dirs_exist_ok=True, ignore=left_out)
    shutil.copytree(ROOT / "profiles", folder / "profiles", dirs_exist_ok=True)
    (folder / "macros").mkdir(exist_ok=True)
