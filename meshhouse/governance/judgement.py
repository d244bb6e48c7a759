"""The judgement: every change between what is published and a candidate, with its verdict.

Belongs here: asking all rules. Not here: a rule (rules/), what follows from a verdict (waivers.py,
runs/), or how it is printed (cli/).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from meshhouse.governance.change import Change, Verdict
from meshhouse.governance.comparison import Comparison
from meshhouse.governance.rules import RULES
from meshhouse.governance.rules.versions import as_agreed


def judge(comparison: Comparison) -> tuple[Change, ...]:
    """Every change, the worst first; empty if nothing changed that anybody needs to know.

    Pure: needs neither warehouse nor ledger.
    """
    found = _found(comparison)
    if comparison.is_same_code:
        found = [_of_events(each, comparison) for each in found]
    else:
        found += _of_later_builds(comparison, found)
    unique = {(each.key, each.what): each for each in found}
    return tuple(sorted(unique.values(), key=lambda each: (-each.verdict, each.row, each.subject)))


def _found(comparison: Comparison) -> list[Change]:
    return [as_agreed(comparison, change) for rule in RULES for change in rule(comparison)]


def _of_later_builds(comparison: Comparison, known: Sequence[Change]) -> list[Change]:
    """The changes that only the branches of `is_incremental()` make.

    A change that the SQL of the first build makes as well is judged there, with its statistics.
    """
    later = comparison.of_later_builds
    if later is None:
        return []
    first = replace(comparison, before_statistics=None, after_statistics=None)
    seen = {(each.key, each.what) for each in (*known, *_found(first))}
    return [
        replace(each, what=f"In later builds: {each.what}")
        for each in _found(later)
        if (each.key, each.what) not in seen
    ]


LOST_ROWS = "D1"
"""The kind of change that the audit finds as well: too few rows beside what is published."""
_CERTAIN = frozenset({"M1", "M3"})
"""Kinds that new events alone do not cause: another unit, another sign.

A column without values is not among them: on a holiday, all stores are closed."""
_ENOUGH_ROWS = 100


def _of_events(change: Change, comparison: Comparison) -> Change:
    """A silent change that only new events can have caused is listed, and refuses nothing.

    Ordinary days look like changed meaning: all keys of a list of the ten best sellers may change,
    and so may the only value of a status. If they asked for a confirmation, every run would stop.
    """
    statistics = (comparison.before_statistics, comparison.after_statistics)
    is_large = all(each is not None and each["rows"] >= _ENOUGH_ROWS for each in statistics)
    is_certain = change.row == LOST_ROWS or (change.row in _CERTAIN and is_large)
    if not change.is_silent or is_certain:
        return change
    return replace(change, verdict=min(change.verdict, Verdict.MINOR))
