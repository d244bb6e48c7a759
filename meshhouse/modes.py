"""Who else on the machine may read a mesh's folder.

Belongs here: the mode of the home, and the process's umask that follows from it. Not here:
finding the home (repository/), or what is in it.

A new home is for its owner alone. Whoever wants to share a mesh gives the folder another mode
once (`chmod -R g+rwXs .mesh`); files and folders that are made later follow it.
"""

from __future__ import annotations

import logging
import os
import shlex
import stat
from contextlib import suppress
from pathlib import Path

IDENTITY = Path("lake", "identity.json")
"""The lake's note about itself (lake/identity.py), whose import would cost each command 0.3 s."""

_LOG = logging.getLogger("meshhouse.modes")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_MADE_BY_MESH = {"events", "lake", "locks"}
_users_umask: int | None = None
"""The umask with which the process was started, once `keep_private` has set another one."""


def keep_private(home: Path) -> None:
    """Sets this process's umask so that what it makes in a home is as private as the home.

    Earlier versions made a home readable for everybody, though nobody had chosen that. Such a
    home is closed to all but its owner, and a warning says so. Afterwards its mode is the
    owner's choice.

    Args:
        home: the mesh's data folder; it may not exist yet.
    """
    with suppress(PermissionError):  # of somebody else, who decides
        if home.is_dir() and not _is_decided(home) and _is_ours(home):
            _close(home)
    global _users_umask
    before = os.umask(_OTHERS & ~_shared(home))
    if _users_umask is None:
        _users_umask = before


def mode_of_new_file() -> int:
    """The mode of a file that a person asked for, outside the home: as the person's umask says."""
    if _users_umask is not None:
        return 0o666 & ~_users_umask
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


def _close(home: Path) -> None:
    mode = stat.S_IMODE(home.stat().st_mode)
    home.chmod(mode & ~_OTHERS)
    _LOG.warning(
        "mesh: %s had mode %o, so others could use it, and is now closed to all but its owner. "
        "To share it with its group: chmod -R g+rwXs %s", home, mode, shlex.quote(str(home)),
    )  # fmt: skip


def _is_decided(home: Path) -> bool:
    """Whether the owner chose the mode.

    No usual umask takes all access from strangers, and none sets the bit by which new files
    get the group of the folder.
    """
    mode = home.stat().st_mode
    return not mode & stat.S_IRWXO or bool(mode & stat.S_ISGID) or (home / IDENTITY).exists()


def _is_ours(home: Path) -> bool:
    names = {path.name for path in home.iterdir()}
    return home.stat().st_uid == os.geteuid() and (not names or bool(names & _MADE_BY_MESH))


def _shared(home: Path) -> int:
    """What others may do in the home; nothing where no owner has decided it."""
    try:
        if not _is_decided(home):
            return 0
        shared = _OTHERS & home.stat().st_mode
        lake = home / "lake"
        return shared & lake.stat().st_mode if lake.exists() else shared
    except OSError:
        return 0
