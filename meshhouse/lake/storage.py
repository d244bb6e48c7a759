"""The lake's files by their locations, in a folder or in an object store.

Belongs here: what is done to one file or one folder. Does not: access to a store
(object_store.py), what is in the files, or which of them there are to be.

A location says itself where it is (`file:///...`, `s3://...`), so a lake may have tables
in both, as it has after it has moved.
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
    """A file of a folder."""

    location: str
    written_at: float
    bytes: int

    @property
    def name(self) -> str:
        """Its last part."""
        return self.location.rpartition("/")[2]


def plain_path(location: str) -> str:
    """A `file:` location as a path; other schemes stay as they are."""
    return location.removeprefix("file://").removeprefix("file:")


def file_io(location: str) -> FileIO:
    """What pyiceberg reads and writes files with, there and in local folders."""
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
    # Kept: it holds the connections. Renewed credentials make another one.
    from pyiceberg.io.pyarrow import PyArrowFileIO

    return PyArrowFileIO(dict(properties))


def read_bytes(location: str) -> bytes:
    """A whole file.

    Raises:
        FileNotFoundError: there is none.
        StoreFailed: the store cannot be used.
    """
    if not is_remote(location):
        return Path(plain_path(location)).read_bytes()
    with asking(location):
        return client().get_object(**bucket_and_key(location))["Body"].read()


def exists(location: str) -> bool:
    """Whether there is such a file."""
    if not is_remote(location):
        return Path(plain_path(location)).exists()
    try:
        with asking(location):
            client().head_object(**bucket_and_key(location))
    except FileNotFoundError:
        return False
    return True


def delete(location: str) -> None:
    """Removes a file, if there is one."""
    if not is_remote(location):
        Path(plain_path(location)).unlink(missing_ok=True)
        return
    with asking(location):
        client().delete_object(**bucket_and_key(location))


def make_young(location: str) -> None:
    """Makes a file as old as if it were written now, if there is one."""
    with suppress(FileNotFoundError):
        if not is_remote(location):
            os.utime(plain_path(location))
            return
        # A store knows no other way than to write it again, onto itself.
        place = bucket_and_key(location)
        with asking(location):
            client().copy_object(**place, CopySource=place, MetadataDirective="REPLACE")


def listing(location: str) -> Iterator[Stored]:
    """All files in a folder and the folders inside."""
    if not is_remote(location):
        for path in Path(plain_path(location)).rglob("*"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue  # whoever wrote it has taken it away meanwhile
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
