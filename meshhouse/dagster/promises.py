"""Service-level objectives as asset checks, and their error budgets.

Belongs here: how a measurement is shown. Not here: measuring and recording it (runs/objectives.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import dagster as dg

from meshhouse.dagster.keys import product_key
from meshhouse.dagster.translator import CheckSpec
from meshhouse.governance.objectives import AVAILABLE, FRESHNESS, OBJECTIVES, RETENTION
from meshhouse.ledger import Ledger
from meshhouse.repository import Domain, Product, Repository, keys
from meshhouse.runs.objectives import ObjectiveStatus, objective_statuses, statuses_now


def promise_specs(domain: Domain) -> list[dg.AssetCheckSpec]:
    """One check for each objective of each product. None of them stops a publication."""
    return [
        CheckSpec(
            _name(objective),
            asset=product_key(product),
            description=f"{product.relation} promises {objective}: "
            f"{product.promises[objective]:g}. {_measured(product, objective)}",
        )
        for product in domain.products
        for objective in _promised(product)
    ]


class Promises:
    """How one domain keeps its promises. Reads the ledger once, at the first question."""

    def __init__(self, repository: Repository, ledger: Ledger, domain: Domain) -> None:
        """Looks at a domain.

        Args:
            repository: the mesh; an environment keeps no promises, so nothing is shown there.
            ledger: of the environment in use.
            domain: which one.
        """
        self._repository = repository
        self._ledger = ledger
        self._domain = domain

    def results(self, selected: Collection[dg.AssetCheckKey]) -> Iterator[dg.AssetCheckResult]:
        """The newest measurement of every selected check; none of what was not measured."""
        return self._results(selected, self._statuses)

    def results_now(self, selected: Collection[dg.AssetCheckKey]) -> Iterator[dg.AssetCheckResult]:
        """Like `results`; what can be measured without a run is measured now."""
        names = [each for each in self._domain.products
                 if any(key.asset_key == product_key(each) for key in selected)]  # fmt: skip
        if not any(_promised(each) for each in names) or self._repository.environment:
            return iter(())
        return self._results(
            selected, statuses_now(self._ledger, names, datetime.now(UTC), self._domain.name)
        )

    def _results(
        self,
        selected: Collection[dg.AssetCheckKey],
        statuses: Mapping[str, list[ObjectiveStatus]],
    ) -> Iterator[dg.AssetCheckResult]:
        for product in self._domain.products:
            for status in statuses.get(product.relation, []):
                key = dg.AssetCheckKey(product_key(product), _name(status.last.objective))
                if key in selected and status.last.met is not None:
                    yield _result(key, status)

    def metadata(self, product: Product) -> dict[str, Any]:
        """Facts for the newest materialisation of a product."""
        statuses = self._statuses.get(product.relation, [])
        # One number each: Dagster's page draws numbers over time, and shows other values as text.
        return {
            f"error budget left of {each.last.objective} (percent)": each.budget.left_percent
            for each in statuses
        }

    @cached_property
    def _statuses(self) -> dict[str, list[ObjectiveStatus]]:
        products = [each for each in self._domain.products if _promised(each)]
        if self._repository.environment or not products:
            return {}
        return objective_statuses(self._ledger, products, datetime.now(UTC), self._domain.name)


def _result(key: dg.AssetCheckKey, status: ObjectiveStatus) -> dg.AssetCheckResult:
    last = status.last
    return dg.AssetCheckResult(
        passed=bool(last.met),
        asset_key=key.asset_key,
        check_name=key.name,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "target": last.target,
            "measured": last.measured,
            "measured at": dg.MetadataValue.timestamp(last.at),
            "error budget left (percent)": status.budget.left_percent,
        },
    )


def _measured(product: Product, objective: str) -> str:
    """Whether runs measure an objective; a check that nothing ever evaluates must say why."""
    for needy, needed in ((RETENTION, keys.RETAINED_ON.name), (AVAILABLE, FRESHNESS)):
        if objective == needy and needed not in product.promises:
            return f"No run can measure it until `promises.{needed}` is declared as well."
    return "Every run measures it."


def _promised(product: Product) -> list[str]:
    return [each for each in OBJECTIVES if each in product.promises]


def _name(objective: str) -> str:
    """The check's name. Names of Soda's checks end with their type, so none is called so."""
    return f"promise_{objective}"
