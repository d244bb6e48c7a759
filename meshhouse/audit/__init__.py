"""The audit: may this candidate be published?"""

from meshhouse.audit.contract import (
    PREVIOUS_SUFFIX,
    ROWS_AGAINST_PREVIOUS,
    declared_checks,
    soda_contract,
)
from meshhouse.audit.verify import AuditResult, CheckResult, audit

__all__ = [
    "PREVIOUS_SUFFIX",
    "ROWS_AGAINST_PREVIOUS",
    "AuditResult",
    "CheckResult",
    "audit",
    "declared_checks",
    "soda_contract",
]
