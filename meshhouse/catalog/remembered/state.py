"""The file of what a build remembers.

Belongs here: what is in it, reading and writing it. Not here: deciding whether it can be used
(update.py).

Of a product, it has what pages of the whole mesh show. The whole document is in the site itself,
as the product's JSON file, and its digest is here.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path

from meshhouse import files
from meshhouse.catalog import manifest
from meshhouse.catalog.documents import (
    DomainFacts,
    OperationsFacts,
    PolicyFacts,
    ProductFacts,
    PromiseFacts,
    TopicFacts,
    adapter,
)
from meshhouse.catalog.newest import newest_publications
from meshhouse.catalog.pages.mesh_wide import MOST_ENTRIES
from meshhouse.lake.storage import plain_path
from meshhouse.usage.costs import Tally

FORMAT = 2
_EXTENSION = "built.json"

FileMark = tuple[str, int, int]
"""Path, size and time of change."""


@dataclass(frozen=True)
class Row:
    """Recorded reads of one product, set of columns, reader and way."""

    count: int
    at: datetime | None
    """Of the last one, and not after the time of the catalog."""


Rows = dict[str, Row]
"""What the reads have in common -> the reads."""


@dataclass(frozen=True)
class State:
    """What one build knew and did."""

    key: str
    """Of everything beside the ledger, the raw tables and the recorded reads that decides pages."""
    site: FileMark
    """Of the manifest of the site that the build left."""
    marks: dict[str, tuple[int, str]]
    """Table of the ledger -> its newest number, and a digest of the entries with that number."""
    shown: dict[str, str]
    """Table, also of the ledger -> its state."""
    files: dict[str, list[FileMark]]
    """Product -> the files that were looked at for damage."""
    reads: str
    """Digest of the recorded reads before the day of the build."""
    rows: Rows
    """Recorded reads of the day of the build."""
    hashes: dict[str, str]
    """Product -> the hash of its contract; empty if nothing is published."""
    digests: dict[str, str]
    """Product -> the digest of its whole document."""
    bad: list[str]
    """Domains with a product whose document changes with the time of day."""
    entries: dict[str, int]
    """Product -> its publications."""
    products: list[ProductFacts]
    """What pages of the whole mesh show of them."""
    domains: tuple[DomainFacts, ...]
    topics: tuple[TopicFacts, ...]
    traced: list[str]
    operations: OperationsFacts | None
    policies: PolicyFacts | None
    broken: dict[str, str]
    days: dict[date, int]
    """Day -> publications."""
    waits: list[float]
    """Seconds from landings to publications, sorted."""
    tally: Tally
    sizes: dict[str, int]
    """Product -> bytes of what is published."""
    storage: str


def read(path: Path, key: str) -> State | None:
    """What the last build remembered; None if there is nothing with this key that can be read."""
    try:
        with path.open("rb") as opened:
            if opened.readline().decode(errors="replace").split() != [str(FORMAT), key]:
                return None  # reading it whole takes 0.3 s
            found: State = adapter(State).validate_json(opened.read())
    except (OSError, ValueError):
        return None
    return found


def write(path: Path, state: State) -> None:
    """Replaces what is remembered."""
    # A folder that cannot be written costs time and changes nothing that a page shows.
    with suppress(OSError, ValueError):
        path.parent.mkdir(parents=True, exist_ok=True)
        text = adapter(State).dump_json(state).decode()
        files.replace(path, f"{FORMAT} {state.key}\n{text}")


def place(folder: Path, consumer: str) -> Path:
    """The file for one view of the mesh.

    Args:
        folder: the workspace.
        consumer: the domain for which the catalog is made; empty for everyone.
    """
    return folder / (
        f"catalog-for-{consumer}.{_EXTENSION}" if consumer else f"catalog.{_EXTENSION}"
    )


def mark(path: str | Path) -> FileMark | None:
    """Size and time of a file; None if it is gone."""
    place = plain_path(os.fspath(path))
    try:
        about = os.stat(place)  # noqa: PTH116 - there are 25,000, and `Path` takes longer
    except OSError:
        return None
    return place, about.st_size, about.st_mtime_ns


def site_mark(folder: Path) -> FileMark | None:
    """The mark of a site's manifest, which every build that changes the site replaces."""
    return mark(folder / manifest.NAME)


def digest_of(items: Iterable[object]) -> str:
    """A digest of values by their text, whatever their order."""
    hashed = hashlib.blake2b(digest_size=16)
    for each in sorted(map(repr, items)):
        hashed.update(f"{each}\n".encode(errors="surrogatepass"))
    return hashed.hexdigest()


def light(products: Sequence[ProductFacts]) -> list[ProductFacts]:
    """What pages of the whole mesh show of products: no columns, and only the newest entries."""
    newest: dict[str, int] = {}
    for relation, _ in newest_publications(products, MOST_ENTRIES):
        newest[relation] = newest.get(relation, 0) + 1
    return [
        replace(
            each,
            description="", columns=(), checks=(), versions=(), readers=(), sample=None,
            contract_changes=(),
            publications=each.publications[: newest.get(each.relation, 0)],
            # The page of operations shows those promises whose budget is not whole.
            promises=tuple(
                one if (one.budget_left_percent or 0) < 100 else replace(one, days=())
                for one in each.promises
            ),
        )
        for each in products
    ]  # fmt: skip


def bad_domains(products: Iterable[ProductFacts]) -> list[str]:
    """Domains with a promise whose error budget shrinks or grows with the time of day."""
    return sorted(
        {
            each.domain
            for each in products
            if each.state == "late" or any(map(_is_bad, each.promises))
        }
    )


def _is_bad(promise: PromiseFacts) -> bool:
    left = promise.budget_left_percent
    return promise.met is False or (left is not None and left < 100)


def marks_of_files(found: Mapping[str, Sequence[str]]) -> dict[str, list[FileMark]] | None:
    """Marks of the files of each product; None if one is gone."""
    marked = {relation: [mark(each) for each in paths] for relation, paths in found.items()}
    if any(each is None for marks in marked.values() for each in marks):
        return None
    return {relation: [each for each in marks if each] for relation, marks in marked.items()}
