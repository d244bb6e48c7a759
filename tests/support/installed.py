"""The wheel of this checkout, installed in a separate environment.

Belongs here: building and installing. Not here: what is done with it (journeys/test_init.py).

Installing 150 packages again would take a minute and prove nothing about the platform. So the
environment takes them from the one that runs the tests, by a line in a .pth file. Python does not
follow the .pth files of that folder, one of which names the checkout.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from tests.support.tiny import ROOT


@dataclass(frozen=True)
class Installed:
    """A Python environment with the installed wheel."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def run(self, *command: str, folder: Path, code: int = 0) -> str:
        """Runs a command of the environment; what it prints."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MESH_", "DAGSTER_", "PYTHON", "KAFKA_", "VIRTUAL_ENV"))
        }
        found = f"{self.folder / 'bin'}{os.pathsep}{kept['PATH']}"
        done = subprocess.run(
            command,
            cwd=folder,
            env={**kept, "PATH": found, "NO_COLOR": "1", "PYTHONWARNINGS": "ignore"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        assert done.returncode == code, done.stdout
        return done.stdout


def install(folder: Path) -> Installed:
    """Builds the wheel and installs it into a new environment in a folder."""
    uv = Path(sys.executable).with_name("uv")
    environment = folder / "environment"
    quietly = {"check": True, "capture_output": True, "text": True, "cwd": ROOT}
    wheels = folder / "wheels"
    subprocess.run([uv, "build", "--wheel", "--quiet", "--out-dir", wheels], **quietly)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], **quietly)
    made = Installed(environment)
    [wheel] = wheels.glob("*.whl")
    alone = ["--quiet", "--no-config", "--no-deps", "--python", made.python]
    subprocess.run([uv, "pip", "install", *alone, wheel], **quietly)
    packages = sysconfig.get_path("purelib")
    [site] = (environment / "lib").glob("python*/site-packages")
    (site / "others.pth").write_text(f"{packages}\n")
    return made
