"""Chapter 1: columns that are removed, renamed, added, moved or filled with something else."""

from __future__ import annotations

from collections.abc import Iterator

from meshhouse.governance.change import Change
from meshhouse.governance.comparison import Comparison, change


def removed(comparison: Comparison) -> Iterator[Change]:
    """S1, S2: a column is removed."""
    if comparison.after is None:
        return
    names = {name.lower() for name in comparison.after.columns}
    for name, column in comparison.before.columns.items():
        if name.lower() in names:
            continue
        hits = comparison.readers.hits(name)
        yield change(
            "S1" if column.get("required") else "S2", name,
            f"Column `{name}` ({column['type']}) is removed.",
            "Queries that name the column fail.",
            comparison.if_read(hits), hits,
        )  # fmt: skip


RULES = (removed,)
