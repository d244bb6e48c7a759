"""What changed, as HTML: the page of `mesh diff --html`, and the pages of the site about changes.

Belongs here: what such a page says. Not here: judging a change
(governance/), comparing rows (runs/), or which publications have a page (changed.py).

The page of a pull request is kept as its artifact, so it is one file without scripts: its style is
inside the page, whose policy allows this style, by its digest, and nothing else. A page of the site
looks like its other pages: see changed.py and pulls.py.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from meshhouse.catalog.pages.assets import FOLDER
from meshhouse.catalog.pages.render import html
from meshhouse.governance.change import Hit
from meshhouse.governance.report import Judged
from meshhouse.runs.diff import Difference
from meshhouse.runs.two_states import RowsOfTwo

MOST_HITS = 200
"""Columns of readers that a page names for each domain."""


@dataclass(frozen=True)
class ShownChange:
    """One change, as a page shows it."""

    key: str
    verdict: str
    what: str
    effect: str = ""
    is_refused: bool = False
    because: str = ""
    allowed: str = ""
    ways_out: tuple[str, ...] = ()
    hits: tuple[tuple[str, str], ...] | None = ()
    """Domain and name of each column of a reader; None if nobody recorded them."""


@dataclass(frozen=True)
class ChangedProduct:
    """One product with its changes, the worst first."""

    relation: str
    version: int
    owner: str
    bump: str
    changes: tuple[ShownChange, ...]
    is_removed: bool = False
    place: str = ""
    """File and line; empty if it does not matter any more."""


@dataclass(frozen=True)
class Concerned:
    """One domain whose models the changes hit."""

    domain: str
    owner: str
    columns: tuple[str, ...]
    """`domain.model.column` with what changed for it."""
    left_out: int


def body(
    changed: Sequence[ChangedProduct], owners: dict[str, str], domain_names: Collection[str] = ()
) -> dict[str, Any]:
    """What `change_body.html` shows of products that changed.

    Args:
        changed: the products.
        owners: domain -> who answers for it.
        domain_names: those that have a page beside this one.
    """
    return {
        "changed": changed,
        "concerned": tuple(_concerned(changed, owners)),
        "domain_names": frozenset(domain_names),
        "refused": 0, "broken": (), "rows": (), "not_compared": (), "others": (),
        "has_lead": False, "is_in_site": True,
    }  # fmt: skip


def change_page(found: Difference, rows: Sequence[RowsOfTwo | str]) -> str:
    """The page of a change that is not published, by itself, as HTML.

    Args:
        found: what changed in which products.
        rows: how rows differ; a text says why rows of a product were not compared.
    """
    style = (FOLDER / "mesh.css").read_text()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return html(
        "change.html",
        "change.html",
        style=Markup(style),  # noqa: S704 - a file of this package
        digest=digest,
        **{**facts_of(found, rows, products_of(found)), "is_in_site": False},
    )


def products_of(found: Difference) -> list[ChangedProduct]:
    """The products that changed, the worst change first."""
    judged = sorted((each for each in found.judged if each.changes), key=_worst_first)
    return [_product(each) for each in judged]


def facts_of(
    found: Difference, rows: Sequence[RowsOfTwo | str], products: Sequence[ChangedProduct]
) -> dict[str, Any]:
    """What `change_body.html` shows of a change that is not published.

    Args:
        found: what changed in which products.
        rows: how rows differ; a text says why rows of a product were not compared.
        products: what is shown of the products that changed.
    """
    changes = [change for each in found.judged for change in each.changes]
    owners = {hit.reader.partition(".")[0]: hit.owner for each in changes for hit in each.hits}
    return {
        **body(products, owners, owners),
        "refused": sum(len(each.outcome.refused) for each in found.judged),
        "broken": sorted(found.broken.items()),
        "rows": [each for each in rows if isinstance(each, RowsOfTwo)],
        "not_compared": [each for each in rows if isinstance(each, str)],
        "others": _others(found),
        "has_lead": True,
    }


def _worst_first(judged: Judged) -> tuple[int, str]:
    return -int(judged.verdict), judged.relation


def _product(judged: Judged) -> ChangedProduct:
    return ChangedProduct(
        judged.relation,
        judged.before.version,
        judged.before.owner,
        str(judged.bump),
        tuple(_changes(judged)),
        judged.after is None,
        f"{judged.file}:{judged.line}" if judged.file else "",
    )


def _changes(judged: Judged) -> Iterator[ShownChange]:
    """The changes of a product, worst first."""
    because = {each.change: each.because for each in judged.outcome.refused}
    allowed = {each.change: each.by for each in judged.outcome.waived}
    for change in sorted(judged.changes, key=lambda each: (-int(each.verdict), each.key)):
        by = allowed.get(change)
        yield ShownChange(
            change.key,
            verdict_of(str(change.verdict), change.is_silent),
            change.what,
            change.effect,
            change in because,
            because.get(change, ""),
            f"Allowed by {by.place}: {by.why}" if by else "",
            tuple(judged.ways_out(change)) if change in because else (),
            tuple(sorted({_named(hit) for hit in change.hits})),
        )


def verdict_of(verdict: str, is_silent: bool) -> str:
    """A verdict in words."""
    return f"{verdict}, silent" if is_silent else verdict


def _concerned(changed: Iterable[ChangedProduct], owners: dict[str, str]) -> Iterator[Concerned]:
    """The domains that the changes hit, by name."""
    columns: dict[str, dict[str, list[str]]] = {}
    for product in changed:
        for change in product.changes:
            for domain, name in change.hits or ():
                named = columns.setdefault(domain, {}).setdefault(name, [])
                named.append(f"{product.relation}, {change.key} ({change.verdict.split(',')[0]})")
    for domain in sorted(columns):
        listed = [f"{name}: {', '.join(whats)}" for name, whats in sorted(columns[domain].items())]
        left_out = max(0, len(listed) - MOST_HITS)
        yield Concerned(domain, owners.get(domain, ""), tuple(listed[:MOST_HITS]), left_out)


def _named(hit: Hit) -> tuple[str, str]:
    return named(hit.reader.partition(".")[0], str(hit))


def named(domain: str, column: str) -> tuple[str, str]:
    """A column of a reader, as `ShownChange.hits` has it."""
    if column.endswith(".?"):
        return domain, f"{column.removesuffix('.?')} (lineage unknown)"
    return domain, column


def _others(found: Difference) -> list[tuple[str, Sequence[str]]]:
    listed = [
        ("New: consumers do not see them yet", found.new),
        ("Removed from the declarations, and consumers still see them", found.removed),
        ("Published without a contract, so they cannot be compared", found.without_contract),
        ("Not built", [f"{name}: {why}" for name, why in found.withheld.items()]),
        ("Unchanged", found.unchanged),
    ]
    return [(title, sorted(names)) for title, names in listed if names]
