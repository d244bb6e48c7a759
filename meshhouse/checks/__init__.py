"""`mesh check`: what can be said of a repository without any data."""

from meshhouse.checks.features import manifest_findings
from meshhouse.checks.finding import Finding
from meshhouse.checks.rules import check, check_domain

__all__ = ["Finding", "check", "check_domain", "manifest_findings"]
