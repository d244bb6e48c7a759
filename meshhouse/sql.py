"""Names and texts written into SQL, quoted.

Belongs here: quoting as standard SQL has it, which DuckDB reads. Not here: quoting of other
dialects, which stays with their engines (engines/snowflake/session.py).
"""

from __future__ import annotations


def quote(identifier: str) -> str:
    """An SQL identifier, safe whatever it holds."""
    return '"' + identifier.replace('"', '""') + '"'


def quote_relation(relation: str) -> str:
    """`schema.table` with both parts quoted."""
    schema, _, table = relation.partition(".")
    return f"{quote(schema)}.{quote(table)}"


def literal(text: str) -> str:
    """An SQL string literal, safe whatever it holds."""
    return "'" + text.replace("'", "''") + "'"
