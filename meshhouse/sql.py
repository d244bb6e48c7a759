"""Quoting of names and texts in SQL.

Belongs here: quoting in standard SQL, which DuckDB reads. Not here: quoting in other dialects,
which is part of their engines (engines/snowflake/session.py).
"""

from __future__ import annotations


def quote(identifier: str) -> str:
    """A quoted SQL identifier, safe for any text."""
    return '"' + identifier.replace('"', '""') + '"'


def quote_relation(relation: str) -> str:
    """`schema.table` with both parts quoted."""
    schema, _, table = relation.partition(".")
    return f"{quote(schema)}.{quote(table)}"


def literal(text: str) -> str:
    """A quoted SQL string, safe for any text."""
    return "'" + text.replace("'", "''") + "'"
