"""A Python function of the repository as a sink.

Belongs here: loading a file of `sinks/`, and calling its function. Not here: which files may be
named (repository/sinks.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from meshhouse.errors import MeshError
from meshhouse.own_code import failure, load_function
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

    def stored_at(self, product: str) -> datetime | None:
        """See `SinkWriter`."""
        return None

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
        function = load_function(self._path, FUNCTION)
        if function is None:
            raise MeshError(
                f"there is no function `{FUNCTION}(publication, rows)` in `{self._file}`."
            )
        return function

    def _described(self, error: BaseException) -> str:
        """The kind of error and its line; its text is left out, as it may hold a password."""
        return (
            f"`{self._file}` failed with {failure(self._path, error)}. To have a text shown, "
            "raise meshhouse.errors.MeshError."
        )
