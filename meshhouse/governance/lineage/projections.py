"""Select lists: what each item becomes, stars included.

Belongs here: the columns that a select offers. Not here: what a star stands for (stars.py), or the
other clauses (queries.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from sqlglot import exp

from meshhouse.governance.lineage.expressions import EACH, flow_of
from meshhouse.governance.lineage.flow import Column, Flow, Origin, merged
from meshhouse.governance.lineage.scope import Scope, name_of, parts_of
from meshhouse.governance.lineage.stars import Expanded, expanded, is_like, like, listed, sources_of


@dataclass(frozen=True)
class Output:
    """One column of a select."""

    column: Column
    is_aggregate: bool = False


def outputs_of(select: exp.Select, scope: Scope) -> tuple[list[Output], Flow | None]:
    """The columns of a select, and where columns of unknown name come from."""
    outputs: list[Output] = []
    rests: list[Flow] = []
    for item in select.expressions:
        for output in _outputs(item, scope, rests):
            outputs.append(output)
            if isinstance(item, exp.Alias):
                scope.aliases[output.column.name] = output.column.flow
    _note_names(outputs, scope)
    return outputs, merged(rests) if rests else None


def _note_names(outputs: list[Output], scope: Scope) -> None:
    """Beside a star, the name of another column: a new column of the star could take it."""
    by_star = {
        (origin.relation, each.column.name)
        for each in outputs
        for origin in each.column.flow.having("star").origins
    }
    for relation in {relation for relation, _ in by_star}:
        for each in outputs:
            if (relation, each.column.name) not in by_star:
                scope.uses.bare.add(Origin(relation, each.column.name))


def _outputs(item: exp.Expression, scope: Scope, rests: list[Flow]) -> Iterator[Output]:
    inner = item.this if isinstance(item, exp.Alias) else item
    if isinstance(inner, exp.Star):
        yield from _star(inner, listed(scope.visible, scope), scope, rests)
    elif isinstance(inner, exp.Column) and isinstance(inner.this, exp.Star):
        yield from _star_of(inner, scope, rests)
    elif isinstance(inner, exp.Aliases):
        flow = _selected(inner.this, scope)
        for name in inner.aliases:
            yield Output(Column(name_of(name), flow))
    elif _is_many(inner):
        yield from _each(item, inner, scope, rests)
    elif isinstance(inner, exp.Explode | exp.Inline) and inner is item:
        flow = _selected(inner, scope)
        # Of a struct: columns of unknown names. Of a list: one column.
        yield Output(Column(_name(item, scope), flow))
        rests.append(flow)
    else:
        yield Output(Column(_name(item, scope), _selected(item, scope)), is_aggregate(item))


def _selected(item: exp.Expression, scope: Scope) -> Flow:
    flow = scope.uses.made(item, lambda: flow_of(item, scope))
    scope.uses.select(flow)
    return flow


def _name(item: exp.Expression, scope: Scope) -> str:
    return name_of(item.alias_or_name or item.output_name or item.sql(scope.dialect))


def is_aggregate(item: exp.Expression) -> bool:
    """Whether `group by all` leaves an item out."""
    for each in item.find_all(exp.AggFunc):
        parent = each.parent
        while isinstance(parent, exp.Filter | exp.IgnoreNulls | exp.RespectNulls | exp.WithinGroup):
            parent = parent.parent
        if not isinstance(parent, exp.Window) and each.find_ancestor(exp.Select) is (
            item.find_ancestor(exp.Select)
        ):
            return True
    return False


def _star_of(item: exp.Column, scope: Scope, rests: list[Flow]) -> Iterator[Output]:
    """`o.*`, or `address.*` of a struct."""
    scope.uses.visited.update((id(item), id(item.this)))
    sources = sources_of(item, scope)
    if sources:
        yield from _star(item.this, listed(sources, scope), scope, rests)
        return
    flow = scope.column(parts_of(item)[:-1])
    scope.uses.select(flow)
    if flow.fields is not None:
        for field, inner in flow.fields.items():
            yield Output(Column(field, inner))
    else:
        rests.append(flow)


def _star(
    star: exp.Expression, every: Expanded, scope: Scope, rests: list[Flow]
) -> Iterator[Output]:
    scope.uses.visited.update(id(each) for each in (star, *_modified(star)))
    is_meant = is_like(star.args["ilike"].name) if star.args.get("ilike") else None
    left_out = {name_of(each) for each in star.args.get("except_") or []}
    replaced = {name_of(each.alias): each.this for each in star.args.get("replace") or []}
    renames = {name_of(each.this): name_of(each.alias) for each in star.args.get("rename") or []}
    for column in every.columns:
        if is_meant is not None and not is_meant(column.name):
            continue
        if column.name in left_out:
            # DuckDB refuses to leave out a column that does not exist.
            scope.uses.add(column.flow, "star")
            continue
        flow = column.flow
        if column.name in replaced:
            flow = _selected(replaced[column.name], scope)
        elif column.name in renames:
            flow = flow.without("star")
            scope.uses.select(flow)
        yield Output(Column(renames.get(column.name, column.name), flow))
    if every.rest is not None:
        rests.append(every.rest)


def _modified(star: exp.Expression) -> Iterator[exp.Expression]:
    """The columns that modifiers of a star name."""
    yield from star.args.get("except_") or []
    for each in star.args.get("rename") or []:
        yield each.this


def _is_many(item: exp.Expression) -> bool:
    if item.find(exp.Columns):
        return True
    return isinstance(item, exp.Like | exp.ILike | exp.Glob) and item.this.is_star


def _each(
    item: exp.Expression, inner: exp.Expression, scope: Scope, rests: list[Flow]
) -> Iterator[Output]:
    """`columns(...)`, alone or inside an expression that is computed for each of them."""
    first = inner.find(exp.Columns)
    every = like(inner, scope) if first is None else expanded(first, scope)
    if every is None:
        yield Output(Column(_name(item, scope), _selected(inner, scope)))
        return
    if first is not None and first.args.get("unpack"):
        yield Output(Column(_name(item, scope), _selected(inner, scope)), is_aggregate(inner))
        return
    for column in every.columns:
        flow = column.flow
        if first is not None and inner is not first:
            within = replace(scope, locals={**scope.locals, EACH: flow})
            flow = scope.uses.made(item, partial(flow_of, inner, within))
        name = _renamed(item, first, column.name)
        yield Output(Column(name, flow), is_aggregate(inner))
    if every.rest is not None:
        rests.append(every.rest)


def _renamed(item: exp.Expression, first: exp.Expression | None, name: str) -> str:
    """The name that an alias gives to one column; it may name groups of the pattern."""
    if not isinstance(item, exp.Alias):
        return name
    alias = item.alias
    if first is None or not isinstance(first.this, exp.Literal) or "\\" not in alias:
        return alias.lower()
    found = re.search(first.this.name, name, re.IGNORECASE)
    return (found.expand(alias.replace("\\0", "\\g<0>")) if found else name).lower()
