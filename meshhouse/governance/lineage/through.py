"""Reads of given relations through the models of a domain.

Belongs here: uses in a query of what other models of its domain pass on. Not here: reads of a
relation that the query itself names (reads.py), or what models pass on (domain.py).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from meshhouse.governance.lineage.domain import Domain
from meshhouse.governance.lineage.flow import ROWS, STAR
from meshhouse.governance.lineage.reads import read_of
from meshhouse.governance.readers import Read


def reads_through(
    reader: str, sql: str, domain: Domain, relations: Collection[str], direct: Collection[Read] = ()
) -> tuple[Read, ...]:
    """How a query uses columns that reach it through other models of its domain.

    A column that the query only passes on is left out: the model before it names the column, so it
    is that model which a removed column would break.

    Args:
        reader: `domain.model` that the SQL builds, or whose check it is.
        sql: one compiled query.
        domain: the models.
        relations: whose columns count, in lower case.
        direct: what `reads_of` found of the query; it is not repeated.

    Returns:
        Reads with `is_direct=False`, in the order of relation and column.
    """
    known = {(each.relation, each.column): each for each in direct}
    uses = domain.walk(sql).uses
    found = []
    for origin, use in uses.found.items():
        read = replace(read_of(origin, use), reader=reader, is_direct=False)
        if read.relation not in relations or _says_nothing(read, bool(uses.problems)):
            continue
        before = known.get((read.relation, read.column))
        if before is None or not _covers(before, read):
            found.append(read)
    return tuple(sorted(found, key=lambda each: (each.relation, each.column)))


def _says_nothing(read: Read, has_problems: bool) -> bool:
    if not read.is_known and has_problems:
        return False  # else the lineage is lost in a model before this one
    return read.column == ROWS or not (read.how - STAR or read.literals)


def _covers(one: Read, other: Read) -> bool:
    if not one.is_known:
        return True
    return (
        other.is_known
        and one.how >= other.how
        and {*one.literals} >= {*other.literals}
        and one.operators >= other.operators
    )
