"""The folder that holds one backup, on a disk or in an object store.

Belongs here: the layout of a backup, and when it counts as complete. Not here: the content of a
backup (backup.py), or making a mesh from it (restore.py).

    <folder>/backup.json              the index: every file with its size and checksum
    <folder>/files-<id>/home/...      files of the mesh's home, by their paths there
    <folder>/files-<id>/store/...     files of an object store, by bucket and key

`backup.json` is written last and replaced atomically. So an interrupted backup never looks
complete, and with `--overwrite` the older backup stays usable until the new one is complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import urlsplit

from meshhouse.errors import MeshError, UsageError
from meshhouse.lake import storage
from meshhouse.lake.object_store import asking, bucket_and_key, client, is_remote

FORMAT = 1
_INDEX = "backup.json"
_FILES = re.compile(r"files-[0-9a-f]{32}")
_CHUNK = 1024 * 1024


@dataclass(frozen=True)
class Held:
    """One file of a backup."""

    path: str
    """`home/...` or `store/<bucket>/...`."""
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Index:
    """The content of a complete backup."""

    id: str
    home: str
    """The mesh's home at the time of the backup: paths in the metadata begin with it."""
    created_at: str
    files: tuple[Held, ...]
    not_included: tuple[str, ...] = ()
    format: int = FORMAT

    @property
    def bytes(self) -> int:
        """Total size of the files."""
        return sum(each.bytes for each in self.files)


@dataclass
class Hashed:
    """A stream that counts and hashes the bytes read from it."""

    stream: Any
    bytes: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    def read(self, count: int = -1) -> bytes:
        """The next bytes."""
        data = self.stream.read(count)
        self.digest.update(data)
        self.bytes += len(data)
        return data


@contextmanager
def opened(location: str) -> Iterator[Any]:
    """Opens a file of a folder or of an object store for reading.

    Raises:
        FileNotFoundError: the file does not exist.
    """
    if is_remote(location):
        with (
            asking(location),
            closing(client().get_object(**bucket_and_key(location))["Body"]) as body,
        ):
            yield body
    else:
        with Path(storage.plain_path(location)).open("rb") as file:
            yield file


def put(location: str, stream: Hashed) -> None:
    """Writes a file, and creates its folder if necessary."""
    if is_remote(location):
        # The client needs the length first, and reads the bytes twice if it retries.
        with tempfile.TemporaryFile() as spooled:
            _pump(stream, spooled)
            spooled.seek(0)
            with asking(location):
                client().put_object(**bucket_and_key(location), Body=spooled)
        return
    path = Path(location)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        _pump(stream, file)
        file.flush()
        os.fsync(file.fileno())


def _pump(stream: Hashed, file: IO[bytes]) -> None:
    while data := stream.read(_CHUNK):
        file.write(data)


class Bundle:
    """A folder for one backup."""

    def __init__(self, folder: str) -> None:
        """Takes a path or `s3://bucket/folder`.

        Raises:
            UsageError: `folder` is neither.
        """
        self.is_remote = "://" in folder
        if self.is_remote:
            parts = urlsplit(folder)
            if parts.scheme != "s3" or not parts.hostname or "@" in parts.netloc or parts.query:
                raise UsageError(
                    "A backup goes to a folder or to an object store. Give a path or "
                    "`s3://bucket/folder`; credentials come from AWS's own variables and files."
                )
            self.place = folder.rstrip("/")
        else:
            self.place = str(Path(folder).expanduser().resolve())

    def location(self, *parts: str) -> str:
        """The location of a file of the bundle."""
        return "/".join((self.place, *parts))

    def index(self) -> Index | None:
        """The index of the backup; None if there is no complete backup.

        Raises:
            MeshError: the index cannot be read, or a newer version wrote it.
        """
        try:
            with opened(self.location(_INDEX)) as stream:
                facts = json.loads(stream.read())
            if facts["format"] > FORMAT:
                raise MeshError(
                    f"The backup in {self.place} was written by a newer version of Meshhouse. "
                    "Update Meshhouse, then run the same command again."
                )
            files = tuple(Held(**each) for each in facts.pop("files"))
            facts["not_included"] = tuple(facts["not_included"])
            return Index(**facts, files=files)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise MeshError(
                f"{self.location(_INDEX)} is damaged, so this backup cannot be used. Take another "
                "one."
            ) from error

    def check_free(self, overwrite: bool) -> None:
        """Checks that a backup may be written to the folder.

        Raises:
            UsageError: the folder holds other files, or a backup and `overwrite` is false.
        """
        if self.index() is not None:
            if not overwrite:
                raise UsageError(
                    f"{self.place} holds a backup. Name another folder, or replace that backup "
                    "with `--overwrite`; it is kept until the new one is complete."
                )
            return
        strange = [each for each in self._names() if not _FILES.fullmatch(each)]
        if strange:
            raise UsageError(
                f"{self.place} holds other files, such as {strange[0]}. Name an empty folder."
            )

    def _names(self) -> list[str]:
        """Names of the entries directly in the folder, without the index of an object store."""
        if self.is_remote:
            found = (
                each.location.removeprefix(f"{self.place}/") for each in storage.listing(self.place)
            )
            return sorted({each.partition("/")[0] for each in found} - {_INDEX})
        path = Path(self.place)
        if path.exists() and not path.is_dir():
            raise UsageError(f"{self.place} is a file. Name a folder for the backup.")
        return sorted(each.name for each in path.glob("*")) if path.exists() else []

    def add(self, backup_id: str, path: str, source: str) -> Held:
        """Copies a file into the backup, and verifies the copy.

        Raises:
            FileNotFoundError: the source does not exist.
            MeshError: the copy differs from the source.
        """
        target = self.location(f"files-{backup_id}", path)
        with opened(source) as stream:
            read = Hashed(stream)
            put(target, read)
        held = Held(path, read.bytes, read.digest.hexdigest())
        if self._written(target, held) != (held.bytes, held.sha256):
            raise MeshError(
                f"{target} differs from {source} after copying: check the disk or object store of "
                "the backup. The backup is incomplete."
            )
        return held

    def _written(self, target: str, held: Held) -> tuple[int, str]:
        if self.is_remote:  # the object store verifies the content, so compare the size only
            with asking(target):
                answer = client().head_object(**bucket_and_key(target))
            return answer["ContentLength"], held.sha256
        with opened(target) as stream:
            back = Hashed(stream)
            while back.read(_CHUNK):
                pass
        return back.bytes, back.digest.hexdigest()

    def finish(self, index: Index) -> None:
        """Makes a backup the current one of this folder, and removes files of all others."""
        text = json.dumps(asdict(index), indent=1).encode()
        if self.is_remote:
            target = self.location(_INDEX)
            with asking(target):
                client().put_object(**bucket_and_key(target), Body=text)
        else:
            draft = Path(self.place, f"files-{index.id}", _INDEX)
            draft.parent.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(text)
            os.sync()  # all files must be on the disk before the index lists them
            draft.replace(Path(self.place, _INDEX))
            os.sync()
        self.sweep(index.id)

    def sweep(self, keep: str | None) -> None:
        """Removes the files of backups that were interrupted or replaced."""
        import shutil

        for name in self._names():
            if not _FILES.fullmatch(name) or name == f"files-{keep}":
                continue
            if not self.is_remote:
                shutil.rmtree(Path(self.place, name))
                continue
            for file in storage.listing(self.location(name)):
                storage.delete(file.location)

    def copy_out(self, index: Index, held: Held, folder: Path) -> None:
        """Copies a file out of the backup, and compares it with the index.

        Raises:
            MeshError: the file is missing or damaged.
        """
        path = PurePosixPath(held.path)
        if path.is_absolute() or ".." in path.parts or path.parts[0] not in ("home", "store"):
            raise MeshError(
                f"The backup is damaged: its index lists {held.path!r}, an impossible path."
            )
        relative = Path(*path.parts[1:]) if path.parts[0] == "home" else Path(*path.parts)
        source = self.location(f"files-{index.id}", held.path)
        try:
            with opened(source) as stream:
                read = Hashed(stream)
                put(str(folder / relative), read)
        except FileNotFoundError as error:
            raise MeshError(f"{source} is missing, so this backup cannot be restored.") from error
        if (read.bytes, read.digest.hexdigest()) != (held.bytes, held.sha256):
            raise MeshError(f"{source} is damaged: its checksum is wrong. Take another backup.")
