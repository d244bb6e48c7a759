"""Sentences about changes and names of checks, without values that a reader must not see.

Belongs here: which sentence may hold which values, and what a reader gets instead. Not here: whose
values may be shown (clear.py, columns.py), or the sentences (governance/rules/).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from meshhouse.governance.contract import Contract


def _kinds(letter: str, *numbers: int) -> frozenset[str]:
    return frozenset(f"{letter}{number}" for number in numbers)


_NAMES = (
    _kinds("S", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14)
    | _kinds("T", *range(1, 14), *range(15, 26))
    | _kinds("N", 1, 2, 3, 4, 6)
    | _kinds("K", *range(1, 14))
    | _kinds("P", *range(1, 10), 11, 13, 14, 15)
    | _kinds("O", 1, 2, 3, 4)
    | _kinds("C", *range(1, 12))
    | _kinds("R", *range(1, 12))
    | _kinds("Y", *range(1, 12))
    | _kinds("I", *range(1, 12), 13, 14)
    | _kinds("A", 1, 2, 3, 5, 6, 9, 10)
    | _kinds("G", 1, 2, 3, 5, 6, 7, 9, 10, 11)
    | _kinds("D", 1, 10)
    | _kinds("M", 5, 8, 9, 10, 11)
    | _kinds("V", 14)
)
"""Kinds of changes whose sentences have names, types, dates of promises and numbers of rows only.
Descriptions are for everyone. For the kinds, see docs/explanation/changes.md."""
_DECLARED = _kinds("V", 1, 2, 3)
"""Their values are those that a column accepts."""
_SQL = _kinds("D", 2, 3, 4, 11) | _kinds("M", 2, 4, 6) | _kinds("T", 14) | _kinds("A", 7, 8)
"""They quote SQL, which may compare columns that the product does not even publish."""
_AS_WRITTEN = _kinds("A", 7, 8)
"""Their SQL is as a person wrote it, and so is that of hooks: M2 without a column."""
_OF_CHECKS = _kinds("V", *range(4, 14), 15, 16) | _kinds("P", 2)
_ANYTHING = frozenset({"failed_rows", "metric"})
"""Kinds of checks whose condition can name any column."""
_TEXT = re.compile(r"""("(?:[^"]|"")*")|'(?:[^']|'')*(?:'|$)""")
"""A text, or a quoted name, which can have an apostrophe."""
_NUMBER = re.compile(r"(?<![\w.?])\d[\d_]*(?:\.\d+)?(?:e[+-]?\d+)?(?!\w)", re.IGNORECASE)


@dataclass(frozen=True)
class Shown:
    """Columns of one product whose values its catalog may show, in lower case."""

    declared: frozenset[str]
    """Values that a declaration names, such as accepted ones."""
    measured: frozenset[str]
    """Values that were found in rows."""
    columns: frozenset[str]
    """All columns."""

    @property
    def is_everything(self) -> bool:
        """Whether the product has no protected column; not so where no column is known."""
        return bool(self.columns) and self.columns <= self.measured


def sentence_of(change: Mapping[str, Any], contract: Contract | None, shown: Shown) -> str:
    """What a recorded change says to the readers of a catalog.

    Args:
        change: as the ledger keeps it.
        contract: what is published now, which knows the columns of checks.
        shown: columns whose values may be shown.
    """
    what = str(change["what"])
    row, subject = _split(str(change.get("change") or ""))
    column = subject.lower()
    if row in _OF_CHECKS:
        check = contract.checks.get(subject) if contract else None
        if row == "P2" and subject.startswith("promises."):
            return what
        # The filter and the query of a check can name any column.
        is_named = check is not None and row not in {"V10", "V11"} and may_name(check, shown)
        if shown.is_everything or is_named:
            return what
        named = called(check) if check is not None else "a check"
        return f"A change of kind {row} of {named}. Its values are protected."
    is_written = row in _AS_WRITTEN or (row == "M2" and not subject)
    if row in _SQL and (shown.is_everything or not is_written):
        return without_literals(what)
    allowed = shown.declared if row in _DECLARED else shown.measured
    # A subject that is not a column today may be one that was protected when it was removed.
    is_open = shown.is_everything and (not subject or column in shown.columns)
    if not row or row in _NAMES or is_open or column in allowed:
        return what
    about = f"column `{subject}`" if column in shown.columns else "the product"
    return f"A change of kind {row} of {about}. Its values are protected."


def may_name(check: Mapping[str, Any], shown: Shown) -> bool:
    """Whether the name of a check, which can hold values of its columns, may be shown.

    Args:
        check: of a contract or an audit.
        shown: columns whose values may be shown.
    """
    if shown.is_everything or str(check.get("source")) == "unit":
        return True
    kind = str(check.get("kind") or "")
    if kind in _ANYTHING or any(check.get(each) for each in ("filter", "expression")):
        return False
    columns = [str(each).lower() for each in check.get("columns") or ()]
    columns += [str(check["column"]).lower()] if check.get("column") else []
    if not columns:
        return kind in {"row_count", "schema", "freshness", "singular"}
    return shown.declared.issuperset(columns)


def called(check: Mapping[str, Any]) -> str:
    """A check by its kind and column."""
    kind = str(check.get("kind") or check.get("source") or "unknown")
    column = f" of column `{check['column']}`" if check.get("column") else ""
    return f"a check `{kind}`{column}"


def safe_names(checks: Iterable[Mapping[str, Any]]) -> list[str]:
    """Ids of checks without the values in their names, such as `country__invalid`, each once."""
    found: list[str] = []
    for check in checks:
        parts = (str(check.get("column") or ""), str(check.get("kind") or "check"))
        name = "__".join(filter(None, parts))
        number = sum(each == name or each.startswith(f"{name}__") for each in found)
        found.append(f"{name}__{number + 1}" if number else name)
    return found


def without_literals(sql: str) -> str:
    """SQL, or a sentence with SQL, that has `'...'` and `?` instead of texts and numbers."""
    return _NUMBER.sub("?", _TEXT.sub(lambda found: found.group(1) or "'...'", sql))


def _split(key: str) -> tuple[str, str]:
    """Kind and subject; Y12 is another change, of a version that few use."""
    row, _, subject = key.partition(":")
    return _split(subject) if row == "Y12" else (row, subject)
