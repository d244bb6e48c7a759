"""Follows a page of docs/guides as a reader does: writes its files and runs its commands.

Belongs here: the blocks of a page. A block whose first line is a comment with a path is a file. A
block `sh` is run. A block `sh background` runs until the page ends.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.conftest import WARM, Mesh
from tests.support.tiny import ROOT

BLOCK = re.compile(r"^```(\w+)(?: (background))?\n(.*?)^```", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"(?:#|--) (\S+/\S+)\n")
_STATE = 'export -p > "$GUIDE_STATE"\n'


class Followed:
    """A page, followed in a mesh."""

    def __init__(self, mesh: Mesh, scratch: Path, replaced: Mapping[str, str]) -> None:
        """Takes a mesh, and a folder outside of it.

        Args:
            mesh: where the page is followed.
            scratch: for the command `mesh` and the variables that the page exports.
            replaced: text of the page -> what it is here, such as a port.
        """
        self.mesh = mesh
        self._replaced = replaced
        self._state = scratch / "state"
        self._state.touch()
        self._background: list[subprocess.Popen[bytes]] = []
        WARM.command(scratch)
        # `python` is the one with the platform, as after activating its environment.
        path = os.pathsep.join([str(scratch), str(Path(sys.executable).parent), os.environ["PATH"]])
        self._environment = {**mesh.environment, "PATH": path, "GUIDE_STATE": str(self._state)}

    def follow(self, page: str) -> list[str]:
        """Follows a page of docs/guides; returns what each block of commands printed."""
        text = (ROOT / "docs" / "guides" / page).read_text()
        for old, new in self._replaced.items():
            assert old in text, f"{old!r} is not in {page}"
            text = text.replace(old, new)
        printed = []
        for kind, background, block in BLOCK.findall(text):
            file = _FILE.match(block)
            if kind != "sh":
                assert file, f"neither commands nor a file: {block}"
                # A comment is a row of a CSV file.
                self.mesh.write(file[1], block.removeprefix(file[0]) if kind == "csv" else block)
            elif background:
                self._background.append(subprocess.Popen(
                    self._script(f"exec {block}"), shell=True, executable="/bin/bash",
                    cwd=self.mesh.root, env=self._environment, start_new_session=True,
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                ))  # fmt: skip
            else:
                printed.append(self.run(block))
        return printed

    def run(self, block: str) -> str:
        """Runs commands with the variables of earlier ones; each must succeed."""
        done = subprocess.run(
            self._script(f"set -e\n{block}{_STATE}"), shell=True, executable="/bin/bash",
            cwd=self.mesh.root, env=self._environment, check=False, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, f"{block}\n{done.stdout}"
        return done.stdout

    def stop(self) -> list[int]:
        """Stops what runs in the background as Ctrl-C does; returns the exit codes."""
        for each in self._background:
            os.kill(each.pid, signal.SIGINT)
        return [each.wait(60) for each in self._background]

    def _script(self, block: str) -> str:
        return f'. "$GUIDE_STATE"\n{block}'
