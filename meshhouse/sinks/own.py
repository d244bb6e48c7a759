"""A Python function of the repository as a sink.

Belongs here: loading a file of `sinks/`, and calling its function. Not here: which files may be
named (repository/sinks.py).
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from meshhouse.errors import MeshError
from meshhouse.repository import Repository
from meshhouse.repository.sinks import FOLDER
from meshhouse.sinks.delivery import Change, Delivery

FUNCTION = "deliver"


class OwnSink:
    """The function `deliver(publication, rows)` of one file."""

    def __init__(self, repository: Repository, file: str) -> None:
        self._file = file
        self._path = repository.root / file
        self._inside = repository.root / FOLDER

    def position(self, product: str, recorded: int | None) -> int | None:
        """See `SinkWriter`."""
        return recorded

    def deliver(self, delivery: Delivery, rows: Iterator[Change]) -> None:
        """See `SinkWriter`."""
        if not self._path.is_file() or self._inside.resolve() not in self._path.resolve().parents:
            raise MeshError(f"there is no file `{self._file}` in the repository. Write it.")
        try:
            self._load()(delivery, rows)
        except MeshError:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - any code of the repository
            raise MeshError(self._described(error)) from None

    def _load(self) -> Callable[..., Any]:
        # Not importlib: it would leave __pycache__ in a folder that people review.
        module = ModuleType(f"meshhouse_sink_{self._path.stem}")
        module.__file__ = str(self._path)
        exec(compile(self._path.read_text("utf-8"), str(self._path), "exec"), module.__dict__)  # noqa: S102 - the repository's own code, like its macros
        function = getattr(module, FUNCTION, None)
        if not callable(function):
            raise MeshError(
                f"there is no function `{FUNCTION}(publication, rows)` in `{self._file}`."
            )
        return function

    def _described(self, error: BaseException) -> str:
        """The kind of error and its line; its text is left out, as it may hold a password."""
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename == str(self._path)
        ]
        line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
        where = f" in line {line}" if line else ""
        return (
            f"`{self._file}` failed with {type(error).__name__}{where}. To have a text shown, "
            "raise meshhouse.errors.MeshError."
        )
