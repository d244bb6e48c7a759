"""Reads of given relations by one query.

Belongs here: making `Read`s of the uses that a query has. Not here: finding the uses (queries.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from meshhouse.governance.lineage.expressions import WATCHED
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
    merged,
)
from meshhouse.governance.lineage.queries import CannotRead, table_of
from meshhouse.governance.lineage.sources import relation_of
from meshhouse.governance.lineage.uses import Use, Uses
from meshhouse.governance.readers import EVERY, Read

_FAILURES = (SqlglotError, RecursionError, AttributeError, IndexError, KeyError, TypeError)
"""The parser itself raised the last ones, on 3 of 5,557 statements of the tests of sqlglot. A query
that cannot be read has unknown lineage; it must not stop a run."""

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
        replace(each, reader=reader, owner=owner) for each in _reads(sql, frozen(schemas), dialect)
    )


def frozen(schemas: Schemas) -> Frozen:
    """Schemas as a key of a cache, with names in lower case."""
    return tuple(
        sorted((name.lower(), tuple(each.lower() for each in schemas[name])) for name in schemas)
    )


@lru_cache(maxsize=256)
def _parsed(sql: str, dialect: str) -> exp.Expression:
    # Nothing must change the tree, because it is cached.
    return sqlglot.parse_one(sql, read=dialect)


def offered(sql: str, uses: Uses, catalog: Callable[[str], Table], dialect: str) -> Table:
    """What a query offers; see `table_of`.

    Raises:
        CannotRead: it does not parse, or is not a query.
    """
    try:
        tree = _parsed(sql, dialect)
        table = table_of(tree, uses, catalog, dialect)
        return _without_gaps(tree, table, uses, catalog)
    except _FAILURES as error:
        reason = str(error).partition("\n")[0]
        raise CannotRead(f"the query cannot be read: {reason}") from error


def _without_gaps(
    tree: exp.Expression, table: Table, uses: Uses, catalog: Callable[[str], Table]
) -> Table:
    """The table; with unknown lineage if a part of the query was overlooked.

    A clause that lineage does not know, such as `match_recognize`, must not go unnoticed.
    """
    query = tree.expression if isinstance(tree, exp.Create | exp.Insert) else tree
    missed = [each for each in query.find_all(exp.Table, *WATCHED) if id(each) not in uses.visited]
    missed = [each for each in missed if not isinstance(each.parent, exp.Column)]
    if not missed:
        return table
    relations = set(table.relations)
    for each in missed:
        if isinstance(each, exp.Table):
            relations |= catalog(relation_of(each)).relations
    lost = uses.unresolved(f"`{missed[0].sql()}` is in a clause that is not known", relations)
    columns = tuple(Column(each.name, merged([each.flow, lost])) for each in table.columns)
    return Table(columns, table.rest and merged([table.rest, lost]), table.relations)


def base(relation: str, columns: Sequence[str]) -> Table:
    """A base relation; without columns if they are not known."""
    made = [Column(each, Flow({Origin(relation, each): STAR}, is_direct=True)) for each in columns]
    rest = None if columns else Flow({Origin(relation, ANY): STAR}, is_direct=True)
    return Table(tuple(made), rest, frozenset({relation}))


def used_by(sql: str, schemas: Frozen, dialect: str) -> Uses:
    """Everything that a query uses of the given relations.

    Raises:
        CannotRead: it does not parse, or is not a query.
    """
    uses = Uses()
    columns = dict(schemas)

    def catalog(relation: str) -> Table:
        if relation not in columns:
            return Table(rest=NOTHING)
        uses.touched.add(relation)
        return base(relation, columns[relation])

    table = offered(sql, uses, catalog, dialect)
    for column in table.columns:
        uses.reach(column.name, column.flow)
    if table.rest is not None:
        uses.reach(EVERY, table.rest)
    return uses


@lru_cache(maxsize=4096)
def _reads(sql: str, schemas: Frozen, dialect: str) -> tuple[Read, ...]:
    """The reads, without their reader."""
    try:
        uses = used_by(sql, schemas, dialect)
    except CannotRead:
        return tuple(_lost(relation) for relation, _ in schemas if is_named(relation, sql))
    found = [read_of(origin, use) for origin, use in uses.found.items()]
    seen = {each.relation for each in found}
    found += [Read("", relation, ROWS) for relation in uses.touched if relation not in seen]
    return tuple(sorted(found, key=lambda each: (each.relation, each.column)))


def read_of(origin: Origin, use: Use) -> Read:
    """One use as a read, without its reader."""
    into, how = tuple(use.into), frozenset(use.how)
    if origin.column == UNKNOWN:
        return Read("", origin.relation, EVERY, into, how, is_known=False)
    literals, operators = tuple(sorted(use.literals)), frozenset(use.operators)
    return Read("", origin.relation, origin.column, into, how or SELECT, literals, operators)


def _lost(relation: str) -> Read:
    return Read("", relation, EVERY, how=frozenset(), is_known=False)


def is_named(relation: str, sql: str) -> bool:
    """Whether the text may name a relation: a query that does not cannot read it."""
    name = relation.rpartition(".")[2]
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", sql, re.IGNORECASE) is not None
