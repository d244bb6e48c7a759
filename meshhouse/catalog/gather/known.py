"""What is known of each product before its document is made.

Belongs here: one read of each table of the ledger, and which products a catalog shows. Not here:
what documents say of them (products.py).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from meshhouse.catalog.gather.audits import Audits, read_audits
from meshhouse.catalog.gather.comparisons import Comparisons
from meshhouse.engines import Engine
from meshhouse.governance.contract import Contract
from meshhouse.governance.policies import notice_days
from meshhouse.governance.readers import Read, reads_by_relation
from meshhouse.heads import publications_of
from meshhouse.ledger import Head, Ledger
from meshhouse.repository import Product, Repository
from meshhouse.repository.keys import REFRESHED_WITHIN_HOURS
from meshhouse.repository.read import undeclared
from meshhouse.repository.references import Reading, readings
from meshhouse.runs.objectives import Kept, promises_kept
from meshhouse.runs.retirement import Retired, retired_among
from meshhouse.runs.status import ProductStatus, product_statuses

NOT_DECLARED = "not declared"
_CHANGES = "changes"
"""Folder with what contracts of the ledger say beside each other."""


@dataclass(frozen=True)
class Known:
    """A product that a catalog shows, with what the ledger says of it."""

    product: Product
    """As it is declared; of one that is not declared, only its names are known."""
    head: Head
    status: ProductStatus
    history: Sequence[Mapping[str, Any]] = ()
    """Its publications, oldest first."""
    retired: Retired | None = None
    is_declared: bool = True
    last_contract: str = ""
    """Of a retired product: the text of what it was published with last."""

    @property
    def relation(self) -> str:
        """Published schema and table."""
        return self.product.relation

    @cached_property
    def contract(self) -> Contract | None:
        """What it was published with; None if nothing is published."""
        return Contract.from_text(self.head.contract) if self.head.contract else None

    @cached_property
    def described(self) -> Contract | None:
        """What describes it: what it was published with, also after it was retired."""
        return self.contract or (
            Contract.from_text(self.last_contract) if self.last_contract else None
        )

    @cached_property
    def statistics(self) -> Mapping[str, Any]:
        """What was measured of the published rows; empty if nothing was."""
        found: Mapping[str, Any] = json.loads(self.head.statistics) if self.head.statistics else {}
        return found

    @property
    def names(self) -> tuple[str, ...]:
        """Every name under which readers find it."""
        aliases = self.contract.get("aliases", ()) if self.contract else ()
        return tuple(dict.fromkeys((*self.product.relations, *map(str, aliases))))


@dataclass(frozen=True)
class Sources:
    """Everything that documents are made from; each source is read once."""

    repository: Repository
    engine: Engine
    now: datetime
    products: Sequence[Known]
    audits: Audits
    kept: Mapping[str, Sequence[Kept]]
    reads: Mapping[str, Sequence[Read]]
    """Relation in lower case -> what published contracts say of its readers."""
    readings: Mapping[str, Sequence[Reading]]
    """Relation -> the models of other domains that refer to it, as they are declared now."""
    comparisons: Comparisons
    consumer: str = ""
    """The domain for which the catalog is made; empty for everyone."""
    versions: Mapping[str, Sequence[Known]] = field(default_factory=dict)
    """`domain.model` -> the products of its versions."""
    files: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Relation -> the files that were looked at for damage."""

    @cached_property
    def relations(self) -> frozenset[str]:
        """The relations of all products, in lower case."""
        return frozenset(each.relation.lower() for each in self.products)

    def without_places(self, text: str) -> str:
        """A text without the folders of the machine on which the catalog is made.

        Readers elsewhere must not see them, and two machines write the same page.
        """
        for place in sorted(map(str, (self.repository.root, self.repository.home)), reverse=True):
            text = text.replace(f"{place}/", "")
        return text


def read_sources(
    repository: Repository, engine: Engine, now: datetime, consumer: str = ""
) -> Sources:
    """Reads declarations and ledger.

    Args:
        repository: what is declared.
        engine: the target in use.
        now: the time of the catalog.
        consumer: the domain for which the catalog is made.
    """
    files: dict[str, list[str]] = {}
    products = list(known_products(repository, engine, now, seen=files))
    contracts = [each.contract for each in products if each.contract is not None]
    declared = [
        reading for domain in repository.readings for reading in readings(repository, domain)
    ]
    versions: dict[str, list[Known]] = {}
    for each in products:
        versions.setdefault(each.product.plain_relation, []).append(each)
    return Sources(
        repository=repository,
        engine=engine,
        now=now,
        products=products,
        audits=read_audits(
            ledgers_of(engine), {each.relation: (each.head, each.history) for each in products}, now
        ),
        kept=promises_kept(engine.ledger, [each.product for each in products], now),
        reads=reads_by_relation(contracts),
        readings=_by_relation(declared),
        comparisons=Comparisons(ledgers_of(engine), repository.workspace / _CHANGES),
        consumer=consumer,
        versions=versions,
        files=files,
    )


def sources_of(
    repository: Repository,
    engine: Engine,
    now: datetime,
    consumer: str,
    domains: Collection[str],
) -> Sources:
    """What the ledger and the declarations say of the products of some domains.

    Who reads them is left out, because that takes the contracts and declarations of all domains.
    """
    files: dict[str, list[str]] = {}
    products = list(known_products(repository, engine, now, domains, files))
    kept: dict[str, Sequence[Kept]] = {}
    versions: dict[str, list[Known]] = {}
    for each in products:
        versions.setdefault(each.product.plain_relation, []).append(each)
    for domain in sorted(domains):
        own = [each.product for each in products if each.product.domain == domain]
        kept |= promises_kept(engine.ledger, own, now, domain)
    histories = {each.relation: (each.head, each.history) for each in products}
    return Sources(
        repository=repository,
        engine=engine,
        now=now,
        products=products,
        audits=read_audits(ledgers_of(engine), histories, now),
        kept=kept,
        reads={},
        readings={},
        comparisons=Comparisons(ledgers_of(engine), repository.workspace / _CHANGES),
        consumer=consumer,
        versions=versions,
        files=files,
    )


def ledgers_of(engine: Engine) -> list[Ledger]:
    """The ledger in use, and production's behind that of an environment."""
    behind = engine.ledger.production
    return [engine.ledger, *([behind] if behind is not None else [])]


def known_products(
    repository: Repository,
    engine: Engine,
    now: datetime,
    domains: Collection[str] | None = None,
    seen: dict[str, list[str]] | None = None,
) -> Iterator[Known]:
    """What consumers can read, what is declared and can be published, and what was retired lately.

    As long as consumers would have had notice of the end, they may look for a retired product.

    Args:
        repository: what is declared.
        engine: the target in use.
        now: the time of the catalog.
        domains: whose products; None for all.
        seen: relation -> the files that were looked at for damage; is added to.
    """
    in_use = dict(zip((repository.environment, ""), ledgers_of(engine), strict=False))
    ledgers = {
        environment: (heads_of(ledger, domains), _histories(ledger, domains))
        for environment, ledger in in_use.items()
    }
    visible = engine.visible()
    since = midnight(now) - timedelta(days=notice_days(repository))
    own, _ = ledgers[repository.environment]
    gone = {each.relation: each for each in retired_among(own.values()) if each.at >= since}
    declared = set()
    for status in product_statuses(repository, engine.ledger, engine.lake, domains, seen):
        product = status.product
        heads, histories = ledgers[status.environment]
        declared.update(product.relations)
        head = heads.get(product.relation) or Head(product.domain, product.name)
        history, retired_then = histories.get(product.relation, ()), gone.get(product.relation)
        last = _last_contract(in_use[status.environment], history) if retired_then else ""
        known = Known(product, head, status, history, retired_then, last_contract=last)
        # dbt builds no such product, so nobody will ever see it. What is published stays readable.
        if status.state != "declared" and not head.is_published and known.retired is None:
            continue
        yield known
    for environment, (heads, histories) in ledgers.items():
        for relation, head in heads.items():
            if relation in declared or not (
                relation in gone or (head.is_published and relation in visible)
            ):
                continue
            declared.add(relation)
            history = histories.get(relation, ())
            last = _last_contract(in_use[environment], history) if relation in gone else ""
            yield _undeclared(head, environment, history, gone.get(relation), last)


def heads_of(ledger: Ledger, domains: Collection[str] | None) -> dict[str, Head]:
    """What is current of the products of some domains, or of all."""
    found: dict[str, Head] = {}
    for domain in [None] if domains is None else sorted(domains):
        found |= ledger.heads(domain)
    return found


def _histories(ledger: Ledger, domains: Collection[str] | None) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for domain in [None] if domains is None else sorted(domains):
        found |= publications_of(ledger, domain)
    return found


def midnight(now: datetime) -> datetime:
    """When the day of a catalog began, in UTC.

    Days of the past count as a whole, so that only a new day changes what they say.
    """
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _last_contract(ledger: Ledger, history: Sequence[Mapping[str, Any]]) -> str:
    """The text of the contract of the last publication; empty if there was none."""
    found = (each["contract_hash"] for each in reversed(history) if each.get("contract_hash"))
    named = next(found, None)
    return (ledger.contract(str(named)) or "") if named else ""


def _undeclared(
    head: Head,
    environment: str,
    history: Sequence[Mapping[str, Any]],
    gone: Retired | None,
    last_contract: str,
) -> Known:
    """A product that can be read, or was retired, and that no domain declares any more.

    A broken domain may declare it in a file that cannot be read.
    """
    product = _product(replace(head, contract=head.contract or last_contract))
    hours = REFRESHED_WITHIN_HOURS.of(product.promises)
    status = ProductStatus(
        product=product,
        published_at=head.published_at,
        rows=head.rows,
        score=float(head.score) if head.score is not None else None,
        refreshed_at=head.refreshed_at,
        promise=timedelta(hours=float(hours)) if hours is not None else None,
        last_run=head.last_run,
        rolled_back=head.rolled_back,
        environment=environment,
    )
    return Known(product, head, status, history, gone, False, last_contract)


def _product(head: Head) -> Product:
    """A product as its contract describes it."""
    found = undeclared(head.relation)
    if not head.contract:
        return found
    contract = Contract.from_text(head.contract)
    latest = int(contract.get("latest_version", contract.version))
    return replace(
        found,
        model=str(contract.get("model", found.model)),
        version=contract.version,
        versioned=bool(contract.get("versioned")),
        latest_version=latest,
        is_latest=contract.version == latest,
        description=str(contract.get("description", "")),
        grain=tuple(contract.grain),
        promises=contract.get("promises", {}),
        deprecation_date=contract.get("deprecation_date"),
    )


def _by_relation(found: Sequence[Reading]) -> dict[str, list[Reading]]:
    by_relation: dict[str, list[Reading]] = {}
    for each in found:
        by_relation.setdefault(each.relation, []).append(each)
    return by_relation
