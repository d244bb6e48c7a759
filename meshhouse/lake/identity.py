"""Which lake this is, and in which folder it is.

Belongs here: a lake's identity, and whether its folder was moved, was copied, or is visible under
two paths. Not here: rewriting the paths in the lake's files (relocate.py).

Iceberg's metadata holds absolute paths. So a lake stores its id and its folder in a file beside
the catalog. When a lake is opened in another folder, the paths in its files are rewritten before
anything else. Files in the former folder do not change.
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
    """What the identity file of a lake says."""

    id: str | None
    """None for a lake made by a version that stored no id."""
    home: str
    inode: int | None = None
    """Inode of the folder `lake`: a moved folder keeps its inode, a copy gets another one."""
    view: str = ""
    """The mount namespace, such as a container's, in which `home` is a path."""
    earlier: dict[str, int | None] = field(default_factory=dict)
    """Former folders of the lake -> the inode that it had there."""


def own_identity(home: Path, lake_id: str | None = None) -> Identity:
    """The identity of the lake in a folder, as seen by this process."""
    return Identity(lake_id or uuid.uuid4().hex, str(home), _inode(home), _view())


def note_identity(home: Path, identity: Identity) -> None:
    """Writes an identity; a crash leaves the old one or the new one."""
    files.replace(home / IDENTITY, json.dumps(asdict(identity), indent=1))


def identity_of(home: Path) -> Identity | None:
    """The identity of the lake in a folder; derived from its catalog if there is no file.

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
    """The identity of a lake without a file: the paths in its catalog name its folder."""
    if not catalog.exists():
        return None
    query = "select metadata_location from iceberg_tables where catalog_name = 'mesh'"
    # `immutable`: SQLite then writes no file beside the catalog, which may have another owner.
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
    """Rewrites the paths in a lake's files if they name a former folder.

    Args:
        home: the mesh's data folder, as an absolute path without links.
        confirmed: the user says that the lake has moved; this process need not be able to see it.

    Returns:
        Whether this call rewrote the paths.

    Raises:
        MeshError: this lake is also in use under another path, or its paths cannot be rewritten.
    """
    known = identity_of(home)
    if known is None or known.home == str(home):
        return False
    try:
        with lock(home / "locks" / "adopt"):
            known = identity_of(home)  # another process may have done it meanwhile
            if known is None or known.home == str(home):
                return False
            _adopt(home, known, confirmed)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise MeshError(
            f"The lake in {home} was last used as {known.home}, so its files name files there. "
            f"Its owner must run `mesh adopt` once; you lack the right to write {error.filename}."
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
    """Whether the lake is a copy: the original is still in the former folder. Else it has moved.

    Args:
        home: the present folder of the lake.
        known: the lake's identity file, which names the former folder.
        confirmed: the user says that the lake has moved.
        is_bound: files of the lake hold its folder's path, so it can be used under one path only.

    Raises:
        MeshError: both paths lead to the same files, or might do so.
    """
    there = Path(known.home)
    is_same_folder = known.inode is not None and known.inode == _inode(home)
    try:
        # A link from the former folder to the present one is not a second lake.
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
    # Another container may still use this folder, mounted at `there`.
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
    """Refuses a copy made of hard links: a write to one lake would change the other one."""
    if (home / CATALOG).exists() and (home / CATALOG).stat().st_nlink > 1:
        raise MeshError(
            f"{home / CATALOG} is a hard link: a lake elsewhere has the same file. Copy the "
            "folder with `cp -a`, or make a copy with `mesh backup` and `mesh restore`."
        )


def clean(home: Path | str) -> Path:
    """A folder as an absolute path without links, as identity files store it.

    Raises:
        UsageError: the path holds a control character, which Iceberg's metadata cannot hold.
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
        return os.readlink("/proc/self/ns/mnt")  # noqa: PTH115 - the target is not a path
    except OSError:
        return ""
