"""Classifications of columns.

Belongs here: the order of classes, and which of them are about people. Not here: names and values
that look personal (governance/classes.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CLASSES = ("public", "internal", "confidential", "restricted", "personal", "sensitive")
"""From the least protected to the most."""
_PERSONAL = CLASSES.index("personal")


def classes_of(column: Mapping[str, Any]) -> tuple[str, ...]:
    """The declared classes of a column, in lower case."""
    declared = column.get("classification")
    if not declared:
        return ()
    declared = [declared] if isinstance(declared, str) else declared
    return tuple(str(each).lower() for each in declared)


def rank(column: Mapping[str, Any]) -> int | None:
    """How protected a column is; -1 without a class, None if the mesh does not know the class."""
    declared = classes_of(column)
    if not declared:
        return -1
    known = [CLASSES.index(each) for each in declared if each in CLASSES]
    return max(known) if known else None


def is_personal(column: Mapping[str, Any]) -> bool:
    """Whether a column's classification says that it is about people."""
    return is_about_people(rank(column))


def is_about_people(found: int | None) -> bool:
    """The same of a rank."""
    return found is not None and found >= _PERSONAL
