"""Does a query still compile against a candidate's columns?

Belongs here: finding names that a new column makes ambiguous. Not here: reads (reads.py).
"""

from __future__ import annotations

from sqlglot.errors import SqlglotError

from meshhouse.governance.lineage.queries import CannotRead
from meshhouse.governance.lineage.reads import Schemas, frozen, used_by


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
    except (SqlglotError, CannotRead, RecursionError) as error:
        return f"the query cannot be read: {str(error).splitlines()[0]}"
    return "; ".join(dict.fromkeys(problems)) or None
