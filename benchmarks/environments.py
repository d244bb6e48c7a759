"""Python environments of other programs that benchmarks run.

Belongs here: making one at first use. Not here: what is measured.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from meshhouse.java import last_line
from meshhouse.locks import lock

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "meshhouse/benchmarks"


def environment(name: str, packages: list[str]) -> Path:
    """The folder of programs of a virtual environment, which is created once.

    Args:
        name: of the environment; it changes with the versions of the packages.
        packages: what to install.

    Raises:
        RuntimeError: it cannot be created.
    """
    beside = Path(sys.executable).parent / "uv"
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv is None:
        raise RuntimeError("uv is neither beside Python nor on the path")
    folder = CACHE / name
    programs, made = folder / "bin", folder / ".made"
    folder.mkdir(parents=True, exist_ok=True)
    with lock(folder.with_suffix(".lock")):
        if not made.exists():
            _run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder))
            _run(uv, "pip", "install", "--quiet", "--python", str(programs / "python"), *packages)
            made.touch()
    return programs


def _run(*command: str) -> None:
    # Run outside the repository, because its uv settings would constrain other programs.
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=CACHE)
    if done.returncode:
        raise RuntimeError(last_line(done.stderr))
