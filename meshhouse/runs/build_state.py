"""From what the tables in a domain's build schema were built.

Belongs here: when an incremental model may be added to, and when it must be built from
nothing. Not here: building (run.py), or whether anything must be built (plan.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from meshhouse.files import replace


class BuildState:
    """Product -> what its build stands on: code, and inputs that rows were not only added to.

    An incremental model adds to its table. The table is wrong once other code would build
    it, or once rows that it was made from have changed or gone: then it is built from nothing.
    What a build stands on is a text that begins with the version of its code and a space.
    """

    def __init__(self, folder: Path) -> None:
        """Of the domain whose builds an engine keeps in `folder`."""
        self._path = folder / "built.json"

    def forget_outdated(self, grounds: Mapping[str, str]) -> bool:
        """Whether any product stands on something else now (or on nothing); forgets those."""
        built = self._read()
        outdated = [name for name, ground in grounds.items() if built.get(name) != ground]
        if outdated:
            self._write({name: built[name] for name in built if name not in outdated})
        return bool(outdated)

    def forget_other_code(self, versions: Mapping[str, str]) -> None:
        """Forgets the products that code of another version than these has built."""
        built = self._read()
        kept = {name: ground for name, ground in built.items()
                if ground.startswith(f"{versions.get(name)} ")}  # fmt: skip
        if kept != built:
            self._write(kept)

    def remember(self, grounds: Mapping[str, str]) -> None:
        """Notes what the builds of these products stand on."""
        self._write({**self._read(), **grounds})

    def _read(self) -> dict[str, str]:
        return json.loads(self._path.read_text()) if self._path.exists() else {}

    def _write(self, built: Mapping[str, str]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        replace(self._path, json.dumps(dict(built), indent=1, sort_keys=True))


def forget_builds(folder: Path) -> None:
    """Lets the next run of a domain build everything from nothing.

    Args:
        folder: the engine's, of the domain's builds.
    """
    (folder / "built.json").unlink(missing_ok=True)
