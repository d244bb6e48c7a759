"""Failures: since which run products of a domain are not published.

Belongs here: a pure function over the runs that the ledger recorded. Not here: why a run fails
(runs/outcome.py).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from meshhouse.notices.facts import FailureFact

BAD = ("failed", "rejected")
"""What became of a product, or of a run, that its owner must mend."""
_ENDS = ("published", "unchanged", "disabled", "not public")
"""What ends a failure: consumers see the product as its code says, or nothing builds it any more.

Not `not published` and not `held back`: consumers still see an older publication. Not `built`: it
publishes nothing."""
_WHOLE = ""
"""Stands for the run itself, if it was about no product."""


def failures(
    domain: str,
    runs: Iterable[Mapping[str, Any]],
    declared: Collection[str],
    group_of: Mapping[str, str] | None = None,
) -> list[FailureFact]:
    """What fails in a domain now, by the run with which it began.

    Products that fail since the same run are one failure: a run that cannot reach its source fails
    for all of them.

    Args:
        domain: the domain.
        runs: its entries of the ledger's runs, oldest first.
        declared: names of its products. What is no longer declared cannot be mended by a run.
        group_of: product -> its dbt group. A failure of a product without one, and of a whole
            run, concerns all owners of the domain.
    """
    began: dict[str, Mapping[str, Any]] = {}
    last: dict[str, Mapping[str, Any]] = {}
    for run in runs:
        became = run.get("products") or {}
        became = json.loads(became) if isinstance(became, str) else dict(became)
        if not became or run["outcome"] not in BAD:
            became[_WHOLE] = run["outcome"]
        for product, outcome in became.items():
            if outcome in BAD:
                began.setdefault(product, run)
                last[product] = {**run, "outcome": outcome}
            elif outcome in _ENDS:
                began.pop(product, None)
    grouped: dict[str, list[str]] = {}
    for product, run in began.items():
        if product == _WHOLE or product in declared:
            grouped.setdefault(str(run["run_id"]), []).append(product)
    found = []
    for run_id, products in grouped.items():
        first, newest = began[products[0]], last[products[0]]
        found.append(
            FailureFact(
                domain, run_id, first["started_at"], tuple(sorted(filter(None, products))),
                str(newest["outcome"]), str(newest.get("message") or ""),
                _groups(products, group_of or {}),
            )
        )  # fmt: skip
    return found


def _groups(products: Iterable[str], group_of: Mapping[str, str]) -> tuple[str, ...]:
    found = {group_of.get(each, "") for each in products}
    return () if "" in found else tuple(sorted(found))
