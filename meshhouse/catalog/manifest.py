"""The manifest of a site: which files the last build wrote, and from what.

Belongs here: reading and writing the manifest, and whether a folder is a site. Not here: deciding
which pages change (site.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meshhouse import files
from meshhouse.errors import UsageError
from meshhouse.repository import printable

NAME = ".catalog.json"
LOCK = ".catalog.lock"
DRAFTS = ".catalog.drafts"
OWN = frozenset({NAME, LOCK, DRAFTS})
"""What a build keeps in the folder beside pages. No server shows names that begin with a dot."""


@dataclass(frozen=True)
class Written:
    """One file as a build wrote it."""

    digest: str
    """Of its inputs; see digests.py."""
    size: int
    """In bytes. A file of another size was cut short by a crash, or changed by a person."""


@dataclass(frozen=True)
class View:
    """Whose site it is."""

    environment: str = ""
    """Empty for production."""
    consumer: str = ""
    """Empty for everyone."""

    def __str__(self) -> str:
        of = f"the environment `{self.environment}`" if self.environment else "production"
        return f"{of} for {f'`{self.consumer}`' if self.consumer else 'everyone'}"


@dataclass(frozen=True)
class Manifest:
    """What the last build left."""

    code: str = ""
    """The digest of the code that made the pages."""
    pages: Mapping[str, Written] = field(default_factory=dict)
    view: View | None = None
    """None if it is not known."""


def read(folder: Path) -> Manifest:
    """The manifest of a folder; an empty one if it has none that can be read.

    Then every page is written again, and no file is removed.
    """
    try:
        found = json.loads((folder / NAME).read_text())
        pages = {path: Written(*each) for path, each in found["pages"].items() if is_safe(path)}
        view = View(*map(str, found["view"])) if "view" in found else None
        return Manifest(str(found["code"]), pages, view)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return Manifest()


def write(folder: Path, manifest: Manifest) -> None:
    """Replaces the manifest of a folder."""
    pages = {path: [each.digest, each.size] for path, each in sorted(manifest.pages.items())}
    document: dict[str, Any] = {"code": manifest.code, "pages": pages}
    if manifest.view is not None:
        document["view"] = [manifest.view.environment, manifest.view.consumer]
    files.replace(folder / NAME, json.dumps(document))


def check(folder: Path, before: Manifest, view: View) -> None:
    """Checks that a folder does not have the site of another view.

    Raises:
        UsageError: it has one.
    """
    if before.view not in (None, view):
        raise UsageError(
            f"{folder} has the catalog of {printable(str(before.view))}, and this is the one of "
            f"{printable(str(view))}; nothing was written. Choose another folder: `-o FOLDER`."
        )


def is_safe(path: str) -> bool:
    """Whether a path is inside the site, and not one of the build's own files."""
    parts = path.split("/")
    return all(parts) and not any(part.startswith(".") or "\0" in part for part in parts)


def prepare(folder: Path) -> None:
    """Makes a folder ready for a site.

    Raises:
        UsageError: it is a file, cannot be written, or has files that are not a catalog's.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        content = {each.name for each in folder.iterdir()}
        if content and not content & OWN:
            raise UsageError(
                f"{folder} has files that are not a catalog's, and nothing was written. Choose an "
                "empty or new folder: `-o FOLDER`."
            )
        (folder / DRAFTS).mkdir(exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{folder} cannot hold a catalog: {error.strerror}. Choose another: `-o FOLDER`."
        ) from error
