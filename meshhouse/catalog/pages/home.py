"""The home page: search, domains by worst state, what changed last.

Belongs here: what it shows, and in which order. Not here: the search index (search.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from meshhouse.catalog import paths
from meshhouse.catalog.documents import STATES, Mesh, PublicationFacts
from meshhouse.catalog.newest import newest_publications
from meshhouse.catalog.page import Page
from meshhouse.catalog.pages.render import html
from meshhouse.catalog.search import LIST

MOST_CHANGES = 20
_MOST_NAMES = 5


@dataclass(frozen=True)
class DomainCard:
    """A domain in one box."""

    name: str
    description: str
    products: int
    topics: int
    names: tuple[str, ...]
    """Its first products, without the domain."""
    states: tuple[tuple[str, int], ...]
    """State -> products, the worst first; also late and fresh ones if there are none, because the
    clock of a reader can make them."""
    is_broken: bool = False
    """Whether no run can build it."""
    is_removed: bool = False


@dataclass(frozen=True)
class Change:
    """A publication as the list of changes shows it."""

    relation: str
    entry: PublicationFacts


def pages(mesh: Mesh) -> Iterator[Page]:
    """The home page."""
    domains, changes = _cards(mesh), _changes(mesh)
    inputs = (domains, changes, len(mesh.products), mesh.consumer, mesh.built_at)
    yield Page(paths.INDEX, inputs, partial(_render, *inputs))


def _render(
    domains: tuple[DomainCard, ...],
    changes: tuple[Change, ...],
    products: int,
    consumer: str,
    built_at: datetime,
) -> str:
    return html(
        "home.html",
        paths.INDEX,
        domains=domains,
        changes=changes,
        product_count=products,
        consumer=consumer,
        built_at=built_at,
        list_file=LIST,
    )


def worst(state: str) -> int:
    """The place of a state in a list with the worst first."""
    return STATES.index(state) if state in STATES else 0


def _cards(mesh: Mesh) -> tuple[DomainCard, ...]:
    states = {each.relation: each.state for each in mesh.products}
    cards = []
    for each in mesh.domains:
        counted = Counter({"late": 0, "fresh": 0})
        counted.update(states[name] for name in each.products if name in states)
        cards.append(
            DomainCard(
                each.name,
                each.description,
                len(each.products),
                len(each.topics),
                tuple(name.partition(".")[2] for name in each.products[:_MOST_NAMES]),
                tuple(sorted(counted.items(), key=lambda pair: worst(pair[0]))),
                bool(each.problem) and not each.is_removed,
                each.is_removed,
            )
        )
    return tuple(sorted(cards, key=_order))


def _order(card: DomainCard) -> tuple[bool, int, str]:
    """Domains that no run can build first, then the worst product; those without products last."""
    found = [worst(state) for state, number in card.states if number]
    return (not card.is_broken, min(found, default=len(STATES)), card.name)


def _changes(mesh: Mesh) -> tuple[Change, ...]:
    return tuple(
        Change(relation, each)
        for relation, each in newest_publications(mesh.products, MOST_CHANGES)
    )
