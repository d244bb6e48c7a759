"""Writes new files, all of them or none, and overwrites nothing.

Belongs here: the refusal to overwrite, and taking back what a failed call has written. Not here:
what is written (templates.py), or changes of files that exist (meshhouse/files.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from meshhouse.errors import MeshError, UsageError
from meshhouse.modes import mode_of_new_file
from meshhouse.repository import display_path


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
