"""A query followed down to its base tables: every column as an expression over base columns.

Belongs here: common table expressions, subqueries, private ancestors and unions. Not here: one
`select` (selects.py), the form of one expression (expressions.py), or what it means (shape.py).

A query is not run and needs no schema. Base columns are named `schema.table.column`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import zip_longest

from sqlglot import exp

from meshhouse.governance.expressions import canonical, text_of
from meshhouse.governance.relations import (
    ITSELF,
    Relation,
    Unreadable,
    base_column,
    limits,
    renamed,
    sampled,
)  # fmt: skip
from meshhouse.governance.selects import Select

BUILD = "_build"
"""Ending of the schemas in which private ancestors are."""


class Queries:
    """Follows the queries of a product's models."""

    def __init__(self, models: Mapping[str, exp.Expression]) -> None:
        """Takes the parsed queries of the product and of its private ancestors."""
        self._models = {name.lower(): tree for name, tree in models.items()}
        self._known: dict[str, Relation] = {}
        self._open: list[str] = []

    def of_model(self, name: str) -> Relation:
        """What a model yields.

        Raises:
            Unreadable: it has no query, or a query that cannot be followed.
        """
        name = name.lower()
        if name in self._open:
            return Relation(ITSELF, stars=(ITSELF,))
        if name not in self._known:
            if name not in self._models:
                raise Unreadable(f"{name} has no query")
            self._open.append(name)
            self._known[name] = self._query(self._models[name], {}, None)
            self._open.pop()
        return self._known[name]

    def _query(
        self, tree: exp.Expression, named: Mapping[str, Relation], outer: Select | None
    ) -> Relation:
        named = dict(named)
        with_ = tree.args.get("with_") or tree.args.get("with")
        for each in with_.expressions if with_ else ():
            if with_.args.get("recursive"):
                names = each.alias_column_names
                named[each.alias.lower()] = self._opaque(each.this, named, names)
            else:
                made = self._query(each.this, named, outer)
                named[each.alias.lower()] = renamed(made, each.alias_column_names)
        if isinstance(tree, exp.Select):
            return Select(self, tree, named, outer).relation()
        if isinstance(tree, exp.Subquery):
            made = self._query(tree.this, named, outer)
        elif isinstance(tree, exp.SetOperation):
            made = self._union(tree, named, outer)
        else:
            made = self._opaque(tree, named, [])
        return replace(made, limits=(*made.limits, *limits(tree, canonical)))

    def source(
        self, tree: exp.Expression, named: Mapping[str, Relation], outer: Select | None
    ) -> Relation:
        """What a table, subquery or function in `from` or `join` yields."""
        names = tree.alias_column_names
        pivots = tree.args.get("pivots")
        if pivots:
            bare = tree.copy()
            bare.set("pivots", None)
            made = self.source(bare, named, outer)
            label = " ".join([f"({made.text})", *(text_of(canonical(each)) for each in pivots)])
            return Relation(label, stars=(label,), sources=frozenset({label}))
        if isinstance(tree, exp.Table) and isinstance(tree.this, exp.Identifier):
            return renamed(sampled(self._table(tree, named), tree), names)
        if isinstance(tree, exp.Subquery):
            return renamed(sampled(self._query(tree, named, outer), tree), names)
        bare = tree.copy()
        bare.set("alias", None)
        return self._opaque(outer.resolved(bare) if outer else bare, named, names)

    def _opaque(
        self, tree: exp.Expression, named: Mapping[str, Relation], names: list[str]
    ) -> Relation:
        """A relation that is known by its text only, and by the queries that it reads."""
        label = text_of(canonical(tree))
        for table in tree.find_all(exp.Table):
            made = self._table(table, named)
            if made.columns:
                label += f" with {table.name.lower()} as ({made.text})"
        columns = {each.lower(): base_column(each.lower(), label) for each in names}
        stars = () if columns else (label,)
        return Relation(label, columns, stars, frozenset({label}))

    def _table(self, tree: exp.Table, named: Mapping[str, Relation]) -> Relation:
        name, schema = tree.name.lower(), tree.db.lower()
        if not schema and name in named:
            return named[name]
        if name in self._models and (not schema or schema.endswith(BUILD)):
            return self.of_model(name)
        label = f"{schema}.{name}" if schema else name
        return Relation(label, stars=(label,), sources=frozenset({label}))

    def _union(
        self, tree: exp.SetOperation, named: Mapping[str, Relation], outer: Select | None
    ) -> Relation:
        left = self._query(tree.this, named, outer)
        right = self._query(tree.expression, named, outer)
        kind = type(tree).__name__.lower()
        columns = {}
        for one, other in zip_longest(left.columns.items(), right.columns.items()):
            if one is None or other is None:
                raise Unreadable("the parts of a union differ in columns")
            columns[one[0]] = one[1] if one[1] == other[1] else _call(kind, one[1], other[1])
        common = set(left.predicates) & set(right.predicates)
        # A condition on one part only is another condition on another part.
        apart = [
            _call(f"in {part.label}", each)
            for part in (left, right)
            for each in part.predicates
            if each not in common
        ]
        is_distinct = bool(tree.args.get("distinct"))
        order = ((tuple(sorted(text_of(each) for each in columns.values())), ()),)
        return Relation(
            label=f"{left.label} {kind} {right.label}",
            columns=columns,
            stars=tuple(dict.fromkeys((*left.stars, *right.stars))),
            sources=left.sources | right.sources,
            predicates=(*(each for each in left.predicates if each in common), *apart),
            joins=(*left.joins, *(each for each in right.joins if each not in left.joins)),
            orders=(*left.orders, *right.orders, *(order if is_distinct else ())),
            limits=(*left.limits, *right.limits),
            groups=(*left.groups, *right.groups),
        )

    def inner(
        self, tree: exp.Expression, named: Mapping[str, Relation], outer: Select
    ) -> exp.Expression:
        """A query inside an expression, as one name."""
        made = self._query(tree.unnest(), named, outer)
        if isinstance(tree.parent, exp.In) and tree.parent.args.get("query") is tree:
            made = made.as_set
        return exp.Var(this=f"(select {made.text})")


def _call(name: str, *arguments: exp.Expression) -> exp.Expression:
    return exp.Anonymous(this=name, expressions=[each.copy() for each in arguments])
