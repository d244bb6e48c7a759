"""Policies of the federation: rules that every domain keeps, named in `policies.yml`.

Belongs here: what every user of policies needs. Not here: the file (repository/policies.py), or how
findings are printed and stop runs (lint/, cli/).
"""

from __future__ import annotations

from meshhouse.governance.comparison import NOTICE_DAYS
from meshhouse.repository import Repository
from meshhouse.repository.policies import read_policies

NOTICE = "deprecation_notice"
"""The rule whose parameter `days` is the minimum notice."""


def notice_days(repository: Repository) -> int:
    """The days of notice that consumers get before a version is retired.

    A parameter that cannot be used is a finding of `mesh check`; then the default counts.
    """
    setting = read_policies(repository.root).rules.get(NOTICE)
    days = setting.parameters.get("days") if setting else None
    is_usable = isinstance(days, int) and not isinstance(days, bool) and 0 <= days <= 3650
    return days if is_usable else NOTICE_DAYS
