"""`mesh check`: what can be said of a repository without any data."""

from meshhouse.lint.features import target_findings
from meshhouse.lint.finding import Finding
from meshhouse.lint.rules import check

__all__ = ["Finding", "check", "target_findings"]
