"""File modes: which other users of the machine may read a mesh's home.

Belongs here: the mode of the home, and the umask of the process, which follows from it. Not
here: finding the home (repository/read.py), or its content.

A new home is private to its owner. To share a mesh, the owner changes the mode of the folder
once (`chmod -R g+rwXs .mesh`); files and folders that are created later follow it.
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
"""The umask that the process was started with; None until `keep_private` replaced it."""


def keep_private(home: Path) -> None:
    """Sets the umask of this process so that new files in a home are as private as the home.

    Old versions created homes that everybody could read, although no owner had asked for it.
    Such a home is made private, with a warning. After that, its mode is the owner's choice.

    Args:
        home: the mesh's data folder, even if it does not exist yet.
    """
    with suppress(PermissionError):  # another user owns the home and decides its mode
        if home.is_dir() and not _is_decided(home) and _is_ours(home):
            _close(home)
    global _users_umask
    before = os.umask(_OTHERS & ~_shared(home))
    if _users_umask is None:
        _users_umask = before


def mode_of_new_file() -> int:
    """The mode of a file that a user asked for outside the home, by the user's own umask."""
    if _users_umask is not None:
        return 0o666 & ~_users_umask
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


def use_users_umask() -> None:
    """From now on, new files have the user's own umask: for a folder outside the home."""
    if _users_umask is not None:
        os.umask(_users_umask)


def _close(home: Path) -> None:
    mode = stat.S_IMODE(home.stat().st_mode)
    home.chmod(mode & ~_OTHERS)
    _LOG.warning(
        "mesh: %s had mode %o, so other users could read it; now only its owner can. "
        "To share it with its group: chmod -R g+rwXs %s", home, mode, shlex.quote(str(home)),
    )  # fmt: skip


def _is_decided(home: Path) -> bool:
    """Whether the owner has chosen the mode, rather than a umask.

    Usual umasks do not remove all access of others, and never set the setgid bit, by which new
    files get the group of the folder.
    """
    mode = home.stat().st_mode
    return not mode & stat.S_IRWXO or bool(mode & stat.S_ISGID) or (home / IDENTITY).exists()


def _is_ours(home: Path) -> bool:
    names = {path.name for path in home.iterdir()}
    return home.stat().st_uid == os.geteuid() and (not names or bool(names & _MADE_BY_MESH))


def _shared(home: Path) -> int:
    """The mode bits of group and others in the home; none unless its owner has chosen them."""
    try:
        if not _is_decided(home):
            return 0
        shared = _OTHERS & home.stat().st_mode
        lake = home / "lake"
        return shared & lake.stat().st_mode if lake.exists() else shared
    except OSError:
        return 0
