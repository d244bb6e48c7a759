"""What a query offers, and what it uses: select, set operations, CTEs, values.

Belongs here: the clauses of a query. Not here: select lists (projections.py), `from` (sources.py),
or expressions (expressions.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sqlglot import exp

from meshhouse.governance.lineage.expressions import flow_of, window_frame
from meshhouse.governance.lineage.flow import NOTHING, Column, Flow, Table, merged, unknown
from meshhouse.governance.lineage.pivots import pivoted
from meshhouse.governance.lineage.projections import Output, outputs_of
from meshhouse.governance.lineage.scope import Scope, Source, name_of
from meshhouse.governance.lineage.sources import add_from, add_item
from meshhouse.governance.lineage.uses import Uses

_MOST_ROUNDS = 10
"""Of a recursive CTE: each round carries lineage one column further."""


class CannotRead(ValueError):
    """A statement that is not a query."""


def table_of(
    query: exp.Expression, uses: Uses, catalog: Callable[[str], Table], dialect: str
) -> Table:
    """What a query offers.

    Args:
        query: the parsed query.
        uses: where uses of columns are noted.
        catalog: what a base relation offers, by `schema.table`.
        dialect: of sqlglot, for the names of columns without alias.

    Raises:
        CannotRead: the statement is not a query.
    """
    return _query(query, Scope(uses, catalog, _query, flow_of, dialect))


def _query(query: exp.Expression, scope: Scope) -> Table:
    _add_ctes(query, scope)
    if isinstance(query, exp.Select):
        return _select(query, scope)
    if isinstance(query, exp.SetOperation):
        return _ordered(query, _set_operation(query, scope), scope)
    if isinstance(query, exp.Subquery):
        add_item(query, scope)
        return _ordered(query, _everything(scope), scope)
    if isinstance(query, exp.Values):
        return _values(query, scope)
    if isinstance(query, exp.Table):
        add_item(query, scope)
        return _everything(scope)
    if isinstance(query, exp.Pivot):
        add_item(query.this, scope)
        return pivoted(query, _everything(scope), scope)
    if isinstance(query, exp.Create | exp.Insert) and query.expression:
        table = scope.query(query.expression, scope.inner(is_from=True))
        if isinstance(query, exp.Insert) and not query.args.get("by_name"):
            scope.uses.by_place(table)
        return table
    raise CannotRead(f"lineage of `{query.key}` is not known")


def _everything(scope: Scope) -> Table:
    columns = [column for source in scope.visible for column in source.table.columns]
    rests = [each.table.rest for each in scope.visible if each.table.rest is not None]
    return Table(tuple(columns), merged(rests) if rests else None, scope.relations)


def _add_ctes(query: exp.Expression, scope: Scope) -> None:
    with_ = query.args.get("with_")
    for cte in with_.expressions if with_ is not None else ():
        name = name_of(cte.alias)
        names = [each.lower() for each in cte.alias_column_names]
        body = cte.this
        if with_.recursive and isinstance(body, exp.SetOperation):
            scope.ctes[name] = _recursive(name, names, body, scope)
        else:
            table = scope.query(body, scope.inner(is_from=True))
            scope.ctes[name] = scope.uses.renamed(table, names)


def _recursive(name: str, names: list[str], body: exp.SetOperation, scope: Scope) -> Table:
    def arm(query: exp.Expression) -> Table:
        return scope.uses.renamed(scope.query(query, scope.inner(is_from=True)), names)

    table = arm(body.this)
    for _ in range(_MOST_ROUNDS):
        scope.ctes[name] = table
        made = arm(body)
        if made == table:
            break
        table = made
    return table


def _select(select: exp.Select, scope: Scope) -> Table:
    add_from(select, scope)
    for window in select.args.get("windows") or []:
        scope.windows[name_of(window.this)] = window_frame(window, scope)
    outputs, rest = outputs_of(select, scope)
    uses = scope.uses
    for clause in ("where", "having", "qualify"):
        condition = select.args.get(clause)
        if condition is not None:
            uses.add(flow_of(condition.this, scope), "filter")
    _group(select, outputs, scope)
    _distinct(select, outputs, rest, scope)
    table = Table(tuple(each.column for each in outputs), rest, scope.relations)
    return _ordered(select, table, scope)


def _group(select: exp.Select, outputs: list[Output], scope: Scope) -> None:
    group = select.args.get("group")
    if group is None:
        return
    if group.args.get("all"):
        for each in outputs:
            if not each.is_aggregate:
                scope.uses.add(each.column.flow, "group")
    for key in ("expressions", "rollup", "cube", "grouping_sets"):
        for each in group.args.get(key) or []:
            if isinstance(each, exp.Expression):
                _group_by(each, outputs, scope)


def _group_by(key: exp.Expression, outputs: list[Output], scope: Scope) -> None:
    if isinstance(key, exp.Tuple | exp.Rollup | exp.Cube | exp.GroupingSets | exp.Paren):
        for each in key.iter_expressions():
            _group_by(each, outputs, scope)
        return
    flow = _ordinal(key, [each.column for each in outputs])
    scope.uses.add(flow if flow is not None else flow_of(key, scope), "group")


def _ordinal(key: exp.Expression, columns: list[Column]) -> Flow | None:
    """The flow of a column that is named by its place."""
    if not isinstance(key, exp.Literal) or key.is_string or not key.name.isdigit():
        return None
    place = int(key.name) - 1
    if place >= len(columns):
        return NOTHING
    flow = columns[place].flow
    return merged([flow, flow.having("star").plus("position")])


def _distinct(select: exp.Select, outputs: list[Output], rest: Flow | None, scope: Scope) -> None:
    distinct = select.args.get("distinct")
    if distinct is None:
        return
    on = distinct.args.get("on")
    if on is not None:
        for each in on.expressions if isinstance(on, exp.Tuple) else [on]:
            _group_by(each, outputs, scope)
        return
    for each in outputs:
        scope.uses.add(each.column.flow, "group")
    if rest is not None:
        scope.uses.add(rest, "group")


def _ordered(query: exp.Expression, table: Table, scope: Scope) -> Table:
    """Notes what orders and limits the result; its columns stay as they are."""
    for key in ("limit", "offset"):
        if query.args.get(key) is not None:
            scope.uses.add(flow_of(query.args[key].args.get("expression"), scope), "filter")
    keys = [
        each
        for clause in ("order", "sort", "distribute", "cluster")
        if query.args.get(clause) is not None
        for each in query.args[clause].expressions
    ]
    aliases = {each.name: each.flow for each in table.columns if each.name}
    inner = replace(scope, aliases={**scope.aliases, **aliases})
    if not isinstance(query, exp.Select):
        inner = replace(inner, sources=[Source("", table)], shared={})
    for each in keys:
        key = each.this if isinstance(each, exp.Ordered) else each
        if isinstance(key, exp.Var) and key.name.upper() == "ALL":
            for column in table.columns:
                scope.uses.add(column.flow, "order")
            continue
        flow = _ordinal(key, list(table.columns))
        scope.uses.add(flow if flow is not None else flow_of(key, inner, alias_first=True), "order")
    return table


def _set_operation(query: exp.SetOperation, scope: Scope) -> Table:
    left = scope.query(query.this, scope.inner(is_from=True))
    right = scope.query(query.expression, scope.inner(is_from=True))
    if query.args.get("by_name"):
        made = by_name(left, right)
    else:
        scope.uses.by_place(left)
        scope.uses.by_place(right)
        made = _side_by_side(left, right, scope.uses)
    if isinstance(query, exp.Union):
        return made
    for column in (*left.columns, *right.columns):
        scope.uses.add(column.flow, "filter")
    return replace(left, relations=made.relations)


def by_name(left: Table, right: Table) -> Table:
    """What two queries offer together, columns of the same name put together."""
    names = dict.fromkeys(each.name for each in (*left.columns, *right.columns))
    columns = []
    for name in names:
        found = [side.find(name) for side in (left, right)]
        rests = [
            side.rest.get(name)
            for side, flow in zip((left, right), found, strict=True)
            if flow is None and side.rest is not None
        ]
        flows = [flow for flow in found if flow is not None]
        columns.append(Column(name, merged([*flows, *rests])))
    rests = [side.rest for side in (left, right) if side.rest is not None]
    return Table(tuple(columns), merged(rests) if rests else None, left.relations | right.relations)


def _side_by_side(left: Table, right: Table, uses: Uses) -> Table:
    relations = left.relations | right.relations
    if left.rest is not None:
        rest = merged([left.rest, unknown(right.relations)])
        return Table(left.columns, rest, relations)
    if right.rest is not None:
        lost = unknown(right.relations)
        columns = [Column(each.name, merged([each.flow, lost])) for each in left.columns]
        return Table(tuple(columns), None, relations)
    if len(left.columns) != len(right.columns):
        counts = f"{len(left.columns)} and {len(right.columns)}"
        uses.unresolved(f"queries of {counts} columns are put together by place", relations)
    columns = [
        Column(one.name, merged([one.flow, other.flow]))
        for one, other in zip(left.columns, right.columns, strict=False)
    ]
    return Table(tuple(columns), None, relations)


def _values(query: exp.Values, scope: Scope) -> Table:
    rows = [
        [
            flow_of(each, scope)
            for each in (row.expressions if isinstance(row, exp.Tuple) else [row])
        ]
        for row in query.expressions
    ]
    columns = [
        Column(f"col{place}", merged(flows)) for place, flows in enumerate(zip(*rows, strict=False))
    ]
    return Table(tuple(columns)).renamed(name.lower() for name in query.alias_column_names)
