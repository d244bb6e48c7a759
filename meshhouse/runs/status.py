"""What is published, how fresh it is, and what its owners promised.

Belongs here: facts about each product from declarations and the ledger, and what is
published without a declaration. Not here: printing them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from meshhouse.engines import Engine
from meshhouse.lake import Lake
from meshhouse.lake.damage import Damaged, damage_of, read_metadata
from meshhouse.lake.object_store import is_remote
from meshhouse.ledger import Ledger
from meshhouse.repository import Product, Repository, broken_because
from meshhouse.repository.keys import REFRESHED_WITHIN_HOURS
from meshhouse.repository.references import first_unresolved
from meshhouse.runs.history import effective_publications, past_publications

WITHHELD = ("disabled", "not public")
"""What a run says of a declared product that dbt does not build as one."""


@dataclass(frozen=True)
class Leftover:
    """What consumers can still read, though nobody declares it any more."""

    relation: str
    version: int
    published_at: datetime
    rows: int
    score: float
    environment: str = ""
    """Whose publication it is; empty for production."""


@dataclass(frozen=True)
class ProductStatus:
    """One product as consumers find it."""

    product: Product
    published_at: datetime | None
    rows: int | None
    score: float | None
    refreshed_at: datetime | None
    """When a run last published it or found it unchanged."""
    promise: timedelta | None
    """How old `refreshed_at` may become, by its owner's promise."""
    last_run: str | None
    """What became of it in the last run that was about it, see `DomainRun.products`."""
    rolled_back: bool
    """Whether a rollback is the newest that happened to it."""
    environment: str = ""
    """Whose publication it is; empty for production."""
    damage: str = ""
    """What keeps consumers from reading it: a file that is missing or unreadable."""

    @property
    def state(self) -> str:
        """`declared`, or why no run publishes it: it is `disabled` or `not public`."""
        return next((word for word in WITHHELD if word == self.last_run), "declared")

    def freshness(self, now: datetime) -> str:
        """`fresh`, `late`, or `no promise`."""
        if self.promise is None or self.refreshed_at is None:
            return "no promise" if self.promise is None else "never published"
        return "fresh" if now - self.refreshed_at <= self.promise else "late"


def product_statuses(
    repository: Repository, ledger: Ledger, lake: Lake | None = None
) -> list[ProductStatus]:
    """Every declared product, published or not, upstream domains first.

    Also those that can be read of broken domains: consumers still see what was published.

    Args:
        repository: where they are declared.
        ledger: what was recorded of them.
        lake: where their files are, if they are files.
    """
    shown = lake.visible() if lake is not None else {}
    history = past_publications(ledger)
    runs = ledger.entries("runs")
    behind = ledger.production.entries("runs") if ledger.production else []
    statuses = []
    for product in (each for domain in repository.readings for each in domain.products):
        own, publications = history.is_own(product), history.of(product)
        inherited = bool(publications) and not own
        found = _status(product, publications, _outcomes(product, behind if inherited else runs))
        here = _outcomes(product, runs)
        if inherited and here:  # runs here tried it and published nothing
            found = replace(found, last_run=here[-1].outcome)
        found = replace(found, environment="" if inherited else repository.environment)
        statuses.append(replace(found, damage=_damage(product.relation, shown)))
    return statuses


def _damage(relation: str, shown: Mapping[str, str]) -> str:
    """The first damaged file of what consumers see of a product.

    In an object store only the metadata file is read: a look at each file is a request, and
    `mesh doctor` has the time for them.
    """
    location = shown.get(relation)
    if location is None:
        return ""
    if not is_remote(location):
        return next((str(each) for each in damage_of(relation, location)), "")
    try:
        read_metadata(location, relation)
    except Damaged as error:
        return str(error.damage)
    return ""


def leftovers(repository: Repository, engine: Engine) -> list[Leftover]:
    """Products that were published and can be read, and that no domain declares, by name."""
    history, visible = past_publications(engine.ledger), engine.visible()
    products = (each for domain in repository.readings for each in domain.products)
    declared = {name for each in products for name in each.relations}
    # Nobody knows what a broken domain declares; status says that it is broken.
    unknown = {domain.name for domain in repository.broken}
    found = []
    for relation in sorted({*history.own, *history.production} - declared):
        entries = history.own.get(relation)
        standing = effective_publications(entries or history.production.get(relation, ()))
        if relation.partition(".")[0] in unknown:
            continue
        if standing and relation in visible:
            shown = standing[-1]
            found.append(
                Leftover(
                    relation=relation,
                    version=shown["version"],
                    published_at=shown["finished_at"],
                    rows=shown["rows"],
                    score=float(shown["score"]),
                    environment=repository.environment if entries else "",
                )
            )
    return found


def _status(
    product: Product,
    history: Sequence[Mapping[str, Any]],
    outcomes: Sequence[_Outcome],
) -> ProductStatus:
    standing = effective_publications(history)
    shown = standing[-1] if standing else None
    rolled_back = bool(history) and history[-1]["kind"] == "rollback"
    confirming = [each for each in outcomes if each.outcome in ("published", "unchanged")]
    if shown is not None and rolled_back:
        # What runs said before the rollback, they said of the publication that was taken back.
        since = history[-1]["number"]
        confirming = [
            _Outcome(0, shown["finished_at"], "published"),
            *(each for each in confirming if each.number > since),
        ]
    hours = REFRESHED_WITHIN_HOURS.of(product.promises)
    return ProductStatus(
        product=product,
        published_at=shown["finished_at"] if shown else None,
        rows=shown["rows"] if shown else None,
        score=float(shown["score"]) if shown else None,
        refreshed_at=confirming[-1].at if shown and confirming else None,
        promise=timedelta(hours=float(hours)) if hours is not None else None,
        last_run=outcomes[-1].outcome if outcomes else None,
        rolled_back=rolled_back,
    )


class _Outcome(NamedTuple):
    """A run that was about a product."""

    number: int
    at: datetime
    outcome: str
    """What became of the product."""


def _outcomes(product: Product, runs: Sequence[Mapping[str, Any]]) -> list[_Outcome]:
    """Runs that were about a product, oldest first."""
    found = []
    for run in runs:
        if run["domain"] != product.domain:
            continue
        # Without a list of products, a run is one of before they were recorded: of all.
        became = json.loads(run["products"]) if run.get("products") else None
        outcome = run["outcome"] if became is None else became.get(product.name)
        if outcome is not None:
            found.append(_Outcome(run["number"], run["finished_at"], outcome))
    return found


def broken_domains(repository: Repository) -> dict[str, str]:
    """Domain -> why it cannot run: its first problem, with file and line. Needs no dbt.

    The problem of a file that every domain is built with is that of every domain.
    """
    shared = next((str(each) for each in repository.shared_problems), None)
    found = {}
    for domain in repository.readings:
        if domain.problems:
            found[domain.name] = broken_because(domain)
        elif because := shared or first_unresolved(repository, domain):
            found[domain.name] = because
    return found


def age(moment: datetime | None, now: datetime | None = None) -> str:
    """How long ago, in the largest fitting unit."""
    if moment is None:
        return "-"
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if abs(seconds) >= length:
            # Of a clock that was ahead then, or is behind now.
            return f"{abs(seconds) / length:.0f} {unit} {'ago' if seconds > 0 else 'ahead'}"
    return f"{max(seconds, 0):.0f} s ago"
