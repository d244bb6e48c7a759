"""The flow of an expression.

Belongs here: functions, comparisons, windows, aggregates, subqueries, paths inside structs. Not
here: clauses of a query (queries.py), or the items of `from` (sources.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from sqlglot import exp

from meshhouse.governance.lineage.flow import NOTHING, ROWS, SELECT, Flow, Origin, Table, merged
from meshhouse.governance.lineage.scope import Scope, name_of, parts_of
from meshhouse.governance.lineage.stars import expanded, listed, sources_of
from meshhouse.governance.lineage.uses import all_of

_COMPARISONS = (
    exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ,
    exp.Like, exp.ILike, exp.SimilarTo, exp.RegexpLike, exp.RegexpILike, exp.Glob,
    exp.StartsWith, exp.EndsWith, exp.Contains, exp.ArrayContains,
)  # fmt: skip
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
    if isinstance(expression, _COMPARISONS):
        return _comparison(expression, scope)
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
    inside = list(children(expression))
    if any(isinstance(each, exp.Lambda) for each in inside):
        return _with_lambda(expression, scope)
    flow = merged([flow_of(each, scope, alias_first) for each in inside])
    if flow.origins:
        # The constants of `coalesce(a, 'x')` or `a || 'x'` are not values of `a`.
        return Flow(flow.origins)
    return Flow(constants=flow.constants)


def children(expression: exp.Expression) -> Iterator[exp.Expression]:
    """The expressions inside, without types and names."""
    for child in expression.iter_expressions():
        if not isinstance(child, exp.DataType | exp.Identifier | exp.Var | exp.TableAlias):
            yield child


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


def _comparison(expression: exp.Expression, scope: Scope) -> Flow:
    left = _values(expression.this, scope)
    right = _values(expression.args.get("expression"), scope)
    _compare(left, right, scope)
    return merged([each.as_condition() for each in (*left, *right)])


def _values(expression: exp.Expression | None, scope: Scope) -> list[Flow]:
    """The flow of a value, or those of the values of `(a, b)` or `(select a, b from t)`."""
    if isinstance(expression, exp.Tuple):
        return [flow_of(each, scope) for each in expression.expressions]
    if isinstance(expression, exp.Query):
        table, deciding = _result(expression, scope)
        flows = [Flow({**deciding.origins, **each.flow.origins}, each.flow.constants)
                 for each in table.columns]  # fmt: skip
        return flows if table.rest is None else [merged([*flows, table.rest, deciding])]
    return [flow_of(expression, scope)]


def _compare(left: list[Flow], right: list[Flow], scope: Scope) -> None:
    if len(left) == len(right):
        for one, other in zip(left, right, strict=True):
            scope.uses.compare(one, other)


def _between(expression: exp.Expression, scope: Scope) -> Flow:
    value = flow_of(expression.this, scope)
    bounds = [flow_of(expression.args[key], scope) for key in ("low", "high")]
    for bound in bounds:
        scope.uses.compare(value, bound)
    return merged([each.as_condition() for each in (value, *bounds)])


def _in(expression: exp.Expression, scope: Scope) -> Flow:
    value = _values(expression.this, scope)
    others = [*expression.expressions]
    others += [expression.args.get(key) for key in ("query", "unnest", "field")]
    flows = [*value]
    for other in others:
        if other is not None:
            inner = other.this if type(other) is exp.Subquery and other.this else other
            found = _values(inner, scope)
            _compare(value, found, scope)
            flows += found
    return merged([each.as_condition() for each in flows])


def _case(expression: exp.Expression, scope: Scope) -> Flow:
    subject = expression.this
    flows = []
    value = flow_of(subject, scope) if subject is not None else NOTHING
    for each in expression.args.get("ifs") or []:
        condition = flow_of(each.this, scope)
        if subject is not None:
            scope.uses.compare(value, condition)
        flows += [condition.as_condition(), flow_of(each.args.get("true"), scope)]
    flows.append(flow_of(expression.args.get("default"), scope))
    return merged([value.as_condition(), *flows])


def _if(expression: exp.Expression, scope: Scope) -> Flow:
    condition = flow_of(expression.this, scope)
    results = [flow_of(expression.args.get(key), scope) for key in ("true", "false")]
    return merged([condition.as_condition(), *results])


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
    table, deciding = _result(expression, scope)
    value = value_of(table)
    return Flow(merged([value, deciding]).origins, value.constants)


def _result(query: exp.Expression, scope: Scope) -> tuple[Table, Flow]:
    """What a subquery offers, and what decides its rows."""
    with scope.uses.captured() as captured:
        table = scope.query(query, scope.inner())
    return table, all_of(captured)


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


def _path(expression: exp.Expression, scope: Scope) -> Flow:
    """A field or an element of a value."""
    flow = _local(expression.this, scope)
    key = expression.expression if not isinstance(expression, exp.Bracket) else None
    if isinstance(expression, exp.Bracket):
        key = expression.expressions[0] if len(expression.expressions) == 1 else None
    if isinstance(key, exp.Identifier):
        return flow.get(name_of(key))
    if isinstance(key, exp.Literal):
        return flow.get(key.name.lower()) if key.is_string else flow
    keys = expression.expressions if key is None else [key]
    return merged([flow, *(Flow(flow_of(each, scope).origins) for each in keys)])


def _json(expression: exp.Expression, scope: Scope) -> Flow:
    """A path of JSON, such as `payload:address.city` of Snowflake."""
    path = expression.expression
    if not isinstance(path, exp.JSONPath):
        return _computed(expression, scope)
    flow = flow_of(expression.this, scope)
    for part in path.expressions:
        if isinstance(part, exp.JSONPathKey) and isinstance(part.this, str):
            flow = flow.get(part.this.lower())
        elif not isinstance(part, exp.JSONPathRoot | exp.JSONPathSubscript):
            break
    return flow


def _identifier(expression: exp.Expression, scope: Scope) -> Flow:
    """A parameter of a lambda."""
    return scope.locals.get(name_of(expression), NOTHING)


def _decode(expression: exp.Expression, scope: Scope) -> Flow:
    """`decode(status, 'a', 1, 'b', 2, 3)`: a case with comparisons."""
    value, *rest = [flow_of(each, scope) for each in expression.expressions]
    pairs = len(rest) // 2
    for wanted in rest[: 2 * pairs : 2]:
        scope.uses.compare(value, wanted)
    return merged([value.as_condition(), *rest[1 : 2 * pairs : 2], *rest[2 * pairs :]])


def _nullif(expression: exp.Expression, scope: Scope) -> Flow:
    value, other = flow_of(expression.this, scope), flow_of(expression.expression, scope)
    scope.uses.compare(value, other)
    return merged([value, other.as_condition()])


def _local(expression: exp.Expression, scope: Scope) -> Flow:
    if isinstance(expression, exp.Identifier):
        return _identifier(expression, scope)
    return flow_of(expression, scope)


def _struct(expression: exp.Expression, scope: Scope) -> Flow:
    fields: dict[str, Flow] = {}
    flows = []
    for each in expression.expressions:
        if isinstance(each, exp.PropertyEQ | exp.Kwarg | exp.Alias):
            value = each.this if isinstance(each, exp.Alias) else each.expression
            key = each.alias if isinstance(each, exp.Alias) else each.this
            flow = flow_of(value, scope)
            fields[name_of(key)] = flow
        else:
            flow = flow_of(each, scope)
            fields[name_of(each.alias_or_name)] = flow
        flows.append(flow)
    return Flow(merged(flows).origins, fields=fields)


def _lambda(expression: exp.Expression, scope: Scope) -> Flow:
    parameters = {name_of(each): NOTHING for each in expression.expressions}
    inner = replace(scope, locals={**scope.locals, **parameters})
    return Flow(flow_of(expression.this, inner).origins)


def _with_lambda(expression: exp.Expression, scope: Scope) -> Flow:
    """A function of a list and a lambda, such as `list_transform(items, x -> x.sku)`."""
    found: list[Flow] = []
    lists = [each for each in children(expression) if not isinstance(each, exp.Lambda)]
    elements = merged([flow_of(each, scope) for each in lists])
    for each in children(expression):
        if isinstance(each, exp.Lambda):
            bound = {name_of(parameter): elements for parameter in each.expressions}
            inner = replace(scope, locals={**scope.locals, **bound})
            found.append(flow_of(each.this, inner))
    return Flow(merged([elements, *found]).origins)


def _comprehension(expression: exp.Expression, scope: Scope) -> Flow:
    items = flow_of(expression.args.get("iterator"), scope)
    bound = {name_of(expression.expression): items}
    inner = replace(scope, locals={**scope.locals, **bound})
    condition = flow_of(expression.args.get("condition"), inner).as_("filter")
    return merged([flow_of(expression.this, inner), items, condition])


_HANDLERS: dict[type, Callable[[exp.Expression, Scope], Flow]] = {
    exp.Literal: _literal,
    exp.Boolean: _boolean,
    exp.Neg: _negative,
    exp.Interval: _interval,
    exp.Alias: _alias,
    exp.Between: _between,
    exp.In: _in,
    exp.Case: _case,
    exp.If: _if,
    exp.Window: _window,
    exp.Filter: _filter,
    exp.Order: _order,
    exp.WithinGroup: _within_group,
    exp.Count: _count,
    exp.Exists: _exists,
    exp.Dot: _path,
    exp.Bracket: _path,
    exp.StructExtract: _path,
    exp.Struct: _struct,
    exp.Lambda: _lambda,
    exp.Comprehension: _comprehension,
    exp.Columns: _columns,
    exp.Star: _star,
    exp.PositionalColumn: by_place,
    exp.Parameter: by_place,
    exp.JSONExtract: _json,
    exp.JSONExtractScalar: _json,
    exp.Identifier: _identifier,
    exp.DecodeCase: _decode,
    exp.Nullif: _nullif,
    **dict.fromkeys(_SAME_VALUE, _same_value),
    exp.Kwarg: lambda each, scope: flow_of(each.expression, scope),
    **dict.fromkeys(ELEMENTS, _element),
}
