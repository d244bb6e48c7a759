"""Which check of a candidate took the place of a published check.

Belongs here: pairing the checks of two contracts, even if ids or names of columns changed. Not
here: what a changed check means (rules/).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshhouse.governance.comparison import Comparison

Check = Mapping[str, Any]
_BODY = (
    "must", "bounds", "filter", "query", "expression", "arguments", "values", "pattern", "other",
    "severity", "stage",
)  # fmt: skip


def paired(comparison: Comparison) -> list[tuple[Check, Check | None]]:
    """Each published check with the candidate's; None if it was removed.

    A check whose id changed is the same if it is equal to a new one, or if it is the only one of
    its kind on its column.
    """
    if comparison.after is None:
        return []
    before, after = comparison.before.checks, comparison.after.checks
    old_places = {name: _place(each, comparison) for name, each in before.items()}
    new_places = {name: _place(each) for name, each in after.items()}
    kept = {name for name in before if old_places[name] == new_places.get(name)}
    gone = [place for name, place in old_places.items() if name not in kept]
    pairs: list[tuple[Check, Check | None]] = []
    for name, old in before.items():
        if name in kept:
            pairs.append((old, after[name]))
            continue
        place = old_places[name]
        fresh = [
            each for key, each in after.items() if key not in kept and new_places[key] == place
        ]
        equal = [each for each in fresh if _body(each) == _body(old)]
        is_alone = len(fresh) == gone.count(place) == 1
        pairs.append((old, next(iter(equal or (fresh if is_alone else ())), None)))
    return pairs


def _place(check: Check, comparison: Comparison | None = None) -> tuple[str, tuple[str, ...]]:
    """The kind of a check and its columns, by their new names."""
    names = [str(each).lower() for each in check.get("columns") or [check.get("column") or ""]]
    if comparison is not None:
        names = [comparison.columns.new_name(each) for each in names]
    return str(check.get("kind")), tuple(sorted(names))


def _body(check: Check) -> list[Any]:
    return [check.get(key) for key in _BODY]
