"""Copies of the tiny mesh in fixtures/.

Belongs here: the files of a copy. Not here: the fixtures that use it (conftest.py).
"""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "fixtures" / "tiny"


def copy_tiny(folder: Path) -> None:
    """Copies the tiny mesh, with the real macros and profiles, into a folder."""
    left_out = shutil.ignore_patterns("target", "logs")
    shutil.copytree(TINY, folder, dirs_exist_ok=True, ignore=left_out)
    for name in ("macros", "profiles"):
        shutil.copytree(ROOT / name, folder / name, dirs_exist_ok=True)
