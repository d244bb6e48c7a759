"""The audit: may this candidate be published?

Belongs here: running a product's checks on a candidate, and the verdict. Not here: the decision
to publish and its ledger entry (runs/publication.py), or `mesh check` (lint/).
"""

from meshhouse.audit.contract import (
    PREVIOUS_SUFFIX,
    ROWS_AGAINST_PREVIOUS,
    check_key,
    declared_checks,
    soda_contract,
)
from meshhouse.audit.samples import Readable
from meshhouse.audit.verify import AuditResult, CheckResult, audit

__all__ = [
    "PREVIOUS_SUFFIX",
    "ROWS_AGAINST_PREVIOUS",
    "AuditResult",
    "CheckResult",
    "Readable",
    "audit",
    "check_key",
    "declared_checks",
    "soda_contract",
]
