"""Chapter 7: columns that are made of personal data under another name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from meshhouse.governance.aggregates import is_aggregate
from meshhouse.governance.change import Change, Verdict, listed
from meshhouse.governance.comparison import Comparison, change
from meshhouse.governance.contract import Contract
from meshhouse.repository.classes import classes_of, is_personal


def derived(comparison: Comparison) -> Iterator[Change]:
    """C9: a column begins to be made of personal data and is not classified as personal.

    It also begins if the data becomes personal: then every column that is made of it is asked for.
    """
    after = comparison.after
    if after is None:
        return
    was_personal, is_now_personal = _personal_roots(comparison.before), _personal_roots(after)
    olds = {pair.new: pair.before for pair in comparison.columns.pairs}
    for name, column in after.columns.items():
        old = olds.get(name, {})
        # A column that was personal is C1 or C2.
        if is_personal(old) or is_personal(column) or column.get("declassified"):
            continue
        known = _roots(old) & was_personal
        found = (_roots(column) & (is_now_personal | was_personal)) - known
        if found and not is_aggregate(after, name):
            yield change(
                "C9", name,
                f"Column `{name}` is made of the personal {listed(sorted(found))} and "
                + ("has a lower class." if classes_of(column) else "has no class."),
                "Data of people is published unprotected under another name.", Verdict.FORBIDDEN,
            )  # fmt: skip
        elif is_now_personal and _is_unknown(column) and not _is_unknown(old):
            yield change(
                "C9", name,
                f"It is not known of which fields column `{name}` is made.",
                "It may hold data of people: classify it if it does.", Verdict.MINOR,
            )  # fmt: skip


def _roots(column: Mapping[str, Any]) -> set[str]:
    return {str(each).lower() for each in column.get("roots") or ()}


def _is_unknown(column: Mapping[str, Any]) -> bool:
    return column.get("lineage") == "unknown" and not classes_of(column)


def _personal_roots(contract: Contract) -> set[str]:
    """The fields of raw tables that are personal, or that personal columns are made of."""
    found = set().union(*(_roots(each) for each in contract.columns.values() if is_personal(each)))
    for topic in contract.get("topics", {}).values():
        fields = topic.get("fields") or {}
        personal = [name for name, column in fields.items() if is_personal(column)]
        found |= {f"{topic.get('raw_table')}.{name}".lower() for name in personal}
    return found


RULES = (derived,)
