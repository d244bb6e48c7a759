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
    declared = column.get("classification") or ()
    declared = [declared] if isinstance(declared, str) else declared
    return tuple(str(each).lower() for each in declared)


def rank(column: Mapping[str, Any]) -> int | None:
    """How protected a column is; -1 without a class, None if the mesh does not know the class."""
    declared = classes_of(column)
    known = [CLASSES.index(each) for each in declared if each in CLASSES]
    if declared and not known:
        return None
    return max(known, default=-1)


def is_personal(column: Mapping[str, Any]) -> bool:
    """Whether a column's classification says that it is about people."""
    found = rank(column)
    return found is not None and found >= _PERSONAL
