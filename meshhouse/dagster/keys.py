"""Asset keys: what raw tables, builds and products are called in Dagster.

Belongs here: making keys and reading them. Not here: what Dagster shows of an asset (specs.py).

A graph shows only the last part of a key, at every zoom. A raw table, a build and a product often
have the same name, so that part says the layer: `shop/raw.orders`, `shop/build.orders`,
`shop/orders`.
"""

from __future__ import annotations

import dagster as dg

from meshhouse.repository import Domain, Product, RawTable

_RAW, _BUILD = "raw.", "build."


def raw_key(raw: RawTable) -> dg.AssetKey:
    """Dagster's key of a raw table."""
    return dg.AssetKey([raw.domain, f"{_RAW}{raw.name}"])


def build_key(domain: Domain, table: str) -> dg.AssetKey:
    """Dagster's key of a table or view that dbt builds.

    Args:
        domain: whose dbt project builds it.
        table: its name in the domain's build schema.
    """
    prefix = _BUILD
    taken = {product.name for product in domain.products}
    # Dagster writes `_` for each dot where it names outputs of a step: the build of `orders` and a
    # product called `build_orders` would get the same name.
    while f"{prefix}{table}".replace(".", "_") in taken:
        prefix += "."
    return dg.AssetKey([domain.name, f"{prefix}{table}"])


def built_table(key: dg.AssetKey) -> str:
    """The table of a build, from its key."""
    return key.path[-1].removeprefix(_BUILD).lstrip(".")


def product_key(product: Product) -> dg.AssetKey:
    """Dagster's key of a product: its published relation."""
    return dg.AssetKey([product.domain, product.name])


def relation_key(domain: Domain, relation: str) -> dg.AssetKey:
    """Dagster's key of a relation that a domain may read: a raw table, or any product."""
    raws = {raw.relation: raw_key(raw) for raw in domain.raw_tables}
    return raws.get(relation) or dg.AssetKey(relation.split("."))
