"""What was published, in the environment in use and in production behind it.

Belongs here: the publications, rollbacks, runs and checks of a product as the ledger has them,
and whose history of a product counts. Not here: what a run does because of them (plan.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meshhouse.heads import REPEATS, effective_publications, publications_of
from meshhouse.ledger import Ledger
from meshhouse.repository import Product


@dataclass(frozen=True)
class History:
    """Publications and rollbacks by product, oldest first."""

    own: Mapping[str, list[dict[str, Any]]]
    """`domain.product` -> ledger entries of the environment in use."""
    production: Mapping[str, list[dict[str, Any]]]
    """Production's, where another environment is in use."""

    def is_own(self, product: Product) -> bool:
        """Whether the environment in use has ever published it."""
        return product.relation in self.own

    def of(self, product: Product) -> list[dict[str, Any]]:
        """What happened to it in this environment; in production if nothing did."""
        return self.own.get(product.relation) or self.production.get(product.relation, [])

    def read_by_production(self) -> dict[str, int | None]:
        """Relation -> the snapshot that production's newest publications were made from."""
        standing = map(effective_publications, self.production.values())
        shown = [each[-1] for each in standing if each]
        found: dict[str, int | None] = {}
        for entry in sorted(shown, key=lambda each: each["number"]):
            found.update(entry["input_snapshots"])
        return found


def rolled_back_publications(history: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The publications that rollbacks since the newest publication took back."""
    newest = max(
        (at for at, entry in enumerate(history) if entry["kind"] not in REPEATS), default=-1
    )
    before = effective_publications(history[: newest + 1])
    return before[len(effective_publications(history)) :]


def past_publications(ledger: Ledger, domain: str | None = None) -> History:
    """What was published of one domain, or of all, here and in production behind it."""
    behind = ledger.production
    return History(
        own=publications_of(ledger, domain),
        production=publications_of(behind, domain) if behind else {},
    )


def production_fails(ledger: Ledger, domain: str) -> bool:
    """Whether the newest run of a domain in production, behind an environment, went wrong."""
    newest = ledger.production.last_runs(domain).get(domain) if ledger.production else None
    return newest is not None and newest.last_run not in ("published", "unchanged")


def past_checks(ledger: Ledger, domain: str) -> dict[str, list[dict[str, Any]]]:
    """Audit id -> the checks of that audit, of a domain, here and in production behind it."""
    behind = ledger.production
    entries = [*(behind.entries("audits", domain) if behind else ()),
               *ledger.entries("audits", domain)]  # fmt: skip
    return {entry["audit_id"]: entry["checks"] for entry in entries}
