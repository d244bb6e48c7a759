"""The rules of the judgement, one module for each chapter of docs/explanation/changes.md.

Belongs here: the list of all rules. A rule is a function of a `Comparison` that yields changes.
Not here: reading SQL (lineage/), or measuring rows (statistics.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from meshhouse.governance.change import Change
from meshhouse.governance.comparison import Comparison
from meshhouse.governance.rules import (
    access,
    agreements,
    builds,
    checks,
    columns,
    figures,
    filling,
    key_values,
    keys,
    meaning,
    nullability,
    ownership,
    privacy,
    promises,
    rows,
    spelling,
    storage,
    topics,
    types,
    values,
    versions,
)

Rule = Callable[[Comparison], Iterable[Change]]

RULES: tuple[Rule, ...] = (
    *columns.RULES,
    *values.RULES,
    *checks.RULES,
    *promises.RULES,
    *privacy.RULES,
    *access.RULES,
    *versions.RULES,
    *ownership.RULES,
    *filling.RULES,
    *types.RULES,
    *spelling.RULES,
    *nullability.RULES,
    *keys.RULES,
    *key_values.RULES,
    *meaning.RULES,
    *figures.RULES,
    *builds.RULES,
    *storage.RULES,
    *rows.RULES,
    *topics.RULES,
    *agreements.RULES,
)
