"""A query followed down to its base tables: every column as an expression over base columns.

Belongs here: common table expressions, subqueries, private ancestors, joins, stars and unions. Not
here: the form of one expression (expressions.py), or what the result means (shape.py).

A query is not run and needs no schema. Base columns are named `schema.table.column`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import zip_longest

from sqlglot import exp

from meshhouse.governance.expressions import canonical, conjuncts, text_of

ITSELF = "itself"
"""Stands for the model that is being followed, in its incremental condition."""
AMONG = "among rows with "
"""Begins the name that says which rows a rank counts."""
RANKS = (exp.RowNumber, exp.Rank, exp.DenseRank)
BUILD = "_build"
"""Ending of the schemas in which private ancestors are."""


class Unreadable(Exception):
    """The query cannot be followed."""


@dataclass(frozen=True)
class Join:
    """A join of a relation to what came before it."""

    kind: str
    """inner, left, right, full, cross, semi, anti, ..."""
    source: str
    """The base tables that are joined."""
    on: tuple[str, ...] = ()
    """Conditions, sorted; of an outer join also the conditions inside the joined relation."""

    def __str__(self) -> str:
        return f"{self.kind} join {self.source}" + (f" on {' and '.join(self.on)}" * bool(self.on))


@dataclass(frozen=True)
class Relation:
    """What a query, or a part of one, yields."""

    label: str
    """The base tables that it reads."""
    columns: Mapping[str, exp.Expression] = field(default_factory=dict)
    stars: tuple[str, ...] = ()
    """Base tables of which it passes every column; their columns are not known."""
    predicates: tuple[exp.Expression, ...] = ()
    joins: tuple[Join, ...] = ()
    orders: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = ()
    """Keys and order of each `distinct` and `distinct on`."""
    limits: tuple[str, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()

    def column(self, name: str) -> exp.Expression | None:
        """The expression of a column; None if the relation has no such column."""
        found = self.columns.get(name)
        if found is not None:
            return found.copy()
        if len(self.stars) == 1:
            return _base(name, self.stars[0])
        return _base(name) if self.stars else None

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
        self, tree: exp.Expression, named: Mapping[str, Relation], outer: _Select | None
    ) -> Relation:
        named = dict(named)
        with_ = tree.args.get("with_") or tree.args.get("with")
        for each in with_.expressions if with_ else ():
            if with_.args.get("recursive"):
                names = each.alias_column_names
                named[each.alias.lower()] = self._opaque(each.this, named, names)
            else:
                made = self._query(each.this, named, outer)
                named[each.alias.lower()] = _renamed(made, each.alias_column_names)
        if isinstance(tree, exp.Subquery):
            made = self._query(tree.this, named, outer)
        elif isinstance(tree, exp.SetOperation):
            made = self._union(tree, named, outer)
        elif isinstance(tree, exp.Select):
            made = _Select(self, tree, named, outer).relation()
        else:
            made = self._opaque(tree, named, [])
        return replace(made, limits=(*made.limits, *_limits(tree)))

    def source(
        self, tree: exp.Expression, named: Mapping[str, Relation], outer: _Select | None
    ) -> Relation:
        """What a table, subquery or function in `from` or `join` yields."""
        names = tree.alias_column_names
        if isinstance(tree, exp.Table) and isinstance(tree.this, exp.Identifier):
            return _renamed(_sampled(self._table(tree, named), tree), names)
        if isinstance(tree, exp.Subquery):
            return _renamed(_sampled(self._query(tree, named, outer), tree), names)
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
        columns = {each.lower(): _base(each.lower(), label) for each in names}
        return Relation(label, columns, () if columns else (label,))

    def _table(self, tree: exp.Table, named: Mapping[str, Relation]) -> Relation:
        name, schema = tree.name.lower(), tree.db.lower()
        if not schema and name in named:
            return named[name]
        if name in self._models and (not schema or schema.endswith(BUILD)):
            return self.of_model(name)
        label = f"{schema}.{name}" if schema else name
        return Relation(label, stars=(label,))

    def _union(
        self, tree: exp.SetOperation, named: Mapping[str, Relation], outer: _Select | None
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
            predicates=(*(each for each in left.predicates if each in common), *apart),
            joins=(*left.joins, *(each for each in right.joins if each not in left.joins)),
            orders=(*left.orders, *right.orders, *(order if is_distinct else ())),
            limits=(*left.limits, *right.limits),
            groups=(*left.groups, *right.groups),
        )

    def inner(
        self, tree: exp.Expression, named: Mapping[str, Relation], outer: _Select
    ) -> exp.Expression:
        """A query inside an expression, as one name."""
        made = self._query(tree.unnest(), named, outer)
        return exp.Var(this=f"(select {made.text})")


class _Select:
    """One `select`."""

    def __init__(
        self,
        queries: Queries,
        tree: exp.Select,
        named: Mapping[str, Relation],
        outer: _Select | None,
    ) -> None:
        self._queries, self._tree, self._named, self._outer = queries, tree, named, outer
        self._sources: dict[str, Relation] = {}
        self._aliases: dict[str, exp.Expression] = {}
        self._predicates: list[exp.Expression] = []
        self._joins: list[Join] = []

    def relation(self) -> Relation:
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
            predicates=tuple({text_of(each): each for each in self._predicates}.values()),
            joins=(*(each for part in parts for each in part.joins), *self._joins),
            orders=(*(each for part in parts for each in part.orders), *self._distinct(columns)),
            limits=tuple(each for part in parts for each in part.limits),
            groups=(*(each for part in parts for each in part.groups), *grouped),
        )

    def _filter(self, clause: str) -> None:
        if self._tree.args.get(clause):
            found = conjuncts(self.resolved(self._tree.args[clause].this))
            self._predicates += [each for each in found if f"from {ITSELF}" not in text_of(each)]

    def _add(self, tree: exp.Expression) -> Relation:
        is_query = isinstance(tree, exp.Table | exp.Subquery)
        made = self._queries.source(tree, self._named, self._outer if is_query else self)
        name = (tree.alias_or_name or f"_{len(self._sources)}").lower()
        self._sources[name] = made
        return made

    def _join(self, tree: exp.Join) -> None:
        before = dict(self._sources)
        made = self._add(tree.this)
        name = next(each for each in self._sources if each not in before)
        kind = (tree.side or tree.kind or ("inner" if tree.args.get("on") else "cross")).lower()
        kind = "inner" if tree.args.get("using") and kind == "cross" else kind
        on = tree.args.get("on")
        conditions = list(conjuncts(self.resolved(on))) if on is not None else []
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
            keys = [*keys, *made.predicates]
            self._sources[name] = replace(made, predicates=())
        texts = tuple(sorted({text_of(each) for each in keys}))
        self._joins.append(Join(kind, made.label, texts))

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
        left_out = {text_of(each).lower() for each in star.args.get("except_") or ()}
        replaced = {
            each.alias.lower(): self.resolved(each.this) for each in star.args.get("replace") or ()
        }
        renamed = {
            text_of(each.this).lower(): each.alias.lower() for each in star.args.get("rename") or ()
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

        made = canonical(tree.copy().transform(base))
        for window in made.find_all(exp.Window):
            self._rank(window)
        return made

    def _rank(self, window: exp.Window) -> None:
        """Notes the rows that a rank counts: a later filter does not change it, this one does."""
        keys = window.args.get("partition_by") or []
        is_noted = any(isinstance(each, exp.Var) for each in keys)
        if isinstance(window.this, RANKS) and not is_noted and self._predicates:
            among = " and ".join(sorted({text_of(each) for each in self._predicates}))
            window.set("partition_by", [*keys, exp.Var(this=f"{AMONG}{among}")])

    def _column(self, node: exp.Column) -> exp.Expression:
        found = self._qualified(node) or self._plain(node)
        return _base(node.name.lower(), node.table.lower()) if found is None else found

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
            return _path(_base(name), fields)
        return self._outer._plain(node) if self._outer is not None else None


def _path(column: exp.Expression | None, fields: list[str]) -> exp.Expression | None:
    """A field inside a column."""
    for each in fields if column is not None else ():
        column = exp.Dot(this=column, expression=exp.Identifier(this=each, quoted=False))
    return column


def _base(name: str, table: str = "") -> exp.Column:
    return exp.Column(
        this=exp.Identifier(this=name, quoted=False),
        table=exp.Identifier(this=table, quoted=False) if table else None,
    )


def _call(name: str, *arguments: exp.Expression) -> exp.Expression:
    return exp.Anonymous(this=name, expressions=[each.copy() for each in arguments])


def _renamed(relation: Relation, names: list[str]) -> Relation:
    """With the column names of an alias such as `t(a, b)`."""
    if not names or relation.stars:
        return relation
    pairs = zip(names, relation.columns.values(), strict=False)
    return replace(relation, columns={name.lower(): value for name, value in pairs})


def _sampled(relation: Relation, tree: exp.Expression) -> Relation:
    sample = tree.args.get("sample")
    return replace(relation, limits=(*relation.limits, _sample(sample))) if sample else relation


def _limits(tree: exp.Expression) -> Iterator[str]:
    for name in ("limit", "offset"):
        if tree.args.get(name):
            yield text_of(tree.args[name]).strip().lower()
    if tree.args.get("sample") and not isinstance(tree, exp.Subquery):
        yield _sample(tree.args["sample"])


def _sample(tree: exp.Expression) -> str:
    size = tree.args.get("percent") or tree.args.get("size") or tree.args.get("bucket_numerator")
    unit = "%" if tree.args.get("percent") else " rows"
    return f"sample of {text_of(size)}{unit}" if size else "sample"


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
