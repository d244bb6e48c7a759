"""`mesh check`: finds mistakes in a repository without reading any data.

Belongs here: rules about declarations, models and checks; SQL portability is in sql/. Not here:
reading declarations (repository/), or the checks of data (audit/).
"""

from meshhouse.lint.features import target_findings
from meshhouse.lint.finding import Finding
from meshhouse.lint.rules import check

__all__ = ["Finding", "check", "target_findings"]
