"""Whose values a catalog may show.

Belongs here: the decision for one column. Not here: the order of classes (repository/classes.py).

Everyone sees values of columns that are public or have no class. The catalog of one consumer
(`--for`) also shows values of what its domain owns, as far as they are `restricted` or less.
Values of personal and more protected columns are on no page, and neither are those of a class that
the mesh does not know. A column counts as protected as the stricter of what it was published with
and what is declared now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from meshhouse.repository.classes import CLASSES, classes_of, is_about_people, rank

_EVERYONE = CLASSES.index("public")


def may_show(columns: Iterable[Mapping[str, Any]], owned: bool) -> bool:
    """Whether values of a column may be shown.

    Args:
        columns: the column as it was published and as it is declared.
        owned: whether the catalog is made for the domain that owns it.
    """
    for column in columns:
        found = rank(column)
        if found is None or is_about_people(found):
            return False
        if found > _EVERYONE and not owned:
            return False
    return True


def most_protected(columns: Iterable[Mapping[str, Any]]) -> str:
    """The most protected class of columns; a class that the mesh does not know comes first."""
    declared = [(_order(each), each) for each in columns if classes_of(each)]
    if not declared:
        return ""
    _, strictest = max(declared, key=lambda each: each[0])
    return max(classes_of(strictest), key=lambda name: _order({"classification": name}))


def _order(column: Mapping[str, Any]) -> int:
    found = rank(column)
    return len(CLASSES) if found is None else found
