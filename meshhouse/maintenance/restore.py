"""Restore: makes a mesh from a backup, in any folder.

Belongs here: copying a backup out, rewriting the paths in its metadata, and renaming the result
to the mesh's home. Not here: the content of a backup (backup.py), or how paths are rewritten
(lake/relocate.py).

Everything is made in a folder beside the mesh's home, and that folder is renamed at the end.
An interrupted restore leaves no home; the next one starts from the beginning.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote

from meshhouse.engines.builds import work_lake
from meshhouse.errors import MeshError, UsageError
from meshhouse.lake.identity import note_identity, own_identity
from meshhouse.lake.moves import Move, mapped
from meshhouse.lake.object_store import warehouse
from meshhouse.lake.relocate import relocate
from meshhouse.maintenance.bundle import Bundle, Hashed, Index, opened, put
from meshhouse.repository.environment import split_schema, workspace

_ESCAPES = str.maketrans({letter: f"\\{ord(letter):03o}" for letter in " \t\n\\"})
"""How Linux escapes characters of a path in its list of mounts."""

Say = Callable[[str], None]


def restore(
    home: Path, folder: str, overwrite: bool = False, say: Say = lambda line: None
) -> Index:
    """Makes a mesh from a backup.

    Tables that were in an object store go into the home or, if MESH_WAREHOUSE is set, into a new
    folder of that warehouse.

    Args:
        home: the data folder to create; must be empty or absent.
        folder: the folder of the backup, or `s3://bucket/folder`.
        overwrite: if the home is not empty, rename it and keep it beside the new one.
        say: is called with progress messages, which include sizes.

    Returns:
        The index of the restored backup.

    Raises:
        UsageError: there is no complete backup, or the home is a mount point or is not empty.
        MeshError: the backup is damaged, or the disk is full.
    """
    bundle = Bundle(folder)
    index = bundle.index()
    if index is None:
        raise UsageError(f"{bundle.place} does not hold a complete backup. Name another folder.")
    if _is_mount_point(home):
        inner = home / "mesh"
        raise UsageError(
            f"{home} is a mount point, which a restored folder cannot replace. Restore into a "
            f"folder inside it, and use the mesh there: set MESH_HOME={quote(str(inner))}."
        )
    if _is_taken(home) and not overwrite:
        raise UsageError(
            f"{home} is not empty. Set MESH_HOME to another folder, or restore with `--overwrite`, "
            "which renames the old folder and keeps it."
        )
    with _folder_beside(home) as made:
        _check_room(made, index)
        _copy_out(bundle, index, made, say)
        _make_partitions(made)
        _rename_places(index, made, home, say)
        _show(made, home, say)
    return index


def _is_taken(home: Path) -> bool:
    return home.exists() and (not home.is_dir() or any(home.iterdir()))


def _is_mount_point(home: Path) -> bool:
    """Whether something is mounted here; a mount point can be neither renamed nor removed."""
    if home.is_mount():
        return True
    # Only Linux's list of mounts contains a folder that is mounted from the same file system.
    mounts = Path("/proc/self/mountinfo")
    if not mounts.exists():
        return False
    name = str(home).translate(_ESCAPES)
    lines = mounts.read_text("utf-8", "surrogateescape").split("\n")
    return any(line.split(" ")[4:5] == [name] for line in lines)


@contextmanager
def _folder_beside(home: Path) -> Iterator[Path]:
    """An empty folder that no other restore uses."""
    made = home.with_name(f".{home.name.lstrip('.')}.restoring")
    made.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(made, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise MeshError(f"Another restore to {home} is running. Wait for its end.") from error
        for each in made.iterdir():  # files of an interrupted restore
            shutil.rmtree(each) if each.is_dir() else each.unlink()
        try:
            yield made
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
    finally:
        os.close(descriptor)


def _check_room(made: Path, index: Index) -> None:
    free = shutil.disk_usage(made).free
    if free < index.bytes:
        raise MeshError(
            f"The backup needs {index.bytes / 2**20:,.0f} MiB, but only {free / 2**20:,.0f} MiB "
            f"are free on the disk of {made.parent}. Free space, then run the same command again."
        )


def _copy_out(bundle: Bundle, index: Index, made: Path, say: Say) -> None:
    done, reported = 0, 0
    for number, held in enumerate(index.files, start=1):
        bundle.copy_out(index, held, made)
        done += held.bytes
        if done - reported >= 2**28 or number == len(index.files):
            reported = done
            say(f"{number:,} of {len(index.files):,} files, {done / 2**20:,.1f} MiB, checked")


def _make_partitions(made: Path) -> None:
    """Creates the folders of partitions without events; a backup holds files only."""
    for topic in made.glob("events/*/topic.json"):
        for partition in range(json.loads(topic.read_text())["partitions"]):
            (topic.parent / str(partition)).mkdir(exist_ok=True)


def _rename_places(index: Index, made: Path, home: Path, say: Say) -> None:
    """Rewrites metadata for the new home, and moves tables of an object store to the new place."""
    target = warehouse()
    stores = [*_moved_builds(made, home, target), *_moved_buckets(made, home, target)]
    moves = [Move(index.home, str(home), made), *stores]
    if damaged := relocate(made, moves, may_be_remote=False):
        name = damaged[0].relative_to(made)
        raise MeshError(f"{name} in the backup cannot be read. Take another backup.")
    store = made / "store"
    if target and store.exists():
        say(f"copying tables to {target}")
        for path in sorted(each for each in store.rglob("*") if each.is_file()):
            new = mapped(f"s3://{path.relative_to(store).as_posix()}", stores)
            assert new is not None, path
            with opened(str(path)) as stream:
                put(new, Hashed(stream))
        shutil.rmtree(store)
    if (made / "lake" / "catalog.db").exists():
        _check_catalog(made / "lake" / "catalog.db")
        note_identity(made, replace(own_identity(made), home=str(home)))


def _moved_buckets(made: Path, home: Path, target: str | None) -> list[Move]:
    """One move for each bucket: into the home, or into a new folder of the warehouse."""
    folder = f"{target}/restored-{uuid.uuid4().hex}" if target else f"file://{home}/store"
    return [
        Move(f"s3://{path.name}", f"{folder}/{path.name}", path)
        for path in sorted((made / "store").glob("*"))
    ]


def _moved_builds(made: Path, home: Path, target: str | None) -> list[Move]:
    """One move for each build that published tables refer to: into this mesh's build folder.

    Readers and maintenance look for the files of builds only there.
    """
    moves = []
    for folder in sorted((made / "store").rglob("spark-builds/*")):
        old = f"s3://{folder.relative_to(made / 'store').as_posix()}"
        environment, domain = split_schema(folder.name.rpartition("-")[0])
        if target:
            builds = work_lake(workspace(made, environment), domain)
            builds.register_external({}, own="")  # an empty catalog: it marks where builds are
            moves.append(Move(old, builds.location, folder))
            continue
        new = work_lake(workspace(home, environment), domain).warehouse
        physical = made / new.relative_to(home)
        shutil.copytree(folder, physical, dirs_exist_ok=True)
        shutil.rmtree(folder)
        moves.append(Move(old, f"file://{new}", physical))
    return moves


def _check_catalog(catalog: Path) -> None:
    with closing(sqlite3.connect(catalog)) as connection:
        (answer,) = connection.execute("pragma integrity_check").fetchone()
    if answer != "ok":
        raise MeshError(f"The catalog in the backup is damaged ({answer}). Take another backup.")


def _show(made: Path, home: Path, say: Say) -> None:
    os.sync()
    if home.exists() and _is_taken(home):
        kept = home.with_name(f"{home.name}.replaced-{datetime.now(UTC):%Y%m%dT%H%M%S}")
        home.rename(kept)
        say(f"what was in {home} is kept in {kept}")
    elif home.exists():
        home.rmdir()
    made.rename(home)
