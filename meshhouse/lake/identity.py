"""Which lake this is, and in which folder it lives.

Belongs here: a lake's identity, and finding out whether its folder was moved, copied or is
seen under two paths. Not here: rewriting the paths in its files (relocate.py).

Iceberg's metadata holds absolute paths. So a lake notes its id and its folder beside the
catalog. A lake that is opened elsewhere is adopted first: the paths in its own files are
rewritten. No file of the folder that it came from is changed.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import sqlite3
import uuid
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from meshhouse import files
from meshhouse.errors import MeshError, UsageError
from meshhouse.locks import lock
from meshhouse.modes import IDENTITY

CATALOG = Path("lake", "catalog.db")

_LOG = logging.getLogger("meshhouse.lake")
_TABLE_METADATA = re.compile(r"(?:file:(?://)?)?(/.*)/lake/[^/]+/[^/]+/metadata/[^/]+")


@dataclass(frozen=True)
class Identity:
    """What a lake notes about itself."""

    id: str | None
    """None for a lake that was made before lakes noted an id."""
    home: str
    inode: int | None = None
    """Of the folder `lake`: a moved folder keeps its number, a copy has another one."""
    view: str = ""
    """The mount namespace that `home` is a path in, such as that of a container."""
    earlier: dict[str, int | None] = field(default_factory=dict)
    """Folders where the lake was before, with the inode that it had there."""


def own_identity(home: Path, lake_id: str | None = None) -> Identity:
    """The identity of the lake in a folder, as seen by this process."""
    return Identity(lake_id or uuid.uuid4().hex, str(home), _inode(home), _view())


def note_identity(home: Path, identity: Identity) -> None:
    """Writes an identity; a crash leaves the old one or the new one."""
    files.replace(home / IDENTITY, json.dumps(asdict(identity), indent=1))


def identity_of(home: Path) -> Identity | None:
    """The identity of the lake in a folder; derived from its catalog if none was noted.

    Returns:
        None if there is no lake, or if all its tables are in an object store.
    """
    try:
        noted = json.loads((home / IDENTITY).read_text())
        return Identity(**noted)
    except FileNotFoundError:
        return _derived(home / CATALOG)
    except (ValueError, TypeError) as error:
        raise MeshError(
            f"{home / IDENTITY} is damaged. Remove this file: the next command writes it again."
        ) from error


def _derived(catalog: Path) -> Identity | None:
    """Where a lake lived that has no note: its catalog names metadata files by their paths."""
    if not catalog.exists():
        return None
    query = "select metadata_location from iceberg_tables where catalog_name = 'mesh'"
    # `immutable`: SQLite then writes nothing, not even beside a catalog of somebody else.
    for mode in ("immutable=1", "mode=ro"):
        try:
            with closing(sqlite3.connect(f"{catalog.as_uri()}?{mode}", uri=True)) as connection:
                rows = connection.execute(query).fetchall()
        except sqlite3.Error:
            continue  # empty, damaged or still in the write-ahead log: the catalog explains it
        for (location,) in rows:
            if found := _TABLE_METADATA.fullmatch(location or ""):
                return Identity(None, found[1])
    return None


def settle(home: Path, confirmed: bool = False) -> bool:
    """Makes sure that the lake in a folder names files of this folder only.

    Args:
        home: the mesh's data folder, as an absolute path without links.
        confirmed: the lake has moved for good, even if that cannot be seen from here.

    Returns:
        Whether it was adopted by this call.

    Raises:
        MeshError: this lake is also in use under another path, or cannot be adopted.
    """
    known = identity_of(home)
    if known is None or known.home == str(home):
        return False
    try:
        with lock(home / "locks" / "adopt"):
            known = identity_of(home)  # somebody may have been quicker
            if known is None or known.home == str(home):
                return False
            _adopt(home, known, confirmed)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise MeshError(
            f"The lake in {home} was last used as {known.home}, so its files name files there. "
            f"Its owner must run `mesh adopt` once; you may not write to {error.filename}."
        ) from error
    return True


def _adopt(home: Path, known: Identity, confirmed: bool) -> None:
    from meshhouse.lake.moves import Move
    from meshhouse.lake.relocate import names_home, relocate

    move = Move(known.home, str(home), home)
    is_bound = names_home(home, move)
    is_copy = _is_copy(home, known, confirmed, is_bound)
    _check_links(home)
    relocate(home, [move], may_be_remote=not is_copy)
    own = own_identity(home, None if is_copy else known.id)
    earlier = {} if is_copy else {**known.earlier, known.home: known.inode}
    note_identity(home, replace(own, earlier=earlier))
    if is_copy:
        _LOG.warning(
            "mesh: %s is a copy of the lake in %s. From now on it is a lake by itself: nothing "
            "that is done here changes the other one.", home, known.home,
        )  # fmt: skip
    elif is_bound:
        _LOG.warning("mesh: the lake has moved from %s to %s.", known.home, home)


def _is_copy(home: Path, known: Identity, confirmed: bool, is_bound: bool) -> bool:
    """Whether the lake is a copy of one that is still where this one was; else it has moved.

    Args:
        home: where the lake is now.
        known: what it has noted about itself.
        confirmed: it has moved for good.
        is_bound: files of the lake name the folder, so it can be used under one path only.

    Raises:
        MeshError: both paths lead to the same files, or may do so.
    """
    there = Path(known.home)
    is_same_folder = known.inode is not None and known.inode == _inode(home)
    try:
        # A link that was left where the lake was leads here, so it is not a second path.
        if (there / CATALOG).exists() and there.resolve() != home:
            if (there / "lake").samefile(home / "lake"):
                if not is_bound:
                    return False
                raise MeshError(
                    f"{home} and {there} are the same lake, seen under two paths. Its files name "
                    f"files in {there}: set MESH_HOME={there}, or mount the lake there."
                )
            other = identity_of(there)
            return other is None or known.id is None or other.id in (None, known.id)
    except PermissionError:
        return not is_same_folder
    if confirmed or not is_bound:
        return False
    # Another container may have this same folder mounted at `there`.
    is_shared = (
        known.view != _view() if is_same_folder else known.earlier.get(str(home)) == _inode(home)
    )
    if is_shared:
        raise MeshError(
            f"The lake in {home} was last used as {there}, by a program that sees other folders, "
            f"such as one in a container. If {there} is still used, mount the lake under the same "
            "path here and set MESH_HOME to it. If the lake has moved for good, run `mesh adopt`."
        )
    return False


def _check_links(home: Path) -> None:
    """Refuses a copy made of hard links: whatever is written to one is written to the other."""
    if (home / CATALOG).exists() and (home / CATALOG).stat().st_nlink > 1:
        raise MeshError(
            f"{home / CATALOG} is a hard link: a lake elsewhere has the same file. Copy the "
            "folder as `cp -a` does, or make a copy with `mesh backup` and `mesh restore`."
        )


def clean(home: Path | str) -> Path:
    """A folder as an absolute path without links, as identities note it.

    Raises:
        UsageError: it holds a character that no path in Iceberg's metadata can hold.
    """
    path = Path(home).resolve()
    if any(ord(letter) < 32 for letter in str(path)):
        raise UsageError(f"{str(path)!r} holds a control character. Use another MESH_HOME.")
    return path


def _inode(home: Path) -> int | None:
    try:
        return (home / "lake").stat().st_ino
    except FileNotFoundError:
        return None


def _view() -> str:
    try:
        return os.readlink("/proc/self/ns/mnt")  # noqa: PTH115 - the target is no path
    except OSError:
        return ""
