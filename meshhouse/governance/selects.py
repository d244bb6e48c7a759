"""One `select`: its sources, joins, conditions and columns.

Belongs here: finding the column that a name means. Not here: tables, unions and common table
expressions (queries.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from sqlglot import exp

from meshhouse.governance.expressions import canonical, conjuncts, text_of
from meshhouse.governance.relations import (
    Join,
    Relation,
    Unreadable,
    apart,
    base_column,
    bases,
    limits,
    reads_itself,
)  # fmt: skip

AMONG = "among rows with "
"""Begins the name that says which rows a rank counts."""
RANKS = (exp.RowNumber, exp.Rank, exp.DenseRank)
_PASSING = frozenset({"expressions", "from", "from_", "with", "with_", "distinct"})
"""The clauses of a `select` that passes columns on."""
_STAR = frozenset({"except_", "replace", "rename"})
"""What may follow a star."""


class Follower(Protocol):
    """Follows the queries inside a `select`."""

    def source(
        self, tree: exp.Expression, named: Mapping[str, Relation], outer: Select | None
    ) -> Relation:
        """What a table, subquery or function in `from` or `join` yields."""

    def inner(
        self, tree: exp.Expression, named: Mapping[str, Relation], outer: Select
    ) -> exp.Expression:
        """A query inside an expression, as one name."""


class Select:
    """One `select`."""

    def __init__(
        self,
        queries: Follower,
        tree: exp.Select,
        named: Mapping[str, Relation],
        outer: Select | None,
    ) -> None:
        self._queries, self._tree, self._named, self._outer = queries, tree, named, outer
        self._sources: dict[str, Relation] = {}
        self._aliases: dict[str, exp.Expression] = {}
        self._predicates: list[exp.Expression] = []
        self._joins: list[Join] = []

    def relation(self) -> Relation:
        """What it yields."""
        tree = self._tree
        from_ = tree.args.get("from_") or tree.args.get("from")
        if from_ is not None:
            self._add(from_.this)
            for each in from_.this.args.get("joins") or ():
                self._join(each)
        for each in tree.args.get("joins") or ():
            self._join(each)
        for each in tree.args.get("laterals") or ():
            self._add(each)
        parts = [*self._sources.values()]
        self._predicates = [
            *(each for part in parts for each in part.predicates),
            *self._predicates,
        ]
        self._filter("where")
        columns, stars = self._outputs()
        grouped = self._grouped(columns)
        self._filter("having")
        self._filter("qualify")
        return Relation(
            label=", ".join(part.label for part in parts) or "nothing",
            columns=columns,
            stars=stars,
            sources=frozenset(each for part in parts for each in part.sources),
            predicates=tuple({text_of(each): each for each in self._predicates}.values()),
            joins=(*(each for part in parts for each in part.joins), *self._joins),
            orders=(*(each for part in parts for each in part.orders), *self._distinct(columns)),
            limits=(
                *(each for part in parts for each in part.limits),
                *limits(tree, self.resolved),
            ),
            groups=(*(each for part in parts for each in part.groups), *grouped),
            orders_as_set=self._orders_as_set(parts),
        )

    def _orders_as_set(
        self, parts: Sequence[Relation]
    ) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] | None:
        """See `Relation.orders_as_set`.

        A `distinct` before a count or a rank decides its result, so the `distinct` of a source is
        left out only if this `select` does nothing but pass columns on.
        """
        tree = self._tree
        distinct = tree.args.get("distinct")
        if distinct is not None and distinct.args.get("on") is not None:
            return None
        columns = (isinstance(each.unalias(), exp.Column) for each in tree.expressions)
        is_passed = all(columns) and not any(tree.args[key] for key in {*tree.args} - _PASSING)
        if is_passed and len(parts) == 1 and parts[0].orders_as_set is not None:
            return parts[0].orders_as_set
        return tuple(each for part in parts for each in part.orders)

    def _filter(self, clause: str) -> None:
        if self._tree.args.get(clause):
            self._predicates += conjuncts(self.resolved(self._tree.args[clause].this))

    def _add(self, tree: exp.Expression) -> Relation:
        is_query = isinstance(tree, exp.Table | exp.Subquery)
        made = self._queries.source(tree, self._named, self._outer if is_query else self)
        made = apart(made, self._tables())
        name = (tree.alias_or_name or f"_{len(self._sources)}").lower()
        self._sources[name] = made
        return made

    def _tables(self) -> set[str]:
        """The base tables of the sources, here and in the queries around this one."""
        found = {base for each in self._sources.values() for base in bases(each)}
        return found | (self._outer._tables() if self._outer is not None else set())

    def _join(self, tree: exp.Join) -> None:
        before = dict(self._sources)
        made = self._add(tree.this)
        name = next(each for each in self._sources if each not in before)
        kind = (tree.side or tree.kind or ("inner" if tree.args.get("on") else "cross")).lower()
        kind = "inner" if tree.args.get("using") and kind == "cross" else kind
        on = tree.args.get("on")
        conditions = list(conjuncts(self.resolved(on))) if on is not None else []
        conditions = [each for each in conditions if each != exp.true()]
        kind = "cross" if kind == "inner" and on is not None and not conditions else kind
        for each in tree.args.get("using") or ():
            pair = [part.column(each.name.lower()) for part in (*before.values(), made)]
            known = [one for one in pair if one is not None]
            conditions.append(canonical(exp.EQ(this=known[0], expression=known[-1])))
        if kind == "inner":
            # `on` and `where` mean the same here, except that equal keys belong to the join.
            keys = [each for each in conditions if _is_key(each)]
            self._predicates += [each for each in conditions if each not in keys]
        else:
            keys = conditions
        if kind in ("left", "semi", "anti"):
            # A filter inside decides what is joined, not which rows stay.
            inside = [each for each in made.predicates if not reads_itself(each)]
            keys = [*keys, *inside]
            new = tuple(each for each in made.predicates if reads_itself(each))
            self._sources[name] = replace(made, predicates=new)
        texts = tuple(sorted({text_of(each) for each in keys}))
        # The sides of an inner join may change places; its tables are among the sources.
        self._joins.append(Join(kind, "" if kind in ("inner", "cross") else made.label, texts))

    def _outputs(self) -> tuple[dict[str, exp.Expression], tuple[str, ...]]:
        columns: dict[str, exp.Expression] = {}
        stars: list[str] = []
        for at, each in enumerate(self._tree.expressions):
            if each.is_star and not isinstance(each, exp.Count):
                stars += self._star(each, columns)
                continue
            value = self.resolved(each.unalias())
            name = (each.alias_or_name or f"_{at}").lower()
            columns[name] = value
            self._aliases[name] = value
        return columns, tuple(dict.fromkeys(stars))

    def _star(self, tree: exp.Expression, columns: dict[str, exp.Expression]) -> list[str]:
        star = tree if isinstance(tree, exp.Star) else tree.this
        if not isinstance(star, exp.Star):
            raise Unreadable(f"a star that is not known: {text_of(tree)}")
        if any(value for key, value in star.args.items() if key not in _STAR):
            raise Unreadable(f"a star that is not known: {text_of(tree)}")
        left_out = {each.name.lower() for each in star.args.get("except_") or ()}
        replaced = {
            each.alias.lower(): self.resolved(each.this) for each in star.args.get("replace") or ()
        }
        renamed = {
            each.this.name.lower(): each.alias.lower() for each in star.args.get("rename") or ()
        }
        stars = []
        table = tree.table.lower() if isinstance(tree, exp.Column) else ""
        for name, source in self._sources.items():
            if table and table != name:
                continue
            for column in source.columns:
                if column not in left_out:
                    value = replaced.get(column, source.columns[column])
                    columns[renamed.get(column, column)] = value.copy()
            stars += source.stars
            if source.stars:
                columns.update({name: value.copy() for name, value in replaced.items()})
                for old, new in renamed.items():
                    value = source.column(old)
                    if value is not None:
                        columns[new] = value
        return stars

    def _grouped(self, columns: Mapping[str, exp.Expression]) -> tuple[tuple[str, ...], ...]:
        group = self._tree.args.get("group")
        if group is None:
            is_one = any(_is_aggregate(each) for each in columns.values())
            is_here = any(_is_aggregate(each) for each in self._tree.expressions)
            return ((),) if is_one and is_here else ()
        keys = []
        for each in group.expressions:
            if isinstance(each, exp.Literal) and each.is_int:
                keys.append(text_of(list(columns.values())[int(each.this) - 1]))
            else:
                keys.append(text_of(self.resolved(each)))
        if group.args.get("all"):
            keys += [text_of(each) for each in columns.values() if not _is_aggregate(each)]
        for kind in ("rollup", "cube", "grouping_sets"):
            keys += [
                f"{kind} {text_of(self.resolved(each))}" for each in group.args.get(kind) or ()
            ]
        return (tuple(sorted(set(keys))),)

    def _distinct(
        self, columns: Mapping[str, exp.Expression]
    ) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
        distinct = self._tree.args.get("distinct")
        if distinct is None:
            return ()
        on = distinct.args.get("on")
        if on is None:
            return ((tuple(sorted({text_of(each) for each in columns.values()})), ()),)
        keys = tuple(sorted(text_of(self.resolved(each)) for each in on.expressions))
        order = self._tree.args.get("order")
        ordered = [text_of(self.resolved(each)) for each in order.expressions] if order else []
        # The order begins with the keys, which decide nothing.
        rest = tuple(each for each in ordered if each.removesuffix(" DESC") not in keys)
        return ((keys, rest),)

    def resolved(self, tree: exp.Expression) -> exp.Expression:
        """A canonical copy of an expression, over base columns."""

        def base(node: exp.Expression) -> exp.Expression:
            if isinstance(node, exp.Column) and not isinstance(node.this, exp.Star):
                return self._column(node)
            if isinstance(node, exp.Subquery | exp.Select | exp.SetOperation):
                return self._queries.inner(node, self._named, self)
            return node

        made = canonical(tree.copy().transform(self._window).transform(base))
        for window in made.find_all(exp.Window):
            self._rank(window)
        return made

    def _window(self, node: exp.Expression) -> exp.Expression:
        """A window with a name, as the query defines it."""
        name = node.args.get("alias") if isinstance(node, exp.Window) else None
        for each in self._tree.args.get("windows") or () if name else ():
            if each.name.lower() == name.name.lower():
                parts = {key: value for key, value in each.args.items() if key != "this"}
                return exp.Window(this=node.this, **parts).copy()
        return node

    def _rank(self, window: exp.Window) -> None:
        """Notes the rows that a rank counts: a later filter does not change it, this one does."""
        keys = window.args.get("partition_by") or []
        is_noted = any(isinstance(each, exp.Var) for each in keys)
        conditions = {text_of(each) for each in self._predicates if not reads_itself(each)}
        if isinstance(window.this, RANKS) and not is_noted and conditions:
            among = " and ".join(sorted(conditions))
            window.set("partition_by", [*keys, exp.Var(this=f"{AMONG}{among}")])

    def _column(self, node: exp.Column) -> exp.Expression:
        found = self._qualified(node) or self._plain(node)
        return base_column(node.name.lower(), node.table.lower()) if found is None else found

    def _qualified(self, node: exp.Column) -> exp.Expression | None:
        """The column of a source that it names, here or in a query around this one."""
        parts = [each.name.lower() for each in node.parts]
        for at, part in enumerate(parts[:-1]):
            if part in self._sources:
                found = self._sources[part].column(parts[at + 1])
                return _path(found, parts[at + 2 :])
        return self._outer._qualified(node) if self._outer is not None else None

    def _plain(self, node: exp.Column) -> exp.Expression | None:
        """The column without a source, or a field of a column."""
        name, *fields = (each.name.lower() for each in node.parts)
        known = [each for each in self._sources.values() if name in each.columns]
        passing = [each for each in self._sources.values() if each.stars]
        if known:
            return _path(known[0].column(name), fields)
        if len(passing) == 1:
            return _path(passing[0].column(name), fields)
        if name in self._aliases:
            return _path(self._aliases[name].copy(), fields)
        if passing:
            return _path(base_column(name), fields)
        return self._outer._plain(node) if self._outer is not None else None


def _path(column: exp.Expression | None, fields: list[str]) -> exp.Expression | None:
    """A field inside a column."""
    for each in fields if column is not None else ():
        column = exp.Dot(this=column, expression=exp.Identifier(this=each, quoted=False))
    return column


def _is_key(tree: exp.Expression) -> bool:
    """Whether a condition compares columns of different tables for equality."""
    if not isinstance(tree, exp.EQ):
        return False
    sides = [
        {each.table for each in side.find_all(exp.Column)} for side in (tree.this, tree.expression)
    ]
    return all(sides)


def _is_aggregate(tree: exp.Expression) -> bool:
    return any(not isinstance(each.parent, exp.Window) for each in tree.find_all(exp.AggFunc))
