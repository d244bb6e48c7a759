"""SQL in one spelling: DuckDB's dialect, lower-case names, relations by their production names.

Belongs here: the canonical text of a query that contracts store. Not here: what a query does
(shape.py), or whom it reads (lineage/).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import sqlglot
from sqlglot import exp

DIALECT = "duckdb"
"""The dialect of stored SQL, so that contracts of different targets can be compared."""


def canonical(sql: str, dialect: str, names: Mapping[str, str], is_query: bool = True) -> str:
    """The canonical text of a query or a condition; the text itself if it does not parse.

    Comments, line breaks and the case of keywords disappear. Catalogs (databases) are dropped.

    Args:
        sql: the text.
        dialect: sqlglot's name of its dialect.
        names: `schema.table` in lower case -> the name to write instead.
        is_query: whether it is a whole query; else it is a condition.
    """
    return _canonical(sql, dialect, tuple(sorted(names.items())), is_query)


@lru_cache(maxsize=2_000)
def _canonical(sql: str, dialect: str, names: tuple[tuple[str, str], ...], is_query: bool) -> str:
    try:
        into = None if is_query else exp.Condition
        tree = sqlglot.parse_one(sql, read=dialect, into=into)
    except sqlglot.errors.SqlglotError:
        return sql.strip()
    known = dict(names)
    for table in tree.find_all(exp.Table):
        if not table.db:
            continue
        table.set("catalog", None)
        name = f"{table.db}.{table.name}".lower()
        schema, _, relation = known.get(name, name).partition(".")
        table.set("db", exp.to_identifier(schema))
        table.set("this", exp.to_identifier(relation))
    for node in tree.walk():
        node.pop_comments()
    return tree.sql(dialect=DIALECT, comments=False)
