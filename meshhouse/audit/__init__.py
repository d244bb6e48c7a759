"""The audit: may this candidate be published?

Belongs here: running a product's checks on a candidate, and the verdict. Not here: the decision
to publish and its ledger entry (runs/publication.py), or `mesh check` (lint/).
"""

from meshhouse.audit.contract import check_key, declared_checks, read_checks, soda_contract
from meshhouse.audit.derived import ROWS_AGAINST_PREVIOUS, Derived, Origin, derived_checks
from meshhouse.audit.samples import Readable
from meshhouse.audit.verify import AuditResult, CheckResult, audit

__all__ = [
    "ROWS_AGAINST_PREVIOUS",
    "AuditResult",
    "CheckResult",
    "Derived",
    "Origin",
    "Readable",
    "audit",
    "check_key",
    "declared_checks",
    "derived_checks",
    "read_checks",
    "soda_contract",
]
