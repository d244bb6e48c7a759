"""What is published, how fresh it is, and what its owners promised.

Belongs here: facts about each product from declarations and the registry. Does not:
printing them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from meshhouse.publication import standing_publications
from meshhouse.registry import Registry
from meshhouse.repository import Product, Repository


@dataclass(frozen=True)
class ProductStatus:
    """One product as consumers find it."""

    product: Product
    published_at: datetime | None
    rows: int | None
    score: float | None
    refreshed_at: datetime | None
    """When a run last published it or found it unchanged."""
    promise: timedelta | None
    """How old `refreshed_at` may become, by its owner's promise."""
    last_run: str | None
    """Outcome of the domain's last run."""

    def freshness(self, now: datetime) -> str:
        """`fresh`, `late`, or `no promise`."""
        if self.promise is None or self.refreshed_at is None:
            return "no promise" if self.promise is None else "never published"
        return "fresh" if now - self.refreshed_at <= self.promise else "late"


def product_statuses(repository: Repository, registry: Registry) -> list[ProductStatus]:
    """Every declared product, published or not, upstream domains first."""
    histories: dict[str, list[dict]] = {}
    for entry in registry.entries("publications"):
        histories.setdefault(f"{entry['domain']}.{entry['product']}", []).append(entry)
    runs = registry.entries("runs")
    last_run = {run["domain"]: run["outcome"] for run in runs}
    refreshed = {
        run["domain"]: run["finished_at"]
        for run in runs
        if run["outcome"] in ("published", "unchanged")
    }
    statuses = []
    for domain in repository.domains:
        for product in domain.products:
            standing = standing_publications(histories.get(product.relation, []))
            shown = standing[-1] if standing else None
            hours = product.promises.get("refreshed_within_hours")
            statuses.append(
                ProductStatus(
                    product=product,
                    published_at=shown["finished_at"] if shown else None,
                    rows=shown["rows"] if shown else None,
                    score=float(shown["score"]) if shown else None,
                    refreshed_at=refreshed.get(domain.name) if shown else None,
                    promise=timedelta(hours=float(hours)) if hours is not None else None,
                    last_run=last_run.get(domain.name),
                )
            )
    return statuses


def age(moment: datetime | None, now: datetime | None = None) -> str:
    """How long ago, in the largest fitting unit."""
    if moment is None:
        return "-"
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"
