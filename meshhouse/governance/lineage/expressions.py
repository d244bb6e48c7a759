"""The flow of an expression.

Belongs here: columns, functions, windows, aggregates, subqueries. Not here: comparisons
(comparisons.py), nested values (nested.py), clauses of a query (queries.py), or the items of
`from` (sources.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sqlglot import exp

from meshhouse.governance.lineage.comparisons import COMPARING
from meshhouse.governance.lineage.flow import NOTHING, ROWS, SELECT, Flow, Origin, Table, merged
from meshhouse.governance.lineage.nested import NESTED, with_lambda
from meshhouse.governance.lineage.scope import Scope, answer, children, name_of, parts_of
from meshhouse.governance.lineage.stars import expanded, listed, sources_of
from meshhouse.governance.lineage.uses import all_of

_SAME_VALUE = (exp.Cast, exp.TryCast, exp.Paren, exp.Any, exp.All)
ELEMENTS = (exp.Explode, exp.ExplodeOuter, exp.Posexplode, exp.Unnest, exp.Inline)
"""Functions whose value is an element of their argument."""
WATCHED = (exp.Column, exp.PositionalColumn, exp.Star, exp.Parameter)
"""What must be looked at in a tree, besides relations: what is overlooked has unknown lineage."""
EACH = "columns()"
"""Among the local names: the column that `columns(...)` stands for at this place."""


def flow_of(expression: exp.Expression | None, scope: Scope, alias_first: bool = False) -> Flow:
    """What reaches the value of an expression; notes comparisons and subqueries on the way."""
    if expression is None:
        return NOTHING
    kind = type(expression)
    if isinstance(expression, WATCHED):
        scope.uses.visited.add(id(expression))
    handler = _HANDLERS.get(kind)
    if handler is not None:
        return handler(expression, scope)
    if kind is exp.Column:
        return _column(expression, scope, alias_first)
    if isinstance(expression, exp.Query):
        return _subquery(expression, scope)
    return _computed(expression, scope, alias_first)


def _column(column: exp.Column, scope: Scope, alias_first: bool) -> Flow:
    if isinstance(column.this, exp.Star):
        found = listed(sources_of(column, scope), scope)
        return merged([*(each.flow for each in found.columns), found.rest or NOTHING])
    if isinstance(column.this, exp.Parameter):
        return by_place(column.this, scope)
    return scope.column(parts_of(column), alias_first)


def _star(expression: exp.Expression, scope: Scope) -> Flow:
    """All columns as one value, such as in `hash(*)`."""
    found = listed(scope.visible, scope)
    return Flow(merged([*(each.flow for each in found.columns), found.rest or NOTHING]).origins)


def by_place(expression: exp.Expression, scope: Scope) -> Flow:
    """`#2` of DuckDB and `$2` of Snowflake."""
    found = listed(scope.visible, scope)
    text = expression.this.name if isinstance(expression.this, exp.Literal) else ""
    if found.rest is None and text.isdigit() and 0 < int(text) <= len(found.columns):
        return found.columns[int(text) - 1].flow.without("star").plus("position")
    problem = f"`{expression.sql(scope.dialect)}` names a column by an unknown place"
    return scope.uses.unresolved(problem, scope.relations)


def rows_of(scope: Scope) -> Flow:
    """The number of rows."""
    return Flow({Origin(relation, ROWS): SELECT for relation in scope.relations})


def _computed(expression: exp.Expression, scope: Scope, alias_first: bool = False) -> Flow:
    inside = list(_operands(expression))
    if any(isinstance(each, exp.Lambda) for each in inside):
        return with_lambda(expression, scope)
    flow = merged([flow_of(each, scope, alias_first) for each in inside])
    if flow.origins:
        # The constants of `coalesce(a, 'x')` or `a || 'x'` are not values of `a`.
        return Flow(flow.origins)
    return Flow(constants=flow.constants)


def _operands(expression: exp.Expression) -> Iterator[exp.Expression]:
    """The expressions inside; of `a or b or c`, all three, so that 1,000 need no recursion."""
    kind = type(expression)
    if not isinstance(expression, exp.Binary):
        yield from children(expression)
        return
    chain: list[exp.Expression] = []
    inner: exp.Expression = expression
    while type(inner) is kind:
        chain.append(inner.expression)
        inner = inner.this
    yield inner
    yield from reversed(chain)


def _literal(expression: exp.Expression, scope: Scope) -> Flow:
    return Flow(constants=frozenset({expression.name}))


def _boolean(expression: exp.Expression, scope: Scope) -> Flow:
    return Flow(constants=frozenset({"true" if expression.this else "false"}))


def _negative(expression: exp.Expression, scope: Scope) -> Flow:
    flow = flow_of(expression.this, scope)
    constants = frozenset(f"-{each}" for each in flow.constants)
    return Flow(flow.origins, constants)


def _interval(expression: exp.Expression, scope: Scope) -> Flow:
    unit = expression.args.get("unit")
    flow = flow_of(expression.this, scope)
    suffix = f" {unit.name.lower()}" if unit is not None else ""
    return Flow(flow.origins, frozenset(f"{each}{suffix}" for each in flow.constants))


def _same_value(expression: exp.Expression, scope: Scope) -> Flow:
    return flow_of(expression.this, scope)


def _element(expression: exp.Expression, scope: Scope) -> Flow:
    return merged([flow_of(each, scope) for each in children(expression)])


def _alias(expression: exp.Expression, scope: Scope) -> Flow:
    return flow_of(expression.this, scope)


def _window(expression: exp.Expression, scope: Scope) -> Flow:
    value = flow_of(expression.this, scope)
    named = [
        scope.windows.get(name_of(each), NOTHING)
        for each in (expression.args.get("alias"), expression.args.get("over"))
        if isinstance(each, exp.Identifier)
    ]
    return merged([Flow(value.origins), window_frame(expression, scope), *named])


def window_frame(expression: exp.Expression, scope: Scope) -> Flow:
    """What partitions and orders a window."""
    parts = [*(expression.args.get("partition_by") or []), expression.args.get("order")]
    parts.append(expression.args.get("first"))
    return merged([flow_of(each, scope) for each in parts if isinstance(each, exp.Expression)]).as_(
        "window"
    )


def _filter(expression: exp.Expression, scope: Scope) -> Flow:
    value = flow_of(expression.this, scope)
    condition = flow_of(expression.expression.this, scope)
    return merged([Flow(value.origins), condition.as_("filter")])


def _order(expression: exp.Expression, scope: Scope) -> Flow:
    """`order by` inside an aggregate or a window."""
    value = flow_of(expression.this, scope) if expression.this is not None else NOTHING
    keys = merged([flow_of(each, scope) for each in expression.expressions])
    return merged([value, keys.as_("order")])


def _within_group(expression: exp.Expression, scope: Scope) -> Flow:
    # The ordered column is the argument of `percentile_cont(0.5) within group (order by amount)`.
    keys = [each.this for each in expression.find_all(exp.Ordered)]
    return merged([flow_of(each, scope) for each in (expression.this, *keys)])


def _count(expression: exp.Expression, scope: Scope) -> Flow:
    if isinstance(expression.this, exp.Star):
        scope.uses.visited.add(id(expression.this))
        return rows_of(scope)
    flow = _computed(expression, scope)
    return flow if flow.origins else rows_of(scope)


def _exists(expression: exp.Expression, scope: Scope) -> Flow:
    with scope.uses.captured() as captured:
        scope.query(expression.this, scope.inner())
    return all_of(captured)


def _subquery(expression: exp.Expression, scope: Scope) -> Flow:
    table, deciding = answer(expression, scope)
    value = value_of(table)
    return Flow(merged([value, deciding]).origins, value.constants)


def _columns(expression: exp.Expression, scope: Scope) -> Flow:
    """`columns(...)`: one of the columns at a time in a select list, all together elsewhere."""
    if EACH in scope.locals and not expression.args.get("unpack"):
        return scope.locals[EACH]
    found = expanded(expression, scope)
    flows = [each.flow for each in found.columns] + ([found.rest] if found.rest else [])
    return Flow(merged(flows).origins)


def value_of(table: Table) -> Flow:
    """The flow of a table where SQL expects a value."""
    flow = merged([each.flow for each in table.columns])
    return flow if table.rest is None else merged([flow, table.rest])


_HANDLERS: dict[type, Callable[[exp.Expression, Scope], Flow]] = {
    **COMPARING,
    **NESTED,
    exp.Literal: _literal,
    exp.Boolean: _boolean,
    exp.Neg: _negative,
    exp.Interval: _interval,
    exp.Alias: _alias,
    exp.Window: _window,
    exp.Filter: _filter,
    exp.Order: _order,
    exp.WithinGroup: _within_group,
    exp.Count: _count,
    exp.Exists: _exists,
    exp.Columns: _columns,
    exp.Star: _star,
    exp.PositionalColumn: by_place,
    exp.Parameter: by_place,
    **dict.fromkeys(_SAME_VALUE, _same_value),
    exp.Kwarg: lambda each, scope: flow_of(each.expression, scope),
    **dict.fromkeys(ELEMENTS, _element),
}
