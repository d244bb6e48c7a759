"""Records how promises were kept, and tells it from the ledger.

Belongs here: what a run of a domain measures and stores, and the state of each objective with its
error budget. Not here: what is measured and how (governance/objectives.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import Any

from meshhouse.governance.objectives import (
    AVAILABILITY,
    AVAILABLE,
    LATENCY,
    OBJECTIVES,
    WINDOW,
    Budget,
    Look,
    Measurement,
    budget,
    days,
    measure,
)
from meshhouse.ledger import Head, Ledger
from meshhouse.repository import Domain, Product, keys
from meshhouse.runs.outcome import DomainRun

NOTHING: Mapping[str, Any] = MappingProxyType({})
_REFRESHED = ("published", "unchanged")
_MEASURED = (*_REFRESHED, "failed", "rejected", "not published")
"""What became of products whose promises a run measures. Others are disabled or rolled back."""
_REMEMBERED = WINDOW + timedelta(days=1)


@dataclass(frozen=True)
class ObjectiveStatus:
    """One objective of a product as it is now."""

    last: Measurement
    budget: Budget

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "objective": self.last.objective,
            "target": self.last.target,
            "measured": self.last.measured,
            "met": self.last.met,
            "at": self.last.at,
            "budget_left_percent": self.budget.left_percent,
        }


@dataclass(frozen=True)
class Kept:
    """One promise of a product, whether a run has measured it or not."""

    objective: str
    target: float
    status: ObjectiveStatus | None
    """None if no run of the last 30 days measured it."""
    days: tuple[tuple[date, str], ...]
    """How it was kept on each of these days; see `governance.objectives.days`."""


def objective_entries(
    ledger: Ledger,
    domain: Domain,
    run: DomainRun,
    statistics: Mapping[str, Mapping[str, Any]] = NOTHING,
) -> list[dict[str, Any]]:
    """Measures the promises of what a run was about: ledger entries.

    An environment keeps no promises: its products have no consumers.

    Args:
        ledger: of the environment in use.
        domain: of the run.
        run: what it did, or is about to publish.
        statistics: relation -> what was measured of what it publishes.
    """
    became = run.products
    promising = [
        product
        for product in domain.products
        if set(OBJECTIVES) & set(product.promises) and became.get(product.name) in _MEASURED
    ]
    if not promising or ledger.production is not None:
        return []
    now = run.finished_at or datetime.now(UTC)
    heads = ledger.heads(domain.name, documents=False)
    before = _measurements(ledger, now, domain.name)
    landed = _newest_landing(ledger, domain, promising, now)
    return [
        _row(run, product, each)
        for product in promising
        for each in measure(
            product,
            Look(
                at=now,
                refreshed=became[product.name] in _REFRESHED,
                published=became[product.name] == "published",
                last_refresh=_last_refresh(heads.get(product.relation)),
                statistics=statistics.get(product.relation),
                newest_landing=landed,
            ),
            before.get(product.relation, []),
        )
    ]


def objective_statuses(
    ledger: Ledger, products: Iterable[Product], now: datetime, domain: str | None = None
) -> dict[str, list[ObjectiveStatus]]:
    """Product relation -> its objectives that were measured in the last 30 days.

    Args:
        ledger: of the environment in use; promises are those of production.
        products: as they are declared; objectives that are no longer promised are left out.
        now: the end of the window of error budgets.
        domain: whose products they all are; None if they are of several domains.
    """
    kept = promises_kept(ledger, products, now, domain)
    return {
        relation: [each.status for each in promises if each.status is not None]
        for relation, promises in kept.items()
    }


def promises_kept(
    ledger: Ledger, products: Iterable[Product], now: datetime, domain: str | None = None
) -> dict[str, list[Kept]]:
    """Product relation -> every objective that it promises. See `objective_statuses`."""
    measured = _measurements(ledger.production or ledger, now, domain)
    found = {}
    for product in products:
        series: dict[str, list[Measurement]] = {}
        for each in measured.get(product.relation, []):
            series.setdefault(each.objective, []).append(each)
        found[product.relation] = [
            _kept(product, name, series.get(name, ()), now)
            for name in OBJECTIVES
            if name in product.promises
        ]
    return found


def _kept(product: Product, objective: str, measured: Sequence[Measurement], now: datetime) -> Kept:
    percent = float(product.promises.get(AVAILABLE, AVAILABILITY))
    status = ObjectiveStatus(measured[-1], budget(measured, now, percent)) if measured else None
    return Kept(objective, float(product.promises[objective]), status, days(measured, now))


def statuses_now(
    ledger: Ledger, products: Sequence[Product], now: datetime, domain: str
) -> dict[str, list[ObjectiveStatus]]:
    """Like `objective_statuses`, with everything measured again that takes no run. Records nothing.

    How old a product is depends on the clock alone; what else is promised is measured on what a
    run publishes.
    """
    heads = ledger.heads(domain, documents=False)
    before = _measurements(ledger, now, domain)
    found = objective_statuses(ledger, products, now, domain)
    for product in products:
        last = _last_refresh(heads.get(product.relation))
        look = Look(at=now, refreshed=False, published=False, last_refresh=last)
        known = {each.last.objective: each for each in found[product.relation]}
        for each in measure(product, look, before.get(product.relation, [])):
            if each.objective in known:
                known[each.objective] = replace(known[each.objective], last=each)
            else:  # no run of the last 30 days has measured it
                percent = float(product.promises.get(AVAILABLE, AVAILABILITY))
                known[each.objective] = ObjectiveStatus(each, budget([each], now, percent))
        found[product.relation] = [known[name] for name in OBJECTIVES if name in known]
    return found


def _measurements(
    ledger: Ledger, now: datetime, domain: str | None = None
) -> dict[str, list[Measurement]]:
    """Product relation -> its measurements, in the order of the ledger."""
    found: dict[str, list[Measurement]] = {}
    # From midnight: then only a new day leaves a measurement out.
    begin = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for row in ledger.entries("objectives", domain, begin - _REMEMBERED):
        each = Measurement(
            row["objective"], row["target"], row["measured"], row["finished_at"], row["started_at"]
        )
        found.setdefault(f"{row['domain']}.{row['product']}", []).append(each)
    return found


def _last_refresh(head: Head | None) -> datetime | None:
    return head.refreshed_at if head is not None and head.is_published else None


def _newest_landing(
    ledger: Ledger, domain: Domain, products: Sequence[Product], now: datetime
) -> datetime | None:
    """When the newest events of the domain landed, if a promise is measured on it."""
    if not any(
        LATENCY in each.promises and keys.MEASURED_ON.name not in each.promises for each in products
    ):
        return None
    landings = ledger.entries("landings", domain.name, now - _REMEMBERED)
    return max((each["finished_at"] for each in landings if each["rows"]), default=None)


def _row(run: DomainRun, product: Product, measured: Measurement) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "domain": product.domain,
        "product": product.name,
        "objective": measured.objective,
        "target": measured.target,
        "measured": measured.measured,
        "met": measured.met,
        "started_at": measured.since,
        "finished_at": measured.at,
    }
