"""What a query yields, as expressions over base columns.

Belongs here: relations and joins, and what changes one relation alone. Not here: following a
query (queries.py, selects.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count

from sqlglot import exp

from meshhouse.governance.expressions import text_of

ITSELF = "itself"
"""Stands for the model that is being followed, in its incremental condition."""


class Unreadable(Exception):
    """The query cannot be followed."""


@dataclass(frozen=True)
class Join:
    """A join of a relation to what came before it."""

    kind: str
    """inner, left, right, full, cross, semi, anti, ..."""
    source: str = ""
    """What is joined; empty if the two sides may change places."""
    on: tuple[str, ...] = ()
    """Conditions, sorted; of an outer join also the conditions inside the joined relation."""

    def __str__(self) -> str:
        source = f" {self.source}" if self.source else ""
        return f"{self.kind} join{source}" + (f" on {' and '.join(self.on)}" * bool(self.on))


@dataclass(frozen=True)
class Relation:
    """What a query, or a part of one, yields."""

    label: str
    """Names it in messages and in texts."""
    columns: Mapping[str, exp.Expression] = field(default_factory=dict)
    stars: tuple[str, ...] = ()
    """Base tables of which it passes every column; their columns are not known."""
    sources: frozenset[str] = frozenset()
    """The base tables that it reads."""
    predicates: tuple[exp.Expression, ...] = ()
    joins: tuple[Join, ...] = ()
    orders: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = ()
    """Keys and order of each `distinct` and `distinct on`."""
    limits: tuple[str, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    orders_as_set: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] | None = None
    """`orders` without each `distinct` of the whole rows of the result; None if not known."""

    @property
    def as_set(self) -> Relation:
        """With all that decides which rows there are, but not how often each one occurs.

        A limit may count rows before or after duplicates are removed, so then nothing is left out.
        """
        if self.orders_as_set is None or self.limits:
            return self
        return replace(self, orders=self.orders_as_set)

    def column(self, name: str) -> exp.Expression | None:
        """The expression of a column; None if the relation has no such column."""
        found = self.columns.get(name)
        if found is not None:
            return found.copy()
        if len(self.stars) == 1:
            return base_column(name, self.stars[0])
        return base_column(name) if self.stars else None

    @property
    def text(self) -> str:
        """Everything about it, for relations inside expressions."""
        parts = [
            ", ".join([*(text_of(each) for each in self.columns.values()), *self.stars]),
            f"from {self.label}",
            *(str(each) for each in self.joins),
            *(f"where {each}" for each in sorted({text_of(each) for each in self.predicates})),
            *(f"one of {each}" for each in self.orders),
            *self.limits,
            *(f"by {each}" for each in self.groups),
        ]
        return " ".join(parts)


def reads_itself(condition: exp.Expression) -> bool:
    """Whether a condition of an incremental build chooses the rows that are new."""
    return f"from {ITSELF}" in text_of(condition)


def bases(relation: Relation) -> set[str]:
    """The base tables of a relation's columns."""
    found = {each.table for tree in relation.columns.values() for each in tree.find_all(exp.Column)}
    return (found | {*relation.stars}) - {""}


def apart(relation: Relation, taken: set[str]) -> Relation:
    """The relation with other names for base tables that are joined with themselves."""
    names = {
        base: next(name for at in count(2) if (name := f"{base}#{at}") not in taken)
        for base in bases(relation) & taken
    }

    def rename(node: exp.Expression) -> exp.Expression:
        if isinstance(node, exp.Column) and node.table in names:
            return base_column(node.name, names[node.table])
        return node

    if not names:
        return relation
    return replace(
        relation,
        columns={name: tree.transform(rename) for name, tree in relation.columns.items()},
        stars=tuple(names.get(each, each) for each in relation.stars),
        predicates=tuple(each.transform(rename) for each in relation.predicates),
    )


def base_column(name: str, table: str = "") -> exp.Column:
    """A column of a base table; of an unknown one without a table."""
    return exp.Column(
        this=exp.Identifier(this=name, quoted=False),
        table=exp.Identifier(this=table, quoted=False) if table else None,
    )


def renamed(relation: Relation, names: list[str]) -> Relation:
    """With the column names of an alias such as `t(a, b)`."""
    if not names or relation.stars:
        return relation
    pairs = zip(names, relation.columns.values(), strict=False)
    return replace(relation, columns={name.lower(): value for name, value in pairs})


def sampled(relation: Relation, tree: exp.Expression) -> Relation:
    """With the sample that is taken of it in `from`."""
    sample = tree.args.get("sample")
    return replace(relation, limits=(*relation.limits, _sample(sample))) if sample else relation


def limits(
    tree: exp.Expression, resolved: Callable[[exp.Expression], exp.Expression]
) -> Iterator[str]:
    """How many rows of a query stay, and in which order they come."""
    order = tree.args.get("order")
    by = ", ".join(text_of(resolved(each)) for each in order.expressions) if order else ""
    for name in ("limit", "offset"):
        if tree.args.get(name):
            text = text_of(resolved(tree.args[name])).strip()
            yield f"{text} by {by}".lower() if by else text.lower()
    if tree.args.get("sample") and not isinstance(tree, exp.Subquery):
        yield _sample(tree.args["sample"])


def _sample(tree: exp.Expression) -> str:
    size = tree.args.get("percent") or tree.args.get("size") or tree.args.get("bucket_numerator")
    unit = "%" if tree.args.get("percent") else " rows"
    return f"sample of {text_of(size)}{unit}" if size else "sample"
