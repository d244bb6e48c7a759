"""What was published, in the environment in use and in production behind it.

Belongs here: whose history of a product counts, and what follows from it for a run. Does
not: the rule that decides from one history (publication.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from meshhouse.ledger import Ledger
from meshhouse.repository import Product
from meshhouse.runs.publication import Basis, Decision, decide, standing_publications


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
        shown = [standing_publications(each)[-1] for each in self.production.values()]
        found: dict[str, int | None] = {}
        for entry in sorted(shown, key=lambda each: each["number"]):
            found.update(entry["input_snapshots"])
        return found

    def decide(self, product: Product, basis: Basis, force: bool) -> Decision:
        """What its history says about a product that would now be made from `basis`."""
        return decide(basis, self.of(product), force)

    def has_changed(
        self, product: Product, basis: Basis, own_inputs: Collection[str], force: bool
    ) -> bool:
        """Whether a product must be built for its own sake.

        What an environment has not published is production's to keep up to date: there only
        its code counts, and inputs that are the environment's own.

        Args:
            product: which one.
            basis: what it would be made from now.
            own_inputs: relations that are the environment's own.
            force: build it whatever its history says.
        """
        standing = standing_publications(self.of(product))
        if standing and not self.is_own(product):
            then = standing[-1]["input_snapshots"]
            inputs = {
                relation: snapshot if relation in own_inputs else then.get(relation)
                for relation, snapshot in basis.input_snapshots.items()
            }
            # Production renews what no version can prove.
            basis = Basis(basis.code_version, inputs)
        return self.decide(product, basis, force) is Decision.BUILD


def past_publications(ledger: Ledger, domain: str | None = None) -> History:
    """What was published of one domain, or of all, here and in production behind it."""
    behind = ledger.production
    return History(
        own=_by_product(ledger.entries("publications", domain)),
        production=_by_product(behind.entries("publications", domain)) if behind else {},
    )


def production_fails(ledger: Ledger, domain: str) -> bool:
    """Whether the newest run of a domain in production, behind an environment, went wrong."""
    runs = ledger.production.entries("runs", domain) if ledger.production else []
    return bool(runs) and runs[-1]["outcome"] not in ("published", "unchanged")


def past_checks(ledger: Ledger, domain: str) -> dict[str, list[dict[str, Any]]]:
    """Audit id -> the checks of that audit, of a domain, here and in production behind it."""
    behind = ledger.production
    entries = [*(behind.entries("audits", domain) if behind else ()),
               *ledger.entries("audits", domain)]  # fmt: skip
    return {entry["audit_id"]: entry["checks"] for entry in entries}


def _by_product(entries: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        found.setdefault(f"{entry['domain']}.{entry['product']}", []).append(entry)
    return found
