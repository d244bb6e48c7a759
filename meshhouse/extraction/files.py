"""Files in a folder or in a bucket: which there are, and reading one.

Belongs here: patterns, listing, and a private copy of one file. Not here: what a file holds
(events/files.py), or which files were taken (kept.py).
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from meshhouse.errors import MeshError, UsageError
from meshhouse.lake import object_store

COMPRESSED = ".gz"
_WILD = re.compile(r"[*?]")
_HIDDEN = (".", "_")
"""Names that begin so are for files in progress, as Spark, Hadoop and most tools write them."""
_BYTES = 1 << 20


@dataclass(frozen=True)
class Found:
    """One file, as it was listed."""

    name: str
    """Its path as the declaration writes it, so that a mesh may move to another folder."""
    size: int
    stamp: str
    """Changes when the file is written: its time, or the store's tag of its content."""
    place: str
    """Where it is: an absolute path, or an address `s3://`."""
    modified: float
    """Seconds since 1970; 0 in a store, in which a file appears only when it is complete."""


def found_files(pattern: str, folder: Path) -> list[Found]:
    """The files that a pattern matches now, by name.

    In a pattern, `*` is any text without `/`, `?` is one character, and `**` is any folders.

    Args:
        pattern: a path, relative to `folder` or absolute, or an address `s3://`.
        folder: the folder of the domain.

    Raises:
        UsageError: the folder does not exist or cannot be read.
        MeshError: the store cannot be used.
    """
    listed = _in_store(pattern) if object_store.is_remote(pattern) else _in_folder(pattern, folder)
    return sorted(listed, key=lambda each: each.name)


def copied(file: Found) -> tuple[IO[bytes], str]:
    """A copy of a file, decompressed if its name ends with `.gz`, and the SHA-256 of its content.

    Nothing that happens to the file later changes the copy.

    Raises:
        MeshError: the file cannot be read.
        FileNotFoundError: it is gone.
    """
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    try:
        with _opened(file) as content:
            unpacked = gzip.GzipFile(fileobj=content) if _is_packed(file.name) else content
            shutil.copyfileobj(unpacked, copy, _BYTES)
        copy.seek(0)
        return copy, hashlib.file_digest(copy, "sha256").hexdigest()
    except FileNotFoundError:
        copy.close()
        raise
    except (OSError, EOFError, zlib.error) as error:
        copy.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise MeshError(f"{file.name} cannot be read: {reason}.") from error


def unpacked_name(name: str) -> str:
    """A name without the suffix of its compression."""
    return name[: -len(COMPRESSED)] if _is_packed(name) else name


def _is_packed(name: str) -> bool:
    return name.lower().endswith(COMPRESSED)


def _in_folder(pattern: str, folder: Path) -> Iterator[Found]:
    base, matches = _base(pattern), _matcher(pattern)
    top = folder / base
    if not top.is_dir():
        raise UsageError(f"There is no folder {top}. Create it, or correct `files: {pattern}`.")
    is_deep = "/" in pattern[len(base) :].lstrip("/") or "**" in pattern
    try:
        for where, folders, names in os.walk(top, onerror=_refuse):
            folders[:] = [each for each in folders if is_deep and not each.startswith(_HIDDEN)]
            inner = "" if Path(where) == top else f"{Path(where).relative_to(top).as_posix()}/"
            for each in names:
                name = f"{base}{inner}{each}"
                if matches(name):
                    with suppress(FileNotFoundError):  # removed since it was listed
                        yield _listed(name, Path(where) / each)
    except OSError as error:
        raise UsageError(f"{top} cannot be read: {error.strerror or error}.") from error


def _refuse(error: OSError) -> None:
    raise error


def _listed(name: str, path: Path) -> Found:
    if path.is_symlink() and not path.exists():
        raise UsageError(f"{name} is a link to a file that does not exist. Remove or correct it.")
    info = path.stat()
    if not path.is_file():
        raise UsageError(f"{name} is not a regular file. Move it out of the folder.")
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"The name of the file {name!a} is not UTF-8. Rename it.") from error
    return Found(name, info.st_size, str(info.st_mtime_ns), str(path), info.st_mtime)


def _in_store(pattern: str) -> Iterator[Found]:
    place = object_store.bucket_and_key(pattern)
    bucket, matches = place["Bucket"], _matcher(place["Key"])
    prefix = _WILD.split(place["Key"], maxsplit=1)[0]
    object_store.reach(pattern)
    pages = object_store.client().get_paginator("list_objects_v2")
    with object_store.asking(pattern):
        for page in pages.paginate(Bucket=bucket, Prefix=prefix):
            for each in page.get("Contents", ()):
                if matches(each["Key"]):
                    name = f"{pattern.partition('://')[0]}://{bucket}/{each['Key']}"
                    yield Found(name, each["Size"], each["ETag"], name, 0.0)


def _opened(file: Found) -> IO[bytes]:
    if not object_store.is_remote(file.place):
        return Path(file.place).open("rb")
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    place = object_store.bucket_and_key(file.place)
    with object_store.asking(file.place):
        object_store.client().download_fileobj(**place, Fileobj=copy)
    copy.seek(0)
    return copy


def _base(pattern: str) -> str:
    """The folder that all matches are in: what comes before the first wild part."""
    plain = _WILD.split(pattern, maxsplit=1)[0]
    return plain[: plain.rfind("/") + 1]


def _matcher(pattern: str) -> Callable[[str], bool]:
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    tokens = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    wanted = re.compile("".join(parts.get(each) or re.escape(each) for each in tokens), re.DOTALL)
    is_named = not _WILD.search(pattern)

    def matches(name: str) -> bool:
        last = name.rpartition("/")[2]
        is_hidden = last.startswith(_HIDDEN) and not is_named
        return bool(last) and not is_hidden and wanted.fullmatch(name) is not None

    return matches
