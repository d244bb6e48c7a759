"""Findings about deprecated products: warnings for readers, errors for providers.

Belongs here: what `mesh check` says. Not here: who reads a product, and the sentences that runs say
too (governance/deprecation.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from meshhouse.governance.deprecation import (
    deprecated_reads,
    overdue_but_read,
    remedy,
    still_read,
)
from meshhouse.lint.finding import Finding
from meshhouse.repository import Domain, Repository


def deprecation_findings(repository: Repository, domain: Domain, today: date) -> Iterator[Finding]:
    """Reads of deprecated products, and products that are past their date but still read.

    The second is an error, but it does not stop runs: the readers need new rows until they move.
    """
    for each in deprecated_reads(repository, domain):
        yield Finding(
            each.reading.path,
            each.reading.line,
            each.sentence(today),
            remedy(repository, each.product),
            is_warning=True,
        )
    for product, found in overdue_but_read(repository, domain):
        yield Finding(
            product.path,
            product.line,
            still_read(product, found),
            "Agree on a later `deprecation_date` with these domains, or help them to move. The "
            "next run after that retires it.",
        )
