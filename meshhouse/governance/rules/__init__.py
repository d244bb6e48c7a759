"""The rules of the judgement, one module for each chapter of docs/explanation/changes.md.

Belongs here: the list of all rules. A rule is a function of a `Comparison` that yields changes.
Not here: reading SQL (lineage/), or measuring rows (statistics.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from meshhouse.governance.change import Change
from meshhouse.governance.comparison import Comparison
from meshhouse.governance.rules import agreements, columns, meaning, rows, storage, topics

Rule = Callable[[Comparison], Iterable[Change]]

RULES: tuple[Rule, ...] = (
    *columns.RULES, *meaning.RULES, *storage.RULES, *rows.RULES, *topics.RULES, *agreements.RULES,
)  # fmt: skip
