"""Reads of given relations by one query.

Belongs here: making `Read`s of the uses that a query has. Not here: finding the uses (queries.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from meshhouse.governance.lineage.flow import (
    ANY,
    NOTHING,
    ROWS,
    SELECT,
    STAR,
    UNKNOWN,
    Column,
    Flow,
    Origin,
    Table,
)
from meshhouse.governance.lineage.queries import CannotRead, table_of
from meshhouse.governance.lineage.uses import Use, Uses
from meshhouse.governance.readers import EVERY, Read

Schemas = Mapping[str, Sequence[str]]
Frozen = tuple[tuple[str, tuple[str, ...]], ...]


def reads_of(
    reader: str, sql: str, schemas: Schemas, dialect: str = "duckdb", owner: str = ""
) -> tuple[Read, ...]:
    """Which columns of the given relations a query reads, into which of its columns, and how.

    Args:
        reader: `domain.model` that the SQL builds.
        sql: one compiled query.
        schemas: `schema.table` -> its columns; no columns if they are not known. Other relations
            of the query are ignored.
        dialect: of sqlglot: `duckdb`, `spark`, `snowflake`.
        owner: of the reader.

    Returns:
        Reads in the order of relation and column. A read with `is_known=False` where lineage
        cannot be found: the SQL does not parse, or a name cannot be resolved.
    """
    return tuple(
        Read(reader, relation, column, into, how, literals, is_known, owner)
        for relation, column, into, how, literals, is_known in _reads(sql, frozen(schemas), dialect)
    )


def frozen(schemas: Schemas) -> Frozen:
    """Schemas as a key of a cache, with names in lower case."""
    return tuple(
        sorted((name.lower(), tuple(each.lower() for each in schemas[name])) for name in schemas)
    )


@lru_cache(maxsize=4096)
def parsed(sql: str, dialect: str) -> exp.Expression:
    """The tree of one statement. Nobody may change it, because it is cached.

    Raises:
        SqlglotError: the SQL does not parse.
    """
    return sqlglot.parse_one(sql, read=dialect)


def base(relation: str, columns: Sequence[str]) -> Table:
    """A base relation; without columns if they are not known."""
    made = [Column(each, Flow({Origin(relation, each): STAR}, is_direct=True)) for each in columns]
    rest = None if columns else Flow({Origin(relation, ANY): STAR}, is_direct=True)
    return Table(tuple(made), rest, frozenset({relation}))


def used_by(sql: str, schemas: Frozen, dialect: str) -> Uses:
    """Everything that a query uses of the given relations.

    Raises:
        SqlglotError, CannotRead, RecursionError: the query cannot be read.
    """
    uses = Uses()
    columns = dict(schemas)

    def catalog(relation: str) -> Table:
        if relation not in columns:
            return Table(rest=NOTHING)
        uses.touched.add(relation)
        return base(relation, columns[relation])

    table = table_of(parsed(sql, dialect), uses, catalog, dialect)
    for column in table.columns:
        uses.reach(column.name, column.flow)
    if table.rest is not None:
        uses.reach(EVERY, table.rest)
    return uses


_Found = tuple[str, str, tuple[str, ...], frozenset[str], tuple[str, ...], bool]


@lru_cache(maxsize=4096)
def _reads(sql: str, schemas: Frozen, dialect: str) -> tuple[_Found, ...]:
    try:
        uses = used_by(sql, schemas, dialect)
    except (SqlglotError, CannotRead, RecursionError):
        return tuple(_lost(relation) for relation, _ in schemas if _is_named(relation, sql))
    found = [_read(origin, use) for origin, use in uses.found.items()]
    seen = {each[0] for each in found}
    found += [
        (relation, ROWS, (), SELECT, (), True) for relation in uses.touched if relation not in seen
    ]
    return tuple(sorted(found, key=lambda each: each[:2]))


def _read(origin: Origin, use: Use) -> _Found:
    if origin.column == UNKNOWN:
        return (origin.relation, EVERY, tuple(use.into), frozenset(use.how), (), False)
    literals = tuple(sorted(use.literals))
    how = frozenset(use.how) or SELECT
    return (origin.relation, origin.column, tuple(use.into), how, literals, True)


def _lost(relation: str) -> _Found:
    return (relation, EVERY, (), frozenset(), (), False)


def _is_named(relation: str, sql: str) -> bool:
    """Whether the text may name a relation: a query that does not cannot read it."""
    name = relation.rpartition(".")[2]
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", sql, re.IGNORECASE) is not None
