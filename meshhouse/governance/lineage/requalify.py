"""Does a query still compile against a candidate's columns?

Belongs here: finding names that a new column makes ambiguous, and names that one could make
ambiguous. Not here: reads (reads.py).
"""

from __future__ import annotations

from meshhouse.governance.lineage.queries import CannotRead
from meshhouse.governance.lineage.reads import Schemas, frozen, used_by
from meshhouse.governance.readers import BARE, Read


def requalify(sql: str, schemas: Schemas, dialect: str = "duckdb") -> str | None:
    """What a query cannot resolve against these columns; None if it can resolve every name.

    Compare the answer for the published columns with the answer for the candidate's: only what is
    new comes from the change.

    Args:
        sql: one compiled query.
        schemas: `schema.table` -> its columns. Columns of other relations are not known, so names
            in them are never ambiguous.
        dialect: of sqlglot.
    """
    try:
        problems = used_by(sql, frozen(schemas), dialect).problems
    except CannotRead as error:
        return str(error)
    return "; ".join(dict.fromkeys(problems)) or None


def bare_names_of(
    reader: str, sql: str, schemas: Schemas, dialect: str = "duckdb", owner: str = ""
) -> tuple[Read, ...]:
    """The names that become ambiguous in a query if a given relation gets a column of that name.

    The query uses these names without a table, joins the relation with others, and finds the names
    in one of the others. Stored beside the reads of the query, they let a change be judged without
    its SQL.

    Args:
        reader: `domain.model` that the SQL builds.
        sql: one compiled query.
        schemas: `schema.table` -> its columns.
        dialect: of sqlglot.
        owner: of the reader.
    """
    try:
        found = used_by(sql, frozen(schemas), dialect).bare
    except CannotRead:
        return ()  # `reads_of` says that its lineage is unknown
    return tuple(
        Read(reader, each.relation, each.column, how=frozenset({BARE}), owner=owner)
        for each in sorted(found)
    )
