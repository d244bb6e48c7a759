"""What all the SQL that a product's run executes reads of other domains.

Belongs here: reads of models, tests and checks, as a contract stores them. Not here: finding reads
in one query (lineage/), or collecting the SQL (runs/contracts.py, soda_queries.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from meshhouse.governance.lineage import bare_names_of, domain_of, reads_of, reads_through
from meshhouse.governance.lineage.operators import OR
from meshhouse.governance.readers import BARE, Read
from meshhouse.governance.sql_text import DIALECT
from meshhouse.repository import Product


@dataclass(frozen=True)
class Query:
    """One query that a run executes."""

    reader: str
    """`domain.model` that it builds, or whose check it is."""
    sql: str
    check: str = ""
    """The check or test that runs it; empty for a model."""
    unpinned: frozenset[str] = frozenset()
    """`domain.model` of the products that it refers to without a version."""
    is_later: bool = False
    """A build after the first one: its conditions do not hold for all rows that the model has."""


@dataclass(frozen=True)
class Execution:
    """Everything that a run of one product executes, and what its lineage needs."""

    queries: Sequence[Query]
    """In canonical form."""
    models: Mapping[str, Sequence[str]]
    """`schema.table` of each model of the domain -> its SQL, of later builds too."""
    schemas: Mapping[str, Sequence[str]]
    """Relation -> columns of everything at which the lineage of the domain ends,
    every name of `products` included."""
    products: Sequence[Product]
    """Products of other domains that the domain may read."""


def reads_in(execution: Execution) -> list[dict[str, Any]]:
    """The reads as a contract stores them, sorted, each once.

    A model or check that names a product is a direct reader. Another one is a reader too, with
    `is_direct` false, if it filters, joins, groups or orders by a column of the product.
    """
    found: dict[tuple[object, ...], Read] = {}
    for read, is_later in _reads(execution):
        key = (
            read.reader, read.relation, read.column, read.check,
            read.is_direct, read.is_known, BARE in read.how,
        )  # fmt: skip
        before = found.get(key)
        if is_later and read.operators and not (before and before.operators):
            # The first build reads what this condition leaves out, so it bounds nothing.
            read = replace(read, operators=read.operators | {OR})
        found[key] = read if before is None else _together(before, read)
    ordered = sorted(
        found.values(), key=lambda each: (each.reader, each.relation, each.column, each.check)
    )
    return [each.as_json() for each in ordered]


def _together(one: Read, other: Read) -> Read:
    return replace(
        one,
        into=tuple(dict.fromkeys((*one.into, *other.into))),
        how=one.how | other.how,
        literals=tuple(sorted({*one.literals, *other.literals})),
        operators=one.operators | other.operators,
    )


def _reads(execution: Execution) -> Iterator[tuple[Read, bool]]:
    """The reads of each query, and whether only later builds run it."""
    products = {
        name.lower(): execution.schemas[name.lower()]
        for each in execution.products
        for name in each.relations
    }
    latest = {
        each.relation.lower(): f"{each.domain}.{each.model}"
        for each in execution.products
        if each.versioned and each.is_latest
    }
    domain = domain_of(execution.models, execution.schemas, DIALECT)
    all_unpinned = frozenset().union(*(each.unpinned for each in execution.queries))
    for query in execution.queries:
        reader, sql = query.reader, query.sql
        direct = reads_of(reader, sql, products)
        bare = bare_names_of(reader, sql, products)
        through = reads_through(reader, sql, domain, products, direct)
        for read in (*direct, *bare, *through):
            # dbt renders both kinds of reference as the relation of the version. A column that
            # comes through other models was referred to by one of them.
            plain = latest.get(read.relation)
            unpinned = query.unpinned if read.is_direct else all_unpinned
            relation = plain if plain in unpinned else read.relation
            yield replace(read, relation=relation, check=query.check), query.is_later
