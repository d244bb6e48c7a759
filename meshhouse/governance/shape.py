"""The shape of a product's SQL: what decides its rows and columns, whatever its layout and names.

Belongs here: the parts of a shape, and reading it from a contract. Not here: following a query to
its base tables (queries.py), one expression (expressions.py), or what a difference means (rules/).

Private ancestors count as part of the product: a filter that moves from the product into its
staging model leaves the shape as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from meshhouse.governance.comparison import Comparison
from meshhouse.governance.contract import Contract
from meshhouse.governance.expressions import Value, canonical, text_of, without_cast
from meshhouse.governance.queries import Queries
from meshhouse.governance.relations import Join, Unreadable, reads_itself
from meshhouse.governance.selects import AMONG

DIALECT = "duckdb"
"""How SQL is read if the contract does not say it."""


@dataclass(frozen=True)
class Order:
    """Which row of several with the same key stays."""

    keys: tuple[str, ...]
    """The rows among which one is chosen are equal in these."""
    order: tuple[str, ...]
    """What decides; empty if the whole rows are equal (`distinct`)."""
    among: str = ""
    """The conditions that hold for these rows before one is chosen."""

    def __str__(self) -> str:
        keys = ", ".join(self.keys) or "the whole table"
        return f"per {keys} by {', '.join(self.order)}" if self.order else f"distinct {keys}"


@dataclass(frozen=True)
class Shape:
    """What decides the rows and columns of a product."""

    columns: Mapping[str, Value]
    """Output column, in lower case -> its expression over base columns, without an outer cast."""
    sources: frozenset[str] = frozenset()
    """The base tables, such as `sales_raw.transactions`."""
    predicates: tuple[str, ...] = ()
    """The conditions on rows, except those that remove duplicates or sample; sorted."""
    new_rows: tuple[str, ...] = field(default=(), compare=False)
    """The conditions by which a later build of an incremental model chooses its rows; sorted."""
    joins: tuple[Join, ...] = ()
    orders: tuple[Order, ...] = ()
    """How duplicates are removed."""
    limits: tuple[str, ...] = ()
    """`limit`, `offset`, samples and random conditions."""
    groups: tuple[tuple[str, ...], ...] = ()
    """The keys of each aggregation, from the sources to the product; empty keys for one row."""


def shape_of(contract: Contract) -> Shape | None:
    """The shape of a product's SQL.

    Returns:
        The shape; None if the SQL is missing, or cannot be read.
    """
    if not contract.sql.strip():
        return None
    models = contract.get("models", {})
    texts = tuple(
        sorted((name, str((each or {}).get("sql") or "")) for name, each in models.items())
    )
    return _shape(str(contract.document["model"]), texts, str(contract.get("dialect", DIALECT)))


def both_shapes(comparison: Comparison) -> tuple[Shape, Shape] | None:
    """The shapes of the published product and the candidate.

    Returns:
        None if the product is removed, or one of the two is unknown (see `is_unknown`).
    """
    if comparison.after is None:
        return None
    before, after = shape_of(comparison.before), shape_of(comparison.after)
    return (before, after) if before is not None and after is not None else None


def is_unknown(comparison: Comparison) -> bool:
    """Whether SQL changed and nobody can say how, as one of the two texts cannot be read."""
    after = comparison.after
    if after is None or both_shapes(comparison) is not None:
        return False
    return comparison.before.get("models") != after.get("models")


def changed_values(comparison: Comparison) -> Iterator[tuple[str, Value, Value]]:
    """The columns of both contracts whose expressions differ: name, before, after."""
    shapes = both_shapes(comparison)
    if shapes is None:
        return
    before, after = shapes
    for name, value in before.columns.items():
        other = after.columns.get(name)
        if other is not None and value.text != other.text:
            yield name, value, other


@lru_cache(maxsize=512)
def _shape(model: str, texts: tuple[tuple[str, str], ...], dialect: str) -> Shape | None:
    try:
        queries = Queries({name: _parsed(sql, dialect) for name, sql in texts if sql.strip()})
        relation = queries.of_model(model)
    except (SqlglotError, Unreadable, RecursionError):
        return None
    columns = {
        name: Value(canonical(without_cast(tree))) for name, tree in relation.columns.items()
    }
    predicates, new_rows, orders, limits = (
        set(),
        set(),
        [Order(*each) for each in relation.orders],
        list(relation.limits),
    )
    for tree in relation.predicates:
        if reads_itself(tree):
            new_rows.add(text_of(tree))
            continue
        chosen = _order(tree)
        if chosen is not None:
            orders.append(chosen)
        elif tree.find(exp.Rand) or "random(" in text_of(tree):
            limits.append(text_of(tree).lower())
        else:
            predicates.add(text_of(tree))
    return Shape(
        columns=columns,
        sources=relation.sources,
        predicates=tuple(sorted(predicates)),
        new_rows=tuple(sorted(new_rows)),
        joins=tuple(sorted(relation.joins, key=str)),
        orders=tuple(sorted(orders, key=str)),
        limits=tuple(sorted(limits)),
        groups=relation.groups,
    )


@lru_cache(maxsize=2048)
def _parsed(sql: str, dialect: str) -> exp.Expression:
    """Nobody changes the tree: it is in the cache."""
    tree = sqlglot.parse_one(sql, dialect=dialect)
    if not isinstance(tree, exp.Query):
        raise Unreadable(f"not a query: {sql[:60]}")
    return tree


def _order(predicate: exp.Expression) -> Order | None:
    """The order of a predicate such as `row_number() over (...) = 1`."""
    window = predicate.find(exp.Window)
    if window is None:
        return None
    keys = sorted(text_of(each) for each in window.args.get("partition_by") or ())
    among = "".join(each.removeprefix(AMONG) for each in keys if each.startswith(AMONG))
    order = window.args.get("order")
    ordered = tuple(text_of(each) for each in order.expressions) if order else ()
    rest = predicate.transform(lambda node: exp.Var(this="n") if node == window else node)
    function = text_of(window.this)
    if function != "row_number()" or text_of(rest) not in ("n = 1", "n < 2", "n <= 1"):
        ordered = (*ordered, f"{function}: {text_of(rest)}")
    return Order(tuple(each for each in keys if not each.startswith(AMONG)), ordered, among)
