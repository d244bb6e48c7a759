"""What the code of earlier publications was made of.

Belongs here: remembering the parts of a code version, so that a later run can name the files that
changed. Not here: which parts there are (repository/code.py), or comparing them (domain_plan.py).

The ledger has the code version alone, which is a digest. The notes are on this machine: where
another one published, a plan says that the code changed, and not which files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from meshhouse.files import replace
from meshhouse.repository import Repository
from meshhouse.repository.environment import workspace

_KEPT = 200
"""Code versions of a domain, the newest ones. One takes about 2 KB."""
_FILE = "code.json"


class CodeNotes:
    """Code version -> name of each part -> its digest, of one domain."""

    def __init__(self, repository: Repository, domain: str) -> None:
        """Of the environment in use, and of production behind it."""
        homes = [repository.workspace, workspace(repository.home, "")]
        self._paths = [home / "build" / domain / _FILE for home in dict.fromkeys(homes)]

    def parts_of(self, code_version: str) -> Mapping[str, str]:
        """Parts of a code version; empty where this machine has not published it."""
        found = (self._read(at).get(code_version) for at in range(len(self._paths)))
        return next(filter(None, found), {})

    def remember(self, parts: Mapping[str, Mapping[str, str]]) -> None:
        """Notes the parts of code versions that were published."""
        before = {key: each for key, each in self._read(0).items() if key not in parts}
        kept = list({**before, **parts}.items())[-_KEPT:]
        self._paths[0].parent.mkdir(parents=True, exist_ok=True)
        replace(self._paths[0], json.dumps(dict(kept), indent=1))

    def _read(self, at: int) -> dict[str, dict[str, str]]:
        try:
            return json.loads(self._paths[at].read_text())
        except (OSError, ValueError):  # without notes a plan names no files, and a run goes on
            return {}
