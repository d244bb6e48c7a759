"""What changed between two states of products, for `mesh diff` and `mesh check`.

Belongs here: which products are compared, and with what. Not here: the judgement (governance/),
rows (row_diff.py), or how a difference is printed (cli/diff.py).
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from meshhouse.errors import UsageError
from meshhouse.governance.contract import Contract
from meshhouse.governance.report import Judged
from meshhouse.ledger import Ledger
from meshhouse.repository import Domain, Product, Repository
from meshhouse.runs.contracts import DeclaredContracts
from meshhouse.runs.gate import Gate
from meshhouse.runs.parse import fresh_manifest


@dataclass
class Difference:
    """What changed in some products."""

    judged: list[Judged] = field(default_factory=list)
    """Products that are published and changed."""
    unchanged: list[str] = field(default_factory=list)
    """Products whose contract is the published one."""
    new: list[str] = field(default_factory=list)
    """Products without a publication to compare with."""
    removed: list[str] = field(default_factory=list)
    """Products that are published and no longer declared."""

    @property
    def is_refused(self) -> bool:
        """Whether a run would refuse to publish something."""
        return any(each.outcome.refused for each in self.judged)

    def add(self, relation: str, judged: Judged | None) -> None:
        """Adds a product with its judgement; None if there is nothing to compare with."""
        if judged is None:
            self.new.append(relation)
        elif judged.after is not None and judged.after.hash == judged.before.hash:
            self.unchanged.append(relation)
        else:
            self.judged.append(judged)


def declared_difference(
    repository: Repository, ledger: Ledger, domain: Domain, names: Collection[str] | None = None
) -> Difference:
    """Compares what a domain declares with what consumers see of it. Needs no data.

    Args:
        repository: where the domain is declared.
        ledger: of the environment in use; an environment compares with production.
        domain: which one.
        names: of the products in question; None for all.

    Raises:
        MeshError: the domain does not parse or render.
    """
    manifest = fresh_manifest(repository, domain)
    contracts = DeclaredContracts(repository, domain, manifest)
    gate = Gate(repository, ledger, domain)
    found = Difference()
    for product in domain.products:
        if (names is None or product.name in names) and not manifest.withheld(product):
            found.add(product.relation, gate.judge(product, contracts.of(product)))
    for relation in gate.published_without(product.relation for product in domain.products):
        if names is None or relation.partition(".")[2] in names:
            found.removed.append(relation)
    return found


def published_difference(
    repository: Repository, ledger: Ledger, product: Product, earlier: int, later: int
) -> Difference:
    """Compares two publications of a product, with the statistics of both.

    Args:
        repository: where the product is declared.
        ledger: where the publications are recorded.
        product: whose publications they are.
        earlier: number of the first publication, as `mesh history` shows it.
        later: number of the second one.

    Raises:
        UsageError: there is no such publication, or it was recorded without a contract.
    """
    gate = Gate(repository, ledger, repository.domain(product.domain))
    before, after = (_recorded(ledger, product, number) for number in (earlier, later))
    found = Difference()
    found.add(product.relation, gate.judge_between(product, before, after, earlier))
    return found


def _recorded(
    ledger: Ledger, product: Product, number: int
) -> tuple[Contract, dict[str, Any] | None]:
    entries = [
        each
        for each in ledger.entries("publications", product.domain)
        if each["product"] == product.name and each["number"] == number
    ]
    if not entries:
        raise UsageError(
            f"{product.relation} has no publication {number}. "
            f"`mesh history {product.relation}` lists the numbers."
        )
    promised = ledger.contract(entries[-1].get("contract_hash") or "")
    if promised is None:
        raise UsageError(
            f"Publication {number} of {product.relation} was recorded without a contract, by an "
            "older version of Meshhouse, so it cannot be compared."
        )
    identifier = entries[-1]["publication_id"]
    measured = ledger.statistics([identifier]).get(identifier)
    return Contract.from_text(promised), json.loads(measured) if measured else None
