"""What the reads say about each product: how often, by whom, which columns, and whether at all.

Belongs here: counting, and when a product may be called unused. Not here: where reads come from
(store.py), or what products cost (costs.py).

A product is called unused only where that is proved: it was published for 90 days, reads were
recorded for 90 days, no read of it was seen, and no read whose product is unknown.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from meshhouse.ledger import Head, Ledger
from meshhouse.repository import Product, Repository
from meshhouse.usage.reads import UNKNOWN, Read
from meshhouse.usage.store import Kept, store_of

SHORT, LONG = timedelta(days=30), timedelta(days=90)
BUILD = "build"
"""`via` of the runs of other domains that build from a product."""
NOBODY, PEOPLE, OTHERS = "nobody", "people", "others"
"""Consumers: of what nobody read; all readers who declared none; those that are not listed."""
USER = "user "
"""Begins the consumer of a reader who declared none."""
RESERVED = frozenset([NOBODY, PEOPLE, OTHERS])
READ_RECENTLY = "It was read in the last 90 days."
USED, UNUSED, UNPROVED = "used", "unused", "not proved"
_BARE, _EVERY = "bare", "*"
"""Of the reads in contracts, see governance/readers.py."""


@dataclass(frozen=True)
class ConsumerUse:
    """One consumer's reads of one product."""

    reads_30_days: int
    reads_90_days: int
    last_read: datetime | None


@dataclass(frozen=True)
class Usage:
    """Who read one product in the last 90 days."""

    relation: str
    state: str
    """`used`, `unused`, or `not proved` if it was not seen to be read, which proves nothing."""
    why: str
    """Why the state is so, as a sentence."""
    consumers: Mapping[str, ConsumerUse]
    """Domain whose runs read it, consumer that a reader declared, or `user NAME` of others."""
    columns_30_days: Mapping[str, int]
    """Column -> reads, the most read first."""
    columns_90_days: Mapping[str, int]
    unknown_columns_90_days: int
    """Reads whose columns are unknown."""
    last_read: datetime | None
    recorded_since: datetime | None
    """Since when reads are recorded; None if nobody knows."""

    @property
    def reads_30_days(self) -> int:
        """Reads in the last 30 days."""
        return sum(each.reads_30_days for each in self.consumers.values())

    @property
    def reads_90_days(self) -> int:
        """Reads in the last 90 days."""
        return sum(each.reads_90_days for each in self.consumers.values())


def usages(repository: Repository, ledger: Ledger, now: datetime | None = None) -> dict[str, Usage]:
    """Relation -> who reads it, of every declared product.

    Args:
        repository: where products are declared and reads are recorded.
        ledger: what was published, and from what.
        now: the time up to which reads count.

    Raises:
        MeshError: the recorded reads are damaged.
    """
    now = now or datetime.now(UTC)
    products = declared_products(repository)
    kept = store_of(repository).read(now - LONG)
    facts = ledger_facts(ledger)
    built = builds(facts.publications, facts.heads, products)
    return usage_of(products, kept, built, first_published(facts.publications), now)


@dataclass(frozen=True)
class LedgerFacts:
    """What the ledger says of builds, in an environment with production behind it."""

    publications: Sequence[Mapping[str, Any]]
    heads: Mapping[str, Head]


def ledger_facts(ledger: Ledger, since: datetime | None = None) -> LedgerFacts:
    """Publications, from a time on or all, and what is current of each product."""
    behind = ledger.production
    return LedgerFacts(
        [
            *(behind.entries("publications", since=since) if behind else ()),
            *ledger.entries("publications", since=since),
        ],
        {**(behind.heads() if behind else {}), **ledger.heads()},
    )


def declared_products(repository: Repository) -> list[Product]:
    """Every product that can be read of the declarations, also of broken domains."""
    return [each for domain in repository.readings for each in domain.products]


def usage_of(
    products: Sequence[Product],
    kept: Kept,
    built: Iterable[Read],
    published: Mapping[str, datetime],
    now: datetime,
    windows_end: datetime | None = None,
) -> dict[str, Usage]:
    """Relation -> who reads it.

    Args:
        products: all declared products.
        kept: the recorded reads.
        built: reads by runs of other domains, see `builds`.
        published: relation -> when it was first published.
        now: the time up to which reads count.
        windows_end: an earlier time from which 30 and 90 days are counted back; by default `now`.
            With the last midnight, only a new day takes reads out of the counts.
    """
    end = windows_end or now
    relations = _by_name(products)
    # What is of a later time comes from a clock that is wrong, or from a line that came just now.
    recent = [
        each if each.at <= now else replace(each, at=now)
        for each in (*kept.reads, *built)
        if end - LONG <= each.at and each.count
    ]
    of: dict[str, list[Read]] = defaultdict(list)
    for each in recent:
        if relation := relations.get(each.product.lower()):
            of[relation].append(each)
    hidden = sum(each.count for each in recent if each.product == UNKNOWN)
    found = {}
    for product in products:
        reads = of[product.relation]
        state, why = _state(bool(reads), published.get(product.relation), kept.since, hidden, end)
        last = max((each.at for each in reads), default=None)
        short = [each for each in reads if each.at >= end - SHORT]
        found[product.relation] = Usage(
            relation=product.relation,
            state=state,
            why=why,
            consumers=_consumers(reads, end),
            columns_30_days=_columns(short),
            columns_90_days=_columns(reads),
            unknown_columns_90_days=sum(each.count for each in reads if each.columns is None),
            last_read=last,
            recorded_since=kept.since,
        )
    return found


def builds(
    publications: Iterable[Mapping[str, Any]],
    heads: Mapping[str, Head],
    products: Sequence[Product],
) -> list[Read]:
    """Reads by runs of other domains: one for each run and product that it built from.

    The columns are those of the current contracts, which say what each model reads.

    Args:
        publications: the ledger's, with the snapshots of what they were built from.
        heads: relation -> what is current of it, with its contract.
        products: all declared products.
    """
    relations = _by_name(products)
    columns = _contracted(heads.values(), products)
    found: dict[tuple[str, str], Read] = {}
    for entry in publications:
        if entry["kind"] != "publish":
            continue
        domain = entry["domain"]
        for name in entry.get("input_snapshots") or ():
            relation = relations.get(name.lower(), "")
            if not relation or relation.partition(".")[0] == domain:
                continue
            found[entry["run_id"], relation] = Read(
                at=entry["finished_at"],
                product=relation,
                columns=columns.get((domain, relation)),
                user=entry.get("done_by") or "unknown",
                consumer=domain,
                via=BUILD,
            )
    return list(found.values())


def first_published(publications: Iterable[Mapping[str, Any]]) -> dict[str, datetime]:
    """Relation -> when it was first published."""
    found: dict[str, datetime] = {}
    for entry in publications:
        relation = f"{entry['domain']}.{entry['product']}"
        found[relation] = min(entry["finished_at"], found.get(relation, entry["finished_at"]))
    return found


def consumer_of(read: Read) -> str:
    """The consumer of a read, for people.

    A reader may declare any name. One that stands for other readers is marked: `consumer people`.
    """
    if not read.consumer:
        return f"{USER}{read.user}"
    declared = read.consumer.lower()
    is_reserved = declared in RESERVED or declared.startswith(USER)
    return f"consumer {read.consumer}" if is_reserved and read.via != BUILD else read.consumer


def _by_name(products: Iterable[Product]) -> dict[str, str]:
    """Every name of a product, in lower case -> its relation."""
    return {name.lower(): each.relation for each in products for name in each.relations}


def _contracted(
    heads: Iterable[Head], products: Sequence[Product]
) -> dict[tuple[str, str], tuple[str, ...] | None]:
    """Domain and product -> the columns that the domain's models read; None if unknown."""
    relations = _by_name(products)
    found: dict[tuple[str, str], set[str] | None] = {}
    every = {each.relation: [column.name for column in each.columns] for each in products}
    for head in heads:
        for read in json.loads(head.contract).get("reads", ()) if head.contract else ():
            relation = relations.get(str(read["relation"]).lower())
            if relation is None or _BARE in read["how"]:
                continue
            key = head.domain, relation
            known = found.setdefault(key, set())
            if not read["is_known"]:
                found[key] = None
            elif known is not None and read["column"] == _EVERY:
                known.update(every[relation])
            elif known is not None and read["column"]:  # empty if only rows are counted
                known.add(str(read["column"]).partition(".")[0])
    return {key: None if each is None else tuple(sorted(each)) for key, each in found.items()}


def _consumers(reads: Collection[Read], end: datetime) -> dict[str, ConsumerUse]:
    """Each consumer's reads, the one with most reads first."""
    of: dict[str, list[Read]] = defaultdict(list)
    for each in reads:
        of[consumer_of(each)].append(each)
    uses = {
        consumer: ConsumerUse(
            reads_30_days=sum(each.count for each in of[consumer] if each.at >= end - SHORT),
            reads_90_days=sum(each.count for each in of[consumer]),
            last_read=max(each.at for each in of[consumer]),
        )
        for consumer in sorted(of)
    }
    return dict(sorted(uses.items(), key=lambda each: -each[1].reads_90_days))


def _columns(reads: Iterable[Read]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for each in reads:
        counts.update(dict.fromkeys(each.columns or (), each.count))
    return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))


def _state(
    is_read: bool,
    published: datetime | None,
    since: datetime | None,
    hidden: int,
    now: datetime,
) -> tuple[str, str]:
    """State and reason of a product."""
    if is_read:
        return USED, READ_RECENTLY
    if published is None:
        return UNPROVED, "It was never published."
    if published > now - LONG:
        return UNPROVED, f"It was first published on {published:%-d %b %Y}, not 90 days ago."
    if since is None:
        return UNPROVED, "No reads are recorded."
    if since > now - LONG:
        return UNPROVED, f"Reads are recorded since {since:%-d %b %Y}, not for 90 days."
    if hidden:
        return UNPROVED, (
            f"{hidden} connections or queries of the last 90 days may have read it: what they "
            "read is unknown."
        )
    return UNUSED, f"Reads are recorded since {since:%-d %b %Y}, and none was of it in 90 days."
