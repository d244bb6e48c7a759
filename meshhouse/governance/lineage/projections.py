"""Select lists: what each item becomes, stars included.

Belongs here: the columns that a select offers. Not here: the other clauses (queries.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot import exp

from meshhouse.governance.lineage.expressions import flow_of, name_of, parts_of
from meshhouse.governance.lineage.flow import Column, Flow, merged
from meshhouse.governance.lineage.scope import Scope, Source


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
    if len(rests) == 1:
        return outputs, rests[0]
    return outputs, merged(rests) if rests else None


def _outputs(item: exp.Expression, scope: Scope, rests: list[Flow]) -> Iterator[Output]:
    if isinstance(item, exp.Star):
        yield from _star(item, scope.visible, scope, rests)
    elif isinstance(item, exp.Column) and isinstance(item.this, exp.Star):
        yield from _star_of(item, scope, rests)
    else:
        flow = flow_of(item, scope)
        scope.uses.select(flow)
        yield Output(Column(_name(item, scope), flow), _is_aggregate(item))


def _name(item: exp.Expression, scope: Scope) -> str:
    return name_of(item.alias_or_name or item.output_name or item.sql(scope.dialect))


def _is_aggregate(item: exp.Expression) -> bool:
    for each in item.find_all(exp.AggFunc):
        parent = each.parent.parent if isinstance(each.parent, exp.Filter) else each.parent
        if not isinstance(parent, exp.Window):
            return True
    return False


def _star_of(item: exp.Column, scope: Scope, rests: list[Flow]) -> Iterator[Output]:
    """`o.*`, or `address.*` of a struct."""
    name = parts_of(item)[-2]
    sources = [each for each in scope.sources if each.name == name]
    if sources:
        yield from _star(item.this, sources, scope, rests)
        return
    flow = scope.column(parts_of(item)[:-1])
    scope.uses.select(flow)
    if flow.fields is not None:
        for field, inner in flow.fields.items():
            yield Output(Column(field, inner))
    else:
        rests.append(flow.plus("star"))


def _star(
    star: exp.Expression, sources: list[Source], scope: Scope, rests: list[Flow]
) -> Iterator[Output]:
    left_out = {name_of(each) for each in star.args.get("except_") or []}
    replaced = {name_of(each.alias): each.this for each in star.args.get("replace") or []}
    renames = {name_of(each.this): name_of(each.alias) for each in star.args.get("rename") or []}
    shared: set[str] = set()
    for source in sources:
        for column in source.table.columns:
            name, flow = column.name, column.flow
            if name in left_out:
                scope.uses.add(flow, "star")
                continue
            if name in scope.shared and len(sources) > 1:
                if name in shared:
                    continue
                shared.add(name)
                flow = scope.shared[name]
            if name in replaced:
                flow = flow_of(replaced[name], scope)
                scope.uses.select(flow)
            yield Output(Column(renames.get(name, name), flow))
        if source.table.rest is not None:
            rests.append(source.table.rest)
