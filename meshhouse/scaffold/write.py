"""Writes new files and changes of declarations, all of them or none, and overwrites nothing.

Belongs here: the refusal to overwrite, one editing call at a time, and taking back what a failed
call has written. Not here: what is written (templates.py), or replacing one file
(meshhouse/files.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from meshhouse.errors import MeshError, UsageError
from meshhouse.files import replace
from meshhouse.locks import lock
from meshhouse.modes import mode_of_new_file
from meshhouse.repository import Repository, display_path

_LOCK = "declarations.lock"


@contextmanager
def editing(repository: Repository) -> Iterator[Repository]:
    """Waits until no other call edits declarations; yields the repository, read again.

    An edit must be made from what is read inside. Otherwise, of two calls that extend one file at
    the same time, the last would write it without the entry of the first.
    """
    with lock(repository.home / _LOCK):
        yield Repository(repository.root)


def write_changes(
    repository: Repository, domain: str, new: Mapping[Path, str], changed: Mapping[Path, str]
) -> None:
    """Writes new files and changes others; takes all of it back if the domain is broken by it.

    Args:
        repository: from `editing`.
        domain: the domain that is read again afterwards.
        new: files that do not exist.
        changed: files that exist -> their new text.

    Raises:
        UsageError: a new file exists, or the domain would be broken; nothing is changed.
        MeshError: a new file cannot be written; nothing is changed.
    """
    check_new(new)
    before = {path: path.read_bytes().decode() for path in changed}
    undo: list[Callable[[], object]] = []
    try:
        undo.append(write_new(new))
        for path, text in changed.items():
            undo.append(lambda path=path, text=text: _put_back(path, text, before[path]))
            replace(path, text)
        if problems := Repository(repository.root).reading(domain).problems:
            raise UsageError(f"Nothing was written: {problems[0]}")
    except BaseException:
        for each in reversed(undo):
            each()
        raise


def _put_back(path: Path, written: str, before: str) -> None:
    """Restores a file, unless an editor has saved other content meanwhile."""
    if path.read_bytes() == written.encode():
        replace(path, before)


def check_new(paths: Mapping[Path, str]) -> None:
    """Refuses to overwrite.

    Raises:
        UsageError: one of the files exists, or cannot exist because a file has a folder's name.
    """
    for path in paths:
        if os.path.lexists(path):
            raise UsageError(
                f"{display_path(path)} exists already, and is never overwritten. Remove it first, "
                "or choose another name."
            )
        for folder in path.parents:
            if os.path.lexists(folder):
                if not folder.is_dir():
                    raise UsageError(
                        f"{display_path(folder)} is not a folder, so nothing can be written below "
                        "it. Rename it, or choose another name."
                    )
                break


def write_new(files: Mapping[Path, str]) -> Callable[[], None]:
    """Writes new files and their folders. After a failure, or Ctrl-C, none of them is left.

    Returns:
        A function that takes them back.

    Raises:
        UsageError: see `check_new`; nothing was written.
        MeshError: a file cannot be written.
    """
    check_new(files)
    made: list[Path] = []
    try:
        for path, text in files.items():
            _folder(path.parent, made)
            with path.open("x", encoding="utf-8", newline="") as file:
                made.append(path)
                file.write(text)
            # The process may have a stricter umask, for the mesh's data.
            path.chmod(mode_of_new_file())
    except OSError as error:
        _remove(made)
        what = display_path(Path(error.filename)) if error.filename else "A file"
        raise MeshError(
            f"{what} cannot be written: {error.strerror}. Nothing was written; correct this and "
            "run the same command again."
        ) from error
    except BaseException:
        _remove(made)
        raise
    return lambda: _remove(made)


def _remove(made: list[Path]) -> None:
    for each in reversed(made):
        with suppress(OSError):  # a folder may hold a file of another program by now
            each.rmdir() if each.is_dir() else each.unlink()


def _folder(folder: Path, made: list[Path]) -> None:
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    mode = mode_of_new_file()
    for each in reversed(missing):
        each.mkdir()
        made.append(each)
        each.chmod(mode | (mode & 0o444) >> 2)
