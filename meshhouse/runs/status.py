"""What is published, how fresh it is, and what its owners promised.

Belongs here: facts about each product from declarations and the ledger, and what is
published without a declaration. Not here: printing them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from meshhouse.engines import Engine
from meshhouse.lake import Lake
from meshhouse.lake.damage import Damaged, damage_of, read_metadata
from meshhouse.lake.object_store import is_remote
from meshhouse.ledger import Head, Ledger
from meshhouse.repository import Domain, Product, Repository, broken_because
from meshhouse.repository.keys import REFRESHED_WITHIN_HOURS
from meshhouse.repository.references import first_unresolved

WITHHELD = ("disabled", "not public", "retired")
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
        """`declared`, or why no run publishes it: it is `disabled`, `not public` or `retired`."""
        return next((word for word in WITHHELD if word == self.last_run), "declared")

    def freshness(self, now: datetime) -> str:
        """`fresh`, `late`, or `no promise`."""
        if self.promise is None or self.refreshed_at is None:
            return "no promise" if self.promise is None else "never published"
        return "fresh" if now - self.refreshed_at <= self.promise else "late"


def product_statuses(
    repository: Repository,
    ledger: Ledger,
    lake: Lake | None = None,
    domains: Collection[str] | None = None,
    seen: dict[str, list[str]] | None = None,
) -> list[ProductStatus]:
    """Every declared product, published or not, upstream domains first.

    Also those that can be read of broken domains: consumers still see what was published.

    Args:
        repository: where they are declared.
        ledger: what was recorded of them.
        lake: where their files are, if they are files.
        domains: whose products; None for all. The declarations of others are not read.
        seen: relation -> the files that were looked at for damage; is added to.
    """
    seen = {} if seen is None else seen
    shown = lake.visible() if lake is not None else {}
    own, behind = _heads(ledger, domains)
    statuses = []
    for product in _declared(repository, domains):
        here, there = (heads.get(product.relation) for heads in (own, behind))
        inherited = not _was_published(here) and _was_published(there)
        found = _status(product, there if inherited else here)
        if inherited and here is not None:  # runs here tried it and published nothing
            found = replace(found, last_run=here.last_run)
        found = replace(found, environment="" if inherited else repository.environment)
        statuses.append(replace(found, damage=_damage(product.relation, shown, seen)))
    return statuses


def _declared(repository: Repository, domains: Collection[str] | None) -> Iterator[Product]:
    if domains is None:
        chosen: Iterable[Domain] = repository.readings
    else:
        names = sorted({*domains} & {*repository.domain_names})
        chosen = [repository.reading(each) for each in names]
    for domain in chosen:
        yield from domain.products


def _heads(
    ledger: Ledger, domains: Collection[str] | None = None
) -> tuple[dict[str, Head], dict[str, Head]]:
    """Heads of the environment in use, and of production behind it."""
    behind = ledger.production
    return (
        _heads_of(ledger, domains),
        _heads_of(behind, domains) if behind is not None else {},
    )


def _heads_of(ledger: Ledger, domains: Collection[str] | None) -> dict[str, Head]:
    found: dict[str, Head] = {}
    for domain in [None] if domains is None else sorted(domains):
        found |= ledger.heads(domain, documents=False)
    return found


def _was_published(head: Head | None) -> bool:
    return head is not None and head.kind is not None


def _damage(relation: str, shown: Mapping[str, str], seen: dict[str, list[str]]) -> str:
    """The first damaged file of what consumers see of a product.

    In an object store only the metadata file is read: a look at each file is a request, and
    `mesh doctor` has the time for them.
    """
    location = shown.get(relation)
    if location is None:
        return ""
    if not is_remote(location):
        files = seen.setdefault(relation, [])
        return next((str(each) for each in damage_of(relation, location, seen=files)), "")
    try:
        read_metadata(location, relation)
    except Damaged as error:
        return str(error.damage)
    return ""


def leftovers(repository: Repository, engine: Engine) -> list[Leftover]:
    """Products that were published and can be read, and that no domain declares, by name."""
    (own, behind), visible = _heads(engine.ledger), engine.visible()
    products = (each for domain in repository.readings for each in domain.products)
    declared = {name for each in products for name in each.relations}
    # Nobody knows what a broken domain declares; status says that it is broken.
    unknown = {domain.name for domain in repository.broken}
    found = []
    for relation in sorted({*own, *behind} - declared):
        here = own.get(relation)
        is_own = _was_published(here)
        head = here if is_own else behind.get(relation)
        if head is None or head.domain in unknown:
            continue
        if head.is_published and relation in visible:
            found.append(
                Leftover(
                    relation=relation,
                    version=head.version,
                    published_at=head.published_at,
                    rows=head.rows,
                    score=float(head.score),
                    environment=repository.environment if is_own else "",
                )
            )
    return found


def _status(product: Product, head: Head | None) -> ProductStatus:
    head = head or Head(product.domain, product.name)
    hours = REFRESHED_WITHIN_HOURS.of(product.promises)
    return ProductStatus(
        product=product,
        published_at=head.published_at,
        rows=head.rows,
        score=float(head.score) if head.score is not None else None,
        refreshed_at=head.refreshed_at if head.is_published else None,
        promise=timedelta(hours=float(hours)) if hours is not None else None,
        last_run=head.last_run,
        rolled_back=head.rolled_back,
    )


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
