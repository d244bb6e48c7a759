"""The audit: may this candidate be published?"""

from meshhouse.audit.contract import PREVIOUS_SUFFIX, declared_checks, soda_contract
from meshhouse.audit.verify import AuditResult, CheckResult, audit

__all__ = [
    "PREVIOUS_SUFFIX",
    "AuditResult",
    "CheckResult",
    "audit",
    "declared_checks",
    "soda_contract",
]
