"""Chapter 4: keys and grain as the contract declares them.

Not here: values of keys that change (key_values.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from meshhouse.governance.change import Change, Verdict, listed
from meshhouse.governance.comparison import Comparison, change
from meshhouse.governance.contract import Contract

_VALIDITY = re.compile(
    r"(?:dbt_)?(?:valid|effective|active|validity)_(?:from|to|until|since|start|end|date)"
    r"|(?:dbt_)?is_current|current_flag|row_(?:start|end)|version_(?:start|end)"
)
Check = Mapping[str, Any]

ONLY_WARNED = "Little: the check only warned, so readers could not rely on it."
UNIQUE = frozenset({"unique", "duplicate", "dbt_utils.unique_combination_of_columns"})
FOREIGN = frozenset({"relationships", "foreign_key"})


def grain(comparison: Comparison) -> Iterator[Change]:
    """K1, K3, K4, K5, K12: what one row is; one change for the worst of them."""
    if comparison.after is None:
        return
    old = [comparison.columns.new_name(name) for name in comparison.before.grain]
    new = [name.lower() for name in comparison.after.grain]
    history = _history(comparison, old, new)
    if history:
        yield _grain(
            comparison, "K12", f"{history} (key: {listed(old)}; now: {listed(new)}).",
            "Joins by the old key multiply rows, or find only the current one.",
        )  # fmt: skip
    elif old and not new:
        yield _grain(
            comparison, "K1", f"The key ({listed(old)}) is dropped.",
            "Joins by the old key multiply rows.",
        )  # fmt: skip
    elif {*old} < {*new}:
        yield _grain(
            comparison, "K3",
            f"The key gains {listed(sorted({*new} - {*old}))}: it was {listed(old)}, "
            f"and is {listed(new)}{_rows(comparison)}.",
            "Joins by the old key multiply rows, and counts rise.",
        )  # fmt: skip
    elif {*old} - {*new}:
        yield _grain(
            comparison, "K4",
            f"The key loses {listed(sorted({*old} - {*new}))}: it was {listed(old)}, "
            f"and is {listed(new)}{_rows(comparison)}.",
            "Readers lose detail, and joins by the old key find other rows.",
        )  # fmt: skip
    elif _words(comparison.before) != _words(comparison.after) and _words(comparison.before):
        yield change(
            "K5", "",
            f"The grain reads `{comparison.after.get('grain.text', '')}`; "
            f"it was `{comparison.before.get('grain.text')}`.",
            "Counts may mean something else: confirm that a row is what it was.",
            Verdict.BREAKING, comparison.readers.hits(), is_silent=True,
        )  # fmt: skip


def _grain(comparison: Comparison, row: str, what: str, effect: str) -> Change:
    return change(row, "", what, effect, Verdict.BREAKING, comparison.readers.hits())


def _rows(comparison: Comparison) -> str:
    before, after = comparison.before_statistics, comparison.after_statistics
    if not before or not after or not before["rows"]:
        return ""
    return f" ({after['rows'] / before['rows']:.2f} rows for each row of before)"


def _words(contract: Contract) -> list[str]:
    """The words of the grain's text; case, punctuation and articles mean nothing."""
    words = re.findall(r"[\w.%-]*\w|[%€$]", str(contract.get("grain.text", "")).lower())
    return [each for each in words if each not in {"a", "an", "the"}]


def new_periods(comparison: Comparison) -> list[str]:
    """Columns that come with the history of rows, in lower case; they are part of K12."""
    if comparison.after is None:
        return []
    old = [comparison.columns.new_name(name) for name in comparison.before.grain]
    new = [name.lower() for name in comparison.after.grain]
    return _validity(comparison.after) if _history(comparison, old, new) else []


def _history(comparison: Comparison, old: list[str], new: list[str]) -> str:
    """What happened to the history of rows; empty if nothing."""
    assert comparison.after is not None
    had, has = (_validity(each) for each in (comparison.before, comparison.after))
    is_other_row = (
        {*old} != {*new}
        or _words(comparison.before) != _words(comparison.after)
        or any(_lost_uniqueness(comparison))
    )
    if bool(had) == bool(has) or not is_other_row:
        return ""
    if has:
        return f"Each entity has a row for each period, by {listed(has)}, instead of its state"
    return f"Each entity has its current state only; {listed(had)} named the period of each row"


def _validity(contract: Contract) -> list[str]:
    return [name for name in map(str.lower, contract.columns) if _VALIDITY.fullmatch(name)]


def uniqueness(comparison: Comparison) -> Iterator[Change]:
    """K2: values of a column, or of columns together, need not be unique any more."""
    if comparison.after is None:
        return
    old = [comparison.columns.new_name(name) for name in comparison.before.grain]
    new = [name.lower() for name in comparison.after.grain]
    for names in _lost_uniqueness(comparison):
        # The key that changes is the cause.
        if {comparison.columns.new_name(name) for name in names} == {*old} != {*new}:
            continue
        hits = sorted({hit for name in names for hit in comparison.readers.hits(name)})
        was_kept = frozenset(names) in unique_columns(comparison.before, stops)
        yield change(
            "K2", ", ".join(names),
            f"Values of {listed(names)} need not be unique any more.",
            "Joins by them multiply rows." if was_kept else ONLY_WARNED,
            Verdict.BREAKING if was_kept else Verdict.MINOR, hits,
        )  # fmt: skip


def _lost_uniqueness(comparison: Comparison) -> Iterator[list[str]]:
    assert comparison.after is not None
    kept = {pair.old.lower() for pair in comparison.columns.pairs}
    for names in sorted(unique_columns(comparison.before, is_enabled), key=sorted):
        new = frozenset(comparison.columns.new_name(each) for each in names)
        if names <= kept and not is_unique(comparison.after, new):
            yield sorted(names)


def is_unique(contract: Contract, names: frozenset[str]) -> bool:
    """Whether a contract promises that values of these columns together are unique.

    The key promises it too, and so do some of the columns that are unique already.
    """
    key = frozenset(name.lower() for name in contract.grain)
    return any(each and each <= names for each in (*unique_columns(contract), key))


def is_enabled(check: Check) -> bool:
    """Whether a check is not switched off; switching it off is a change of chapter 5."""
    return bool(check.get("enabled", True))


def stops(check: Check) -> bool:
    """Whether a check stops a publication; others only warn, and readers cannot rely on them."""
    return is_enabled(check) and check.get("severity", "error") == "error"


def unique_columns(
    contract: Contract, counts: Callable[[Check], bool] = lambda check: True
) -> set[frozenset[str]]:
    """Sets of columns whose values are declared or checked to be unique.

    Args:
        contract: any contract.
        counts: which of its checks count.
    """
    found = {
        frozenset([name.lower()])
        for name, column in contract.columns.items()
        if column.get("unique")
    }
    for check in contract.checks.values():
        if check.get("kind") in UNIQUE and counts(check):
            found.add(frozenset(columns_of(check)))
    return found - {frozenset()}


def columns_of(check: Check) -> list[str]:
    """The columns that a check of a key is about, in lower case."""
    together = (check.get("arguments") or {}).get("combination_of_columns")
    names = check.get("columns") or together or [check.get("column")]
    return [str(each).lower() for each in names if each]


def foreign_keys(comparison: Comparison) -> Iterator[Change]:
    """K6: a foreign key is dropped; K7: it leads to another product, version or column."""
    if comparison.after is None:
        return
    before = foreign_targets(comparison.before, is_enabled)
    firm = foreign_targets(comparison.before, stops)
    after = foreign_targets(comparison.after)
    for pair in comparison.columns.pairs:
        old = before.get(pair.old.lower())
        new = after.get(pair.new.lower())
        if old is None or old == new:
            continue
        hits = comparison.readers.hits(pair.old)
        was_kept = pair.old.lower() in firm
        if new is None:
            yield change(
                "K6", pair.old,
                f"Values of `{pair.old}` need not be in `{old}` any more.",
                "Joins lose rows, or find nothing for some." if was_kept else ONLY_WARNED,
                comparison.if_read(hits) if was_kept else Verdict.MINOR, hits,
            )  # fmt: skip
        else:
            yield change(
                "K7", pair.old,
                f"Values of `{pair.old}` lead to `{new}`; they led to `{old}`.",
                "Readers join a table to which the values do not belong.",
                Verdict.BREAKING, hits,
            )  # fmt: skip


def foreign_targets(
    contract: Contract, counts: Callable[[Check], bool] = lambda check: True
) -> dict[str, str]:
    """Column -> the product and column that its values are in; see `unique_columns`."""
    found = {}
    for check in contract.checks.values():
        if check.get("kind") in FOREIGN and check.get("column") and counts(check):
            found[str(check["column"]).lower()] = _target(check)
    for name, column in contract.columns.items():
        if column.get("references"):
            found.setdefault(name.lower(), _target(column["references"]))
    return found


def _target(declared: Mapping[str, Any]) -> str:
    """Product and column, such as `crm.customers.id`; dbt's tests have them as arguments."""
    found = {**declared, **(declared.get("arguments") or {})}
    relation = str(found.get("to"))
    if "ref(" in relation:
        name, _, version = relation.partition("v=")
        parts = [*re.findall(r"['\"]([^'\"]+)['\"]", name), *re.findall(r"\w+", version)[:1]]
        relation = ".".join(parts)
    return f"{relation}.{found.get('field')}".lower()


RULES = (grain, uniqueness, foreign_keys)
