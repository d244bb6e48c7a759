"""Links from assets to their pages in the catalog.

Belongs here: which page belongs to which asset. Not here: where the pages are
(meshhouse/catalog/paths.py).

A wrong address of the catalog is shown where the link would be. It stops no run.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import dagster as dg

from meshhouse.catalog import paths
from meshhouse.errors import UsageError
from meshhouse.markdown import plain
from meshhouse.repository import Product, RawTable

CATALOG = "catalog"
"""The name of the link to the page of a product or topic."""


def product_links(product: Product) -> dict[str, Any]:
    """Metadata of a product: its page. Empty if nobody said where the catalog is."""
    return _link(paths.product(product.relation))


def raw_links(raw: RawTable) -> dict[str, Any]:
    """Metadata of a raw table: the page of its topic, like `product_links`."""
    return _link(paths.topic(raw.domain, raw.name))


def linked_column(product: Product, column: str) -> str:
    """The name of a column as Markdown, with a link to its trace if there is a catalog."""
    address = None
    with suppress(UsageError):
        address = paths.public_url(paths.columns(product.relation, column))
    return f"[{plain(column)}](<{address}>)" if address else plain(column)


def _link(page: str) -> dict[str, Any]:
    try:
        address = paths.public_url(page)
    except UsageError as error:
        return {CATALOG: str(error)}
    return {CATALOG: dg.MetadataValue.url(address)} if address else {}
