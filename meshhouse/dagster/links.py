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
TRACES = "column traces"
"""The name of the link to the page with the traces of a product's columns."""


def product_links(product: Product) -> dict[str, Any]:
    """Metadata of a product: its page, and the page with the traces of its columns.

    Empty if nobody said where the catalog is.
    """
    relation = product.relation
    return _links({CATALOG: paths.product(relation), TRACES: paths.columns(relation)})


def raw_links(raw: RawTable) -> dict[str, Any]:
    """Metadata of a raw table: the page of its topic, like `product_links`."""
    return _links({CATALOG: paths.topic(raw.domain, raw.name)})


def linked_column(product: Product, column: str) -> str:
    """The name of a column as Markdown, with a link to its trace if there is a catalog."""
    address = None
    with suppress(UsageError):
        address = paths.public_url(paths.columns(product.relation, column))
    return f"[{plain(column)}](<{address}>)" if address else plain(column)


def _links(pages: dict[str, str]) -> dict[str, Any]:
    try:
        found = {name: paths.public_url(page) for name, page in pages.items()}
    except UsageError as error:
        return {CATALOG: str(error)}
    return {name: dg.MetadataValue.url(address) for name, address in found.items() if address}
