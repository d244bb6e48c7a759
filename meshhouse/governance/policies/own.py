"""Rules that one repository writes in Python.

Belongs here: loading a file of `policies/`, and calling its function so that no fault in it stops
`mesh check`. Not here: which files are named (repository/policies.py).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from meshhouse.governance.policies.rule import Breach, DomainFacts, Mesh
from meshhouse.own_code import failure, load_function

FUNCTION = "check"


class RuleFailed(Exception):
    """A rule in Python cannot be loaded, or failed; the message says where."""


class OwnCheck:
    """The function of one file, loaded at its first use."""

    def __init__(self, path: Path) -> None:
        """Takes the file, which `repository/policies.py` found inside the repository."""
        self._path = path
        self._function: Callable[..., Any] | None = None
        self._failed: RuleFailed | None = None

    def __call__(self, domain: DomainFacts, mesh: Mesh) -> list[Breach]:
        """The breaches of a domain.

        Raises:
            RuleFailed: the file or its function has a fault.
        """
        if self._failed:
            raise self._failed
        try:
            if self._function is None:
                self._function = self._load()
            found = list(self._function(domain, mesh) or ())
        except RuleFailed as error:
            self._failed = error
            raise
        except (Exception, SystemExit) as error:
            self._failed = RuleFailed(self._described(error))
            raise self._failed from error
        for each in found:
            if not isinstance(each, Breach):
                raise RuleFailed(
                    f"`{FUNCTION}` yielded a {type(each).__name__}; it must yield breaches."
                )
        return found

    def _load(self) -> Callable[..., Any]:
        function = load_function(self._path, FUNCTION)
        if function is None:
            raise RuleFailed(f"there is no function `{FUNCTION}(domain, mesh)` in it.")
        return function

    def _described(self, error: BaseException) -> str:
        text = " ".join(str(error).split())
        failed = failure(self._path, error)
        return f"{failed}: {text}" if text else f"{failed}."
