"""Adds new reads to the use of a product: those of runs, and those that readers recorded.

Belongs here: which recorded reads are new, and counts that grow. Not here: counting all reads
(usage/).

Only a read of today is new. One of an earlier day, which an import of a history adds, leads to a
full build. So a build remembers the rows of one day and not those of 90, which can be a million.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from meshhouse.catalog.documents import ConsumerFacts, ProductFacts, UseFacts
from meshhouse.catalog.gather.known import midnight
from meshhouse.catalog.remembered.state import Row, Rows, digest_of
from meshhouse.usage import Kept
from meshhouse.usage.reads import UNKNOWN, Read
from meshhouse.usage.usage import LONG, PEOPLE, READ_RECENTLY, USED, USER, consumer_of


def digest_of_reads(kept: Kept, now: datetime) -> str:
    """A digest of the recorded reads before today, and of since when reads are recorded."""
    today = midnight(now)
    old = [each for each in kept.reads if each.at < today]
    return digest_of([("since", kept.since and kept.since.isoformat()), *old])


def rows_of(kept: Kept, now: datetime) -> Rows:
    """The recorded reads of today, as documents count them."""
    found: Rows = {}
    for name, each in _today(kept, now).items():
        at = min(max(read.at for read in each), now)
        found[name] = Row(sum(read.count for read in each), at)
    return found


def new_reads(kept: Kept, now: datetime, before: Mapping[str, Row]) -> list[Read] | None:
    """What was recorded today since rows were remembered; None if that cannot be added.

    A read without a count only moves the time of the last one: a document is of an earlier time
    than what was recorded while it was made.

    Args:
        kept: all recorded reads.
        now: the time of the catalog.
        before: see `rows_of`.
    """
    today, rows = _today(kept, now), rows_of(kept, now)
    if before.keys() - rows.keys():
        return None
    found = []
    for name, row in rows.items():
        old = before.get(name, Row(0, None))
        if row == old:
            continue
        some = today[name]
        count = row.count - old.count
        # Credits change the costs of products, and work of runs has no count.
        is_plain = all(each.count and each.nanocredits is None for each in some)
        if not is_plain or count < 0 or not row.at:
            return None
        if some[0].product == UNKNOWN and _proves(kept, now):
            return None
        found.append(replace(some[0], at=row.at, count=count))
    return found


def _proves(kept: Kept, now: datetime) -> bool:
    """Whether reads are recorded for so long that an unknown one changes what is proved."""
    return kept.since is not None and kept.since <= midnight(now) - LONG


def _today(kept: Kept, now: datetime) -> dict[str, list[Read]]:
    found: dict[str, list[Read]] = {}
    for each in kept.reads:
        if each.at >= midnight(now):
            name = repr((each.product, each.columns, each.user, each.consumer, each.via))
            found.setdefault(name, []).append(each)
    return found


def with_reads(product: ProductFacts, before: ProductFacts, reads: Sequence[Read]) -> ProductFacts:
    """A document with the reads since it was made.

    Args:
        product: the document.
        before: the document that has the use until then.
        reads: of any product, of today.
    """
    own = [each for each in reads if each.product == product.relation]
    if not own or before.use is None:
        return product
    use = _more(before.use, own)
    found = {each.name: each for each in use.consumers}
    readers = tuple(
        replace(
            each,
            reads_30_days=found[each.domain].reads_30_days,
            last_read=found[each.domain].last_read,
        )
        if each.domain in found
        else each
        for each in product.readers
    )
    return replace(product, use=use, readers=readers)


def _more(use: UseFacts, reads: Sequence[Read]) -> UseFacts:
    found = {each.name: each for each in use.consumers}
    columns = Counter(dict(use.columns_30_days))
    for read in reads:
        name = consumer_of(read)
        name = PEOPLE if name.startswith(USER) else name
        old = found.get(name, ConsumerFacts(name, 0, 0, None))
        found[name] = ConsumerFacts(
            old.name,
            old.reads_30_days + read.count,
            old.reads_90_days + read.count,
            max(filter(None, (old.last_read, read.at))),
        )
        columns.update(dict.fromkeys(read.columns or (), read.count))
    people = [found.pop(PEOPLE)] if PEOPLE in found else []
    ordered = sorted(found.values(), key=lambda each: (-each.reads_90_days, each.name))
    return replace(
        use,
        state=USED,
        why=READ_RECENTLY,
        consumers=(*ordered, *people),
        columns_30_days=tuple(sorted(columns.items(), key=lambda each: (-each[1], each[0]))),
        reads_30_days=use.reads_30_days + sum(each.count for each in reads),
    )
