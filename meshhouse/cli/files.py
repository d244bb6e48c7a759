"""Output files of commands: they have the whole new content, or keep the old one.

Belongs here: replacing a file in one step. Not here: the content (formats.py).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

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
    beside = final.with_name(f".{final.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if final.exists():
            shutil.copymode(final, beside)
        else:
            beside.chmod(mode_of_new_file())
        beside.replace(final)
    except OSError as error:
        raise MeshError(
            f"`{path}` cannot be written: {error.strerror or error}. An existing file is unchanged."
        ) from error
    finally:
        with suppress(OSError):  # the file was never created, or the disk is gone
            beside.unlink()
