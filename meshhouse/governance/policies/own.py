"""Rules that one repository writes in Python.

Belongs here: loading a file of `policies/`, and calling its function so that no fault in it stops
`mesh check`. Not here: which files are named (repository/policies.py).
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from meshhouse.governance.policies.rule import Breach, DomainFacts, Mesh

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
        # Not importlib: it would leave __pycache__ in a folder that people review.
        module = ModuleType(f"meshhouse_policy_{self._path.stem}")
        module.__file__ = str(self._path)
        exec(compile(self._path.read_text("utf-8"), str(self._path), "exec"), module.__dict__)  # noqa: S102 - the repository's own code, like its macros
        function = getattr(module, FUNCTION, None)
        if not callable(function):
            raise RuleFailed(f"there is no function `{FUNCTION}(domain, mesh)` in it.")
        return function

    def _described(self, error: BaseException) -> str:
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename == str(self._path)
        ]
        line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
        where = f" in line {line}" if line else ""
        text = " ".join(str(error).split())
        return (
            f"{type(error).__name__}{where}: {text}" if text else f"{type(error).__name__}{where}."
        )
