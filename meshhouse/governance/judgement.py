"""The judgement: every change between what is published and a candidate, with its verdict.

Belongs here: asking all rules. Not here: a rule (rules/), what follows from a verdict (waivers.py,
runs/), or how it is printed (cli/).
"""

from __future__ import annotations

from meshhouse.governance.change import Change
from meshhouse.governance.comparison import Comparison
from meshhouse.governance.rules import RULES
from meshhouse.governance.rules.versions import as_agreed


def judge(comparison: Comparison) -> tuple[Change, ...]:
    """Every change, the worst first; empty if nothing changed that anybody needs to know.

    Pure: needs neither warehouse nor ledger.
    """
    found = [as_agreed(comparison, change) for rule in RULES for change in rule(comparison)]
    unique = {(each.key, each.what): each for each in found}
    return tuple(sorted(unique.values(), key=lambda each: (-each.verdict, each.row, each.subject)))
