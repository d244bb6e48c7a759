"""The flow of nested values: structs, lists, JSON, and functions of their elements.

Belongs here: paths, literals of structs, lambdas, comprehensions. Not here: other expressions
(expressions.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sqlglot import exp

from meshhouse.governance.lineage.flow import NOTHING, Flow, merged
from meshhouse.governance.lineage.operators import KEY
from meshhouse.governance.lineage.scope import Scope, children, name_of


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
    flows = [Flow(scope.flow(each, scope).origins) for each in keys]
    _look_up(expression.this, flows, scope)
    return merged([flow, *flows])


def _look_up(table: exp.Expression, keys: list[Flow], scope: Scope) -> None:
    """Notes the keys of a map that the query writes out, such as `map {'open': 1}[status]`."""
    inner = table.this if isinstance(table, exp.ToMap) else table
    listed = inner.args.get("keys") if isinstance(inner, exp.Map) else inner
    names = listed.expressions if isinstance(listed, exp.Struct | exp.Array) else []
    texts = [each.this if isinstance(each, exp.PropertyEQ) else each for each in names]
    constants = frozenset(each.name for each in texts if isinstance(each, exp.Literal))
    for key in keys:
        scope.uses.compare(key, Flow(constants=constants), frozenset({KEY}))


def _json(expression: exp.Expression, scope: Scope) -> Flow:
    """A path of JSON, such as `payload:address.city` of Snowflake."""
    path = expression.expression
    if not isinstance(path, exp.JSONPath):
        return Flow(merged([scope.flow(each, scope) for each in children(expression)]).origins)
    flow = scope.flow(expression.this, scope)
    for part in path.expressions:
        if isinstance(part, exp.JSONPathKey) and isinstance(part.this, str):
            flow = flow.get(part.this.lower())
        elif not isinstance(part, exp.JSONPathRoot | exp.JSONPathSubscript):
            break
    return flow


def _identifier(expression: exp.Expression, scope: Scope) -> Flow:
    """A parameter of a lambda."""
    return scope.locals.get(name_of(expression), NOTHING)


def _local(expression: exp.Expression, scope: Scope) -> Flow:
    if isinstance(expression, exp.Identifier):
        return _identifier(expression, scope)
    return scope.flow(expression, scope)


def _struct(expression: exp.Expression, scope: Scope) -> Flow:
    fields: dict[str, Flow] = {}
    flows = []
    for each in expression.expressions:
        if isinstance(each, exp.PropertyEQ | exp.Kwarg | exp.Alias):
            value = each.this if isinstance(each, exp.Alias) else each.expression
            key = each.alias if isinstance(each, exp.Alias) else each.this
            flow = scope.flow(value, scope)
            fields[name_of(key)] = flow
        else:
            flow = scope.flow(each, scope)
            fields[name_of(each.alias_or_name)] = flow
        flows.append(flow)
    return Flow(merged(flows).origins, fields=fields)


def _lambda(expression: exp.Expression, scope: Scope) -> Flow:
    parameters = {name_of(each): NOTHING for each in expression.expressions}
    inner = replace(scope, locals={**scope.locals, **parameters})
    return Flow(scope.flow(expression.this, inner).origins)


def with_lambda(expression: exp.Expression, scope: Scope) -> Flow:
    """A function of a list and a lambda, such as `list_transform(items, x -> x.sku)`."""
    found: list[Flow] = []
    lists = [each for each in children(expression) if not isinstance(each, exp.Lambda)]
    elements = merged([scope.flow(each, scope) for each in lists])
    for each in children(expression):
        if isinstance(each, exp.Lambda):
            bound = {name_of(parameter): elements for parameter in each.expressions}
            inner = replace(scope, locals={**scope.locals, **bound})
            found.append(scope.flow(each.this, inner))
    return Flow(merged([elements, *found]).origins)


def _comprehension(expression: exp.Expression, scope: Scope) -> Flow:
    items = scope.flow(expression.args.get("iterator"), scope)
    bound = {name_of(expression.expression): items}
    inner = replace(scope, locals={**scope.locals, **bound})
    condition = scope.flow(expression.args.get("condition"), inner).as_("filter")
    return merged([scope.flow(expression.this, inner), items, condition])


NESTED: dict[type, Callable[[exp.Expression, Scope], Flow]] = {
    exp.Dot: _path,
    exp.Bracket: _path,
    exp.StructExtract: _path,
    exp.Struct: _struct,
    exp.Lambda: _lambda,
    exp.Comprehension: _comprehension,
    exp.JSONExtract: _json,
    exp.JSONExtractScalar: _json,
    exp.Identifier: _identifier,
}
"""Kind of expression -> what finds its flow."""
