"""Freshness policies: an asset turns red by itself when nothing refreshes it.

Belongs here: policies from the promises of products and from the freshness of dbt sources. Not
here: measuring a promise in a run (promises.py), or evaluating a policy (Dagster's daemon).

Dagster counts the time since the newest materialisation. A run records one for each product that
it published or proved to be unchanged, and none for a product that it rejected.
"""

from __future__ import annotations

from datetime import timedelta

import dagster as dg

from meshhouse.repository import Product, Repository, keys

_SHORTEST = timedelta(minutes=1)
"""Dagster takes no shorter window."""


def product_freshness(repository: Repository, product: Product) -> dg.FreshnessPolicy | None:
    """The policy of a product that promises when it is refreshed; environments promise nothing."""
    hours = product.promises.get(keys.REFRESHED_WITHIN_HOURS.name)
    if hours is None or repository.environment:
        return None
    return dg.FreshnessPolicy.time_window(fail_window=max(timedelta(hours=hours), _SHORTEST))
