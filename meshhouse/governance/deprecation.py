"""Deprecated products: who still reads them, and whether their date has passed.

Belongs here: facts for people, from declarations and from published contracts. Not here: retiring a
product (runs/retirement.py), the minimum notice (rules/versions.py), or printing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from meshhouse.governance.contract import Contract
from meshhouse.ledger import Ledger
from meshhouse.repository import Domain, Product, Repository
from meshhouse.repository.references import Reading, readers, readings


@dataclass(frozen=True)
class DeprecatedRead:
    """A domain's own read of another domain's deprecated product."""

    product: Product
    reading: Reading
    columns: tuple[str, ...] = ()
    """The columns that it reads, as far as a published contract tells."""

    def sentence(self, today: date) -> str:
        """What the reader's owner must know."""
        of = f" ({', '.join(self.columns)})" if self.columns else ""
        ends = self.product.deprecated_on
        assert ends is not None
        left = (ends - today).days
        when = (
            f"which is deprecated and ends on {ends}, in {left} day{'' if left == 1 else 's'}"
            if left > 0
            else f"which ends today, {ends}"
            if left == 0
            else f"which was promised until {ends} and may be retired at any time"
        )
        return f"{self.reading.model} reads {self.product.relation}{of}, {when}."


def deprecated_reads(
    repository: Repository, domain: Domain, ledger: Ledger | None = None
) -> list[DeprecatedRead]:
    """What a domain reads of deprecated products, one entry for each model and product.

    Args:
        repository: where the domains are declared.
        domain: the reader.
        ledger: where contracts tell the columns, if it can be reached.
    """
    deprecated = {
        product.relation: product
        for provider in repository.readings
        for product in provider.products
        if product.deprecated_on is not None and provider.name != domain.name
    }
    if not deprecated:
        return []
    found = {}
    for reading in readings(repository, domain):
        if reading.relation in deprecated:
            found.setdefault((reading.model, reading.relation), reading)
    columns = _columns(ledger, domain.name) if ledger is not None and found else {}
    return [
        DeprecatedRead(deprecated[relation], each, columns.get((model, relation), ()))
        for (model, relation), each in found.items()
    ]


def warnings(repository: Repository, domain: Domain, ledger: Ledger) -> list[str]:
    """What people must know about deprecated products when a domain runs, one line each."""
    today = datetime.now(UTC).date()
    lines = [
        f"{each.sentence(today)} {remedy(repository, each.product)}"
        for each in deprecated_reads(repository, domain, ledger)
    ]
    return lines + [still_read(*each) for each in overdue_but_read(repository, domain)]


def still_read(product: Product, found: Sequence[Reading]) -> str:
    """What the provider of a product must know that is past its date and still read."""
    return (
        f"{product.relation} was promised until {product.deprecated_on}, and is still read: "
        f"{said(found)}."
    )


def remedy(repository: Repository, product: Product) -> str:
    """What a reader of a deprecated product should do."""
    others = [
        each
        for each in repository.reading(product.domain).products
        if each.model == product.model and each.version != product.version
        and each.deprecated_on is None
    ]  # fmt: skip
    # The latest version, or if this is still the latest, the newest one.
    best = max(others, key=lambda each: (each.is_latest, each.version), default=None)
    if best is not None and (best.is_latest or best.version > product.version):
        return (
            f"Read version {best.version}: ref('{product.domain}', '{product.model}', "
            f"v={best.version})."
        )
    return f"Ask {product.domain} what replaces it."


def is_over(product: Product, today: date | None = None) -> bool:
    """Whether a product is past its deprecation date, today by default."""
    ends = product.deprecated_on
    return ends is not None and ends < (today or datetime.now(UTC).date())


def overdue_but_read(repository: Repository, domain: Domain) -> list[tuple[Product, list[Reading]]]:
    """A domain's products that are past their date, with the models that still read them."""
    over = [(product, readers(repository, product)) for product in domain.products
            if is_over(product)]  # fmt: skip
    return [(product, found) for product, found in over if found]


def unknown_readers(repository: Repository, provider: str) -> list[str]:
    """Broken domains that may read a domain's products; their files cannot tell."""
    return [
        domain.name
        for domain in repository.broken
        if domain.name != provider and (provider in domain.upstream or not domain.upstream)
    ]


def said(found: Sequence[Reading]) -> str:
    """Who reads a product: `crm (stg_shop__orders), mesh (stg_orders)`."""
    models: dict[str, list[str]] = {}
    for each in found:
        models.setdefault(each.domain, []).append(each.model)
    return ", ".join(
        f"{domain} ({', '.join(dict.fromkeys(names))})" for domain, names in models.items()
    )


def _columns(ledger: Ledger, domain: str) -> Mapping[tuple[str, str], tuple[str, ...]]:
    """(Own model, product) -> columns that it reads, from the contracts of a domain."""
    found: dict[tuple[str, str], set[str]] = {}
    for head in ledger.heads(domain).values():
        reads: list[dict[str, Any]] = []
        if head.contract:
            reads = list(Contract.from_text(head.contract).get("reads", ()))
        for read in reads:
            model = str(read["reader"]).partition(".")[2]
            if read["column"]:
                found.setdefault((model, str(read["relation"])), set()).add(read["column"])
    return {key: tuple(sorted(columns)) for key, columns in found.items()}
