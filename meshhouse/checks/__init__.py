"""`mesh check`: what can be said of a repository without any data."""

from meshhouse.checks.features import target_findings
from meshhouse.checks.finding import Finding
from meshhouse.checks.rules import check

__all__ = ["Finding", "check", "target_findings"]
