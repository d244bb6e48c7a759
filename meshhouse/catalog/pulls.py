"""The page of a pull request in the site: a change that is not published.

Belongs here: where the page is, and what everyone who reads the catalog may see of a change. Not
here: how a change looks (pages/change.py), or judging it (runs/diff.py).

A build of the site neither writes nor removes these pages: the job of a pull request does. So the
page has the paths of `paths.py`, and works as soon as it is in the folder or bucket of the site.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from meshhouse import files
from meshhouse.catalog import manifest, paths
from meshhouse.catalog.gather.columns import shown_of_product
from meshhouse.catalog.gather.contract_changes import without_check
from meshhouse.catalog.gather.sentences import Shown, sentence_of
from meshhouse.catalog.pages.change import (
    ShownChange,
    change_page,
    facts_of,
    products_of,
)
from meshhouse.catalog.pages.render import html
from meshhouse.errors import UsageError
from meshhouse.governance.contract import Contract
from meshhouse.repository import printable
from meshhouse.runs.diff import Difference
from meshhouse.runs.two_states import RowsOfTwo

_PAGE = re.compile(rf"/{paths.PULLS}/([^/]+)\.html$")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_NOTHING = Shown(frozenset(), frozenset(), frozenset())


def write_page(
    found: Difference, rows: Sequence[RowsOfTwo | str], place: Path, environment: str = ""
) -> Path:
    """Writes the page of a change to a file, or into a site.

    Args:
        found: what changed in which products.
        rows: how rows differ; a text says why rows of a product were not compared.
        place: a file; one in `changes/pulls/` becomes a page of the site. Or the folder of a site,
            where the page gets the name of the environment.
        environment: the one in use; empty for production.

    Returns:
        The file.

    Raises:
        UsageError: it cannot be written, or the folder has no site.
    """
    if place.is_dir():
        if not (place / manifest.NAME).exists():
            name = printable(str(place))
            raise UsageError(
                f"{name} is a folder without a catalog. Name a file, or build the catalog there "
                f"first: `mesh catalog build -o {name}`."
            )
        place /= paths.pull(environment or "declared")
    in_site = _PAGE.search(place.absolute().as_posix())
    if in_site is None:
        content = change_page(found, rows)
    elif not _NAME.fullmatch(in_site[1]):
        raise UsageError(
            f"`{printable(in_site[1])}` cannot be the name of a page: use letters, digits, `-`, "
            "`_` and `.`, and begin with a letter or digit."
        )
    else:
        content = _page(found, rows, in_site[1])
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        # A lone surrogate, which JSON can bring in, has no form in UTF-8.
        files.replace(place, content.encode(errors="replace").decode())
    except OSError as error:
        raise UsageError(
            f"{printable(str(place))} cannot be written: {error.strerror}. Choose another file "
            "with -o."
        ) from error
    return place


def _page(found: Difference, rows: Sequence[RowsOfTwo | str], name: str) -> str:
    """A page of the site. Everyone reads it, so it has no values of protected columns."""
    known = {product.relation: (product, head) for product, head in found.compared}
    products = []
    for each in products_of(found):
        contract, shown = None, _NOTHING
        if each.relation in known:
            product, head = known[each.relation]
            contract = Contract.from_text(head.contract) if head.contract else None
            shown = shown_of_product(product, head)
        changes = tuple(_without_values(one, contract, shown) for one in each.changes)
        products.append(replace(each, changes=changes))
    counted = [_without_examples(each) for each in rows]
    return html(
        "pull.html",
        paths.pull(name),
        name=name,
        left_out=counted != list(rows),
        **facts_of(found, counted, products),
    )


def _without_examples(rows: RowsOfTwo | str) -> RowsOfTwo | str:
    if isinstance(rows, str):
        return rows
    return replace(rows, difference=replace(rows.difference, examples=()))


def _without_values(change: ShownChange, contract: Contract | None, shown: Shown) -> ShownChange:
    what = sentence_of({"change": change.key, "what": change.what}, contract, shown)
    hits = None
    if change.hits is not None:
        hits = tuple(sorted({(domain, without_check(each)) for domain, each in change.hits}))
    if what == change.what:
        return replace(change, hits=hits)
    # The key can be the name of a check, which can hold a value, and so can the commands.
    kind = change.key.partition(":")[0]
    return replace(change, key=kind, what=what, effect="", hits=hits, ways_out=())
