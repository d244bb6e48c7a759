"""The writer of the site: makes the pages that changed, and removes those that are gone.

Belongs here: the list of makers, and what is written when. Not here: what a page holds
(pages/ and the other makers), or where facts come from (gather/).

A maker is a function `(Mesh) -> Iterator[Page]`; `MAKERS` lists them all. See `page.py` for what a
page promises. Two pages of one path are an error.

Each file is written beside and renamed, so a reader never sees half a page. New pages come first,
`index.html` comes last, and only then pages that are gone are removed: links work at any time.
Before a build writes pages, it takes them out of the manifest: after a build that failed or was
killed, the next one writes them again.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from meshhouse.catalog import manifest, paths, search
from meshhouse.catalog.digests import Digests, digest_of_code
from meshhouse.catalog.documents import Mesh
from meshhouse.catalog.exports import facts, odcs, odps, openapi, texts
from meshhouse.catalog.manifest import Manifest, View, Written
from meshhouse.catalog.page import Maker, Page
from meshhouse.catalog.pages import (
    assets,
    changed,
    columns,
    domain,
    home,
    lineage,
    mesh_wide,
    operations,
    product,
)
from meshhouse.catalog.render import render
from meshhouse.errors import MeshError
from meshhouse.locks import lock

MAKERS: tuple[Maker, ...] = (
    assets.pages,
    home.pages,
    product.pages,
    changed.pages,
    columns.pages,
    lineage.pages,
    domain.domain_pages,
    domain.topic_pages,
    mesh_wide.policy_pages,
    mesh_wide.ledger_pages,
    mesh_wide.glossary_pages,
    operations.pages,
    search.pages,
    facts.pages,
    odcs.pages,
    odps.pages,
    openapi.pages,
    texts.llms_pages,
    texts.sitemap_pages,
)
"""Every maker of pages. Add a line for yours."""


@dataclass(frozen=True)
class Built:
    """What a build did."""

    folder: Path
    pages: int
    written: tuple[str, ...]
    removed: tuple[str, ...]
    bytes: int
    """Of all pages."""


def build(
    mesh: Mesh | Callable[[bool], Mesh],
    folder: Path,
    makers: Sequence[Maker] = (),
    digests: Digests | None = None,
    jobs: int | None = None,
) -> Built:
    """Brings a folder up to date with the documents of a mesh.

    Args:
        mesh: the documents, or what gathers them. It is called when no other build writes into
            the folder, so that older facts never replace newer ones. It gets whether all files are
            there as the build before left them: only then its documents may leave out domains.
        folder: new, empty, or of an earlier build.
        makers: of the pages; by default `MAKERS`.
        digests: kept from the build before, if the same process made it.
        jobs: processes that render; by default as many as the machine allows.

    Raises:
        UsageError: the folder cannot hold a site, or has that of another environment or consumer.
        MeshError: a page cannot be made. Pages that were written stay; the next build goes on.
    """
    manifest.prepare(folder)
    digests = digests or Digests()
    digests.next_build()
    with lock(folder / manifest.LOCK):
        _clear(folder / manifest.DRAFTS)
        before = manifest.read(folder)
        sizes = _sizes(folder, before.pages)
        is_whole = before.code == digest_of_code() and all(
            sizes[path] == each.size for path, each in before.pages.items()
        )
        mesh = mesh(is_whole) if callable(mesh) else mesh
        view = View(mesh.environment, mesh.consumer)
        manifest.check(folder, before, view)
        pages = _listed(mesh, makers or MAKERS)
        new = {path: digests.of(page.inputs) for path, page in pages.items()}
        changed = _changed(before, new, {**sizes, **_sizes(folder, new.keys() - sizes.keys())})
        if mesh.listed is not None:
            new = {**{path: each.digest for path, each in before.pages.items()}, **new}
        if changed:
            same = {path: before.pages[path] for path in before.pages.keys() - {*changed}}
            manifest.write(folder, Manifest(before.code, same, view))
        render(folder, [pages[path] for path in changed], jobs)
        gone = sorted(before.pages.keys() - new.keys())
        _remove(folder, gone)
        written = {path: (folder / path).stat().st_size for path in changed}
        known = {
            path: Written(digest, written[path]) if path in written else before.pages[path]
            for path, digest in new.items()
        }
        if changed or gone or before.code != digest_of_code():
            manifest.write(folder, Manifest(digest_of_code(), known, view))
        total = sum(each.size for each in known.values())
        return Built(folder, len(known), tuple(changed), tuple(gone), total)


def _listed(mesh: Mesh, makers: Iterable[Maker]) -> dict[str, Page]:
    """Path -> page; two paths differ in more than letter case, which some file systems ignore."""
    found: dict[str, Page] = {}
    taken: set[str] = set()
    for page in (page for make in makers for page in make(mesh)):
        if not manifest.is_safe(page.path):
            raise MeshError(f"`{page.path}` cannot be the path of a page: it leaves the site.")
        if page.path.lower() in taken:
            raise MeshError(f"Two pages have the path {page.path}. Nothing was written.")
        taken.add(page.path.lower())
        found[page.path] = page
    return found


def _sizes(folder: Path, pages: Iterable[str]) -> dict[str, int | None]:
    """The size of each file; None if there is none."""
    place = os.fspath(folder)  # `Path` would take longer than the system
    return {path: _size(f"{place}/{path}") for path in pages}


def _changed(
    before: Manifest, new: Mapping[str, str], sizes: Mapping[str, int | None]
) -> list[str]:
    """Pages to write: those that do not exist first, and the home page last."""
    is_same_code = before.code == digest_of_code()
    missing, differing = [], []
    for path, digest in new.items():
        known = before.pages.get(path)
        size = sizes[path]
        if size is None:
            missing.append(path)
        elif not is_same_code or known is None or known != Written(digest, size):
            differing.append(path)
    return sorted([*missing, *differing], key=lambda path: path == paths.INDEX)


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - see `_sizes`
    except OSError:
        return None


def _remove(folder: Path, gone: Iterable[str]) -> None:
    for path in gone:
        (folder / path).unlink(missing_ok=True)
        for above in (folder / path).parents:
            if above == folder:
                break
            with suppress(OSError):  # it has other files
                above.rmdir()


def _clear(drafts: Path) -> None:
    """Removes what a killed build left."""
    shutil.rmtree(drafts, ignore_errors=True)
    drafts.mkdir(exist_ok=True)
