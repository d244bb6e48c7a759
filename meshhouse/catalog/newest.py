"""The newest publications of all products.

Belongs here: finding them without sorting all, of which 5,000 products have 450,000. Not here: how
pages show them.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from itertools import islice

from meshhouse.catalog.documents import ProductFacts, PublicationFacts


def newest_publications(
    products: Sequence[ProductFacts], most: int
) -> Iterator[tuple[str, PublicationFacts]]:
    """Relations with their publications, newest first, in the order of the ledger.

    Args:
        products: each has its publications newest first.
        most: how many.
    """
    histories = map(_named, products)
    found = heapq.merge(*histories, key=lambda each: (each[1].number, each[0]), reverse=True)
    return islice(found, most)


def _named(product: ProductFacts) -> Iterator[tuple[str, PublicationFacts]]:
    # Most products are asked for their first one only, so there is no list.
    for each in product.publications:
        yield product.relation, each
