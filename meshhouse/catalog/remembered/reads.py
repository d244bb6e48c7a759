"""Adds the reads of new runs to the use of a product.

Belongs here: counts that grow. Not here: counting all reads (usage/).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from meshhouse.catalog.documents import ConsumerFacts, ProductFacts, UseFacts
from meshhouse.usage.reads import Read
from meshhouse.usage.usage import PEOPLE, READ_RECENTLY, USED


def with_builds(product: ProductFacts, before: ProductFacts, reads: Sequence[Read]) -> ProductFacts:
    """A document with the reads of runs since it was made.

    Args:
        product: the document.
        before: the document that has the use until then.
        reads: of runs of other domains, of any product.
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
    people = [each for each in use.consumers if each.name == PEOPLE]
    found = {each.name: each for each in use.consumers if each.name != PEOPLE}
    columns = Counter(dict(use.columns_30_days))
    for read in reads:
        old = found.get(read.consumer, ConsumerFacts(read.consumer, 0, 0, None))
        found[read.consumer] = ConsumerFacts(
            old.name,
            old.reads_30_days + read.count,
            old.reads_90_days + read.count,
            max(filter(None, (old.last_read, read.at))),
        )
        columns.update(dict.fromkeys(read.columns or (), read.count))
    ordered = sorted(found.values(), key=lambda each: (-each.reads_90_days, each.name))
    return replace(
        use,
        state=USED,
        why=READ_RECENTLY,
        consumers=(*ordered, *people),
        columns_30_days=tuple(sorted(columns.items(), key=lambda each: (-each[1], each[0]))),
        reads_30_days=use.reads_30_days + sum(each.count for each in reads),
    )
