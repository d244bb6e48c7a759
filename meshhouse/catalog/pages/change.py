"""The page of a change, for a pull request: `mesh diff --html`.

Belongs here: what the page says. Not here: judging a change (governance/), comparing rows (runs/).

The page is one file without scripts, because it is kept as an artifact of a pull request. Its style
is inside the page; the policy of the page allows this style, by its digest, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from meshhouse.catalog.pages.assets import FOLDER
from meshhouse.catalog.pages.render import html
from meshhouse.governance.change import Change, Hit
from meshhouse.governance.report import Judged
from meshhouse.runs.diff import Difference
from meshhouse.runs.two_states import RowsOfTwo

MOST_HITS = 200
"""Columns of readers that a page names for each domain."""


@dataclass(frozen=True)
class Concerned:
    """One domain whose models the changes hit."""

    domain: str
    owner: str
    columns: tuple[str, ...]
    """`domain.model.column` with what changed for it."""
    left_out: int


def change_page(found: Difference, rows: Sequence[RowsOfTwo | str]) -> str:
    """The page as HTML.

    Args:
        found: what changed in which products.
        rows: how rows differ; a text says why rows of a product were not compared.
    """
    style = (FOLDER / "mesh.css").read_text()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    changed = sorted((each for each in found.judged if each.changes), key=_worst_first)
    return html(
        "change.html",
        "change.html",
        style=Markup(style),  # noqa: S704 - a file of this package
        digest=digest,
        refused=sum(len(each.outcome.refused) for each in changed),
        broken=sorted(found.broken.items()),
        changed=[(each, tuple(_changes(each))) for each in changed],
        concerned=tuple(_concerned(changed)),
        rows=[each for each in rows if isinstance(each, RowsOfTwo)],
        not_compared=[each for each in rows if isinstance(each, str)],
        others=_others(found),
    )


def _worst_first(judged: Judged) -> tuple[int, str]:
    return -int(judged.verdict), judged.relation


def _changes(judged: Judged) -> Iterator[Mapping[str, object]]:
    """The changes of a product, worst first."""
    because = {each.change: each.because for each in judged.outcome.refused}
    allowed = {each.change: each.by for each in judged.outcome.waived}
    for change in sorted(judged.changes, key=lambda each: (-int(each.verdict), each.key)):
        by = allowed.get(change)
        yield {
            "change": change,
            "verdict": f"{change.verdict}{', silent' if change.is_silent else ''}",
            "refused": change in because,
            "because": because.get(change, ""),
            "allowed": f"Allowed by {by.place}: {by.why}" if by else "",
            "ways_out": judged.ways_out(change) if change in because else (),
            "hits": sorted({_named(hit) for hit in change.hits}),
        }


def _concerned(changed: Iterable[Judged]) -> Iterator[Concerned]:
    """The domains that the changes hit, by name."""
    owners: dict[str, str] = {}
    columns: dict[str, dict[str, list[str]]] = {}
    for judged in changed:
        for change in judged.changes:
            for hit in change.hits:
                domain = hit.reader.partition(".")[0]
                owners.setdefault(domain, hit.owner)
                named = columns.setdefault(domain, {}).setdefault(_named(hit), [])
                named.append(_in_short(judged, change))
    for domain in sorted(columns):
        listed = [f"{name}: {', '.join(whats)}" for name, whats in sorted(columns[domain].items())]
        left_out = max(0, len(listed) - MOST_HITS)
        yield Concerned(domain, owners[domain], tuple(listed[:MOST_HITS]), left_out)


def _named(hit: Hit) -> str:
    name = str(hit)
    return f"{name.removesuffix('.?')} (lineage unknown)" if hit.column == "?" else name


def _in_short(judged: Judged, change: Change) -> str:
    return f"{judged.relation}, {change.key} ({change.verdict})"


def _others(found: Difference) -> list[tuple[str, Sequence[str]]]:
    listed = [
        ("New: consumers do not see them yet", found.new),
        ("Removed from the declarations, and consumers still see them", found.removed),
        ("Published without a contract, so they cannot be compared", found.without_contract),
        ("Not built", [f"{name}: {why}" for name, why in found.withheld.items()]),
        ("Unchanged", found.unchanged),
    ]
    return [(title, sorted(names)) for title, names in listed if names]
