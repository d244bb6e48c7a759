"""Files that a command writes for a person: the whole new content, or the old one.

Belongs here: replacing a file at once. Not here: what is written.
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
    """Opens a file that takes the place of `path` when the block ends well.

    After any failure, Ctrl-C included, `path` is what it was. A pipe or a device is written
    to directly.

    Raises:
        UsageError: `path` is a folder.
        MeshError: it cannot be written.
    """
    if path.is_dir():
        raise UsageError(f"`{path}` is a folder; give the name of a file in it.")
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
            f"`{path}` cannot be written: {error.strerror or error}. What was there is unchanged."
        ) from error
    finally:
        with suppress(OSError):  # it was never there, or the disk has gone away
            beside.unlink()
