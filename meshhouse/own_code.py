"""Functions in Python that a repository brings itself: own rules, own sinks.

Belongs here: loading one function of a file, and the line at which its code failed. Not here: which
files may be named (repository/), or what a function gets and returns (its callers).
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any


def load_function(path: Path, name: str) -> Callable[..., Any] | None:
    """The function of a file; None if the file defines none of this name.

    Raises:
        Exception: whatever the file's own code raises, also SystemExit and SyntaxError.
    """
    # Not importlib: it would leave __pycache__ in a folder that people review.
    module = ModuleType(f"meshhouse_own_{path.stem}")
    module.__file__ = str(path)
    exec(compile(path.read_text("utf-8"), str(path), "exec"), module.__dict__)  # noqa: S102 - the repository's own code, like its macros
    function = getattr(module, name, None)
    return function if callable(function) else None


def failure(path: Path, error: BaseException) -> str:
    """The kind of an error and the line of the file where it happened, without its text."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(path)
    ]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    return f"{type(error).__name__} in line {line}" if line else type(error).__name__
