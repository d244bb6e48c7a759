"""Files that a command writes where the user wants them.

Belongs here: the file to replace, its mode, and the error if it cannot be written. Not here:
replacing a file in one step (meshhouse/files.py), or the content (formats.py).
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from meshhouse import files
from meshhouse.errors import MeshError, UsageError
from meshhouse.modes import mode_of_new_file


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Opens a file that replaces `path` when the block ends without an error.

    After any failure, including Ctrl-C, `path` is unchanged. A pipe or a device is written
    directly.

    Raises:
        UsageError: `path` is a folder.
        MeshError: the file cannot be written.
    """
    if path.is_dir():
        raise UsageError(f"`{path}` is a folder. Name a file in it.")
    if path.exists() and not path.is_file():
        with path.open("wb") as device:
            yield device
        return
    final = path.resolve()  # a link keeps pointing to its file
    try:
        mode = stat.S_IMODE(final.stat().st_mode) if final.exists() else mode_of_new_file()
        with files.replacing(final, mode) as file:
            yield file
    except OSError as error:
        raise MeshError(
            f"`{path}` cannot be written: {error.strerror or error}. An existing file is unchanged."
        ) from error
