"""Reading, listing and deleting files by their locations, on disk or in an object store.

Belongs here: operations on one file or one folder. Not here: access to a store (object_store.py),
or the content of files.

The scheme of a location says where the file is (`file:///...`, `s3://...`). So a lake may have
tables in both places, for example after MESH_WAREHOUSE was set.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from meshhouse.lake.object_store import (
    SECONDS,
    access,
    asking,
    bucket_and_key,
    client,
    is_remote,
)

if TYPE_CHECKING:
    from pyiceberg.io import FileIO


PATH_PROPERTIES = (
    "write.data.path",
    "write.metadata.path",
    "write.object-storage.path",
    "write.folder-storage.path",
)
"""Properties of a table that name folders for its new files."""


@dataclass(frozen=True)
class Stored:
    """A file in a listing."""

    location: str
    written_at: float
    bytes: int

    @property
    def name(self) -> str:
        """The last part of the location."""
        return self.location.rpartition("/")[2]


def plain_path(location: str) -> str:
    """A `file:` location as a path; other locations do not change."""
    return location.removeprefix("file://").removeprefix("file:")


def file_io(location: str) -> FileIO:
    """A pyiceberg FileIO for the location's store; it can also use local folders."""
    if not is_remote(location):
        return _io(())
    found = access()
    return _io(
        (
            ("s3.endpoint", found.endpoint),
            ("s3.region", found.region),
            ("s3.access-key-id", found.key_id),
            ("s3.secret-access-key", found.secret),
            *((("s3.session-token", found.token),) if found.token else ()),
            ("s3.force-virtual-addressing", str(found.is_amazon)),
            ("s3.connect-timeout", str(SECONDS)),
        )
    )


@lru_cache(maxsize=4)
def _io(properties: tuple[tuple[str, str], ...]) -> FileIO:
    # Cached, because it holds connections. New credentials lead to a new one.
    from pyiceberg.io.pyarrow import PyArrowFileIO

    return PyArrowFileIO(dict(properties))


def read_bytes(location: str) -> bytes:
    """The content of a file.

    Raises:
        FileNotFoundError: there is no such file.
        StoreFailed: the store cannot be used.
    """
    if not is_remote(location):
        return Path(plain_path(location)).read_bytes()
    with asking(location):
        return client().get_object(**bucket_and_key(location))["Body"].read()


def exists(location: str) -> bool:
    """Whether there is a file at a location."""
    if not is_remote(location):
        return Path(plain_path(location)).exists()
    try:
        with asking(location):
            client().head_object(**bucket_and_key(location))
    except FileNotFoundError:
        return False
    return True


def delete(location: str) -> None:
    """Deletes a file, if it exists."""
    if not is_remote(location):
        Path(plain_path(location)).unlink(missing_ok=True)
        return
    with asking(location):
        client().delete_object(**bucket_and_key(location))


def make_young(location: str) -> None:
    """Sets a file's time of writing to now, if the file exists."""
    with suppress(FileNotFoundError):
        if not is_remote(location):
            os.utime(plain_path(location))
            return
        # An object store sets the time only when a file is written, so it is copied onto itself.
        place = bucket_and_key(location)
        with asking(location):
            client().copy_object(**place, CopySource=place, MetadataDirective="REPLACE")


def listing(location: str) -> Iterator[Stored]:
    """All files in a folder and its subfolders."""
    if not is_remote(location):
        for path in Path(plain_path(location)).rglob("*"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue  # another process has deleted it meanwhile
            if path.is_file():
                yield Stored(str(path), status.st_mtime, status.st_size)
        return
    scheme, _, _ = location.partition("://")
    place = bucket_and_key(location.rstrip("/") + "/")
    with asking(location):
        pages = client().get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=place["Bucket"], Prefix=place["Key"]):
            for entry in page.get("Contents", ()):
                yield Stored(
                    f"{scheme}://{place['Bucket']}/{entry['Key']}",
                    entry["LastModified"].timestamp(),
                    entry["Size"],
                )
