"""`pivot` and `unpivot`, beside a relation or as a statement of DuckDB.

Belongs here: what a pivoted relation offers and uses. Not here: other items of `from` (sources.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from sqlglot import exp

from meshhouse.governance.lineage.expressions import flow_of, rows_of
from meshhouse.governance.lineage.flow import Column, Flow, Table, merged
from meshhouse.governance.lineage.operators import PIVOT
from meshhouse.governance.lineage.scope import Scope, name_of
from meshhouse.governance.lineage.stars import expanded


def pivoted(pivot: exp.Expression, table: Table, scope: Scope) -> Table:
    """What a relation offers after `pivot` or `unpivot`.

    Args:
        pivot: the clause or statement.
        table: what the relation offers.
        scope: a scope with the relation as its only source.
    """
    made = (
        _unpivot(pivot, table, scope) if pivot.args.get("unpivot") else _pivot(pivot, table, scope)
    )
    alias = pivot.args.get("alias")
    names = [name_of(each) for each in alias.columns] if isinstance(alias, exp.TableAlias) else []
    return scope.uses.renamed(made, names)


def _pivot(pivot: exp.Expression, table: Table, scope: Scope) -> Table:
    is_statement = pivot.args.get("using") is not None or not pivot.args.get("fields")
    keys = pivot.expressions if is_statement else pivot.args["fields"]
    items = pivot.args.get("using") or [] if is_statement else pivot.expressions
    key = merged([_key(each, scope) for each in keys])
    scope.uses.add(key, "group")
    for origin in key.origins:
        scope.uses.found[origin].operators.add(PIVOT)
    values = [merged([_value(each, scope), key.as_("group")]) for each in items]
    values = values or [merged([rows_of(scope), key.as_("group")])]
    kept = _kept(pivot, table, [*keys, *items], scope)
    names = _names(pivot, keys, items)
    if names is None:
        lost = Flow(merged(values).origins)
        return Table(kept, lost if table.rest is None else merged([lost, table.rest]),
                     table.relations)  # fmt: skip
    columns = [Column(name, values[place % len(values)]) for place, name in enumerate(names)]
    return Table((*kept, *columns), table.rest, table.relations)


def _key(key: exp.Expression, scope: Scope) -> Flow:
    # Comparisons with the listed values are noted by the way.
    flow = flow_of(key, scope)
    return Flow(flow.origins)


def _value(item: exp.Expression, scope: Scope) -> Flow:
    flow = flow_of(item, scope)
    scope.uses.select(flow)
    return flow


def _kept(
    pivot: exp.Expression, table: Table, used: Iterable[exp.Expression], scope: Scope
) -> tuple[Column, ...]:
    """The columns that stay: those of `group by`, or all that are not used, which then group."""
    group = pivot.args.get("group")
    if group is not None:
        columns = []
        for each in group.expressions:
            flow = flow_of(each, scope)
            scope.uses.add(flow, "group")
            columns.append(Column(name_of(each.alias_or_name), flow))
        return tuple(columns)
    names = _named(used)
    kept = tuple(each for each in table.columns if each.name not in names)
    for column in kept:
        scope.uses.add(column.flow, "group")
    if table.rest is not None:
        scope.uses.add(table.rest, "group")
    return kept


def _named(used: Iterable[exp.Expression]) -> set[str]:
    return {name_of(column) for each in used for column in each.find_all(exp.Column)}


def _names(
    pivot: exp.Expression, keys: list[exp.Expression], items: list[exp.Expression]
) -> list[str] | None:
    """The names of the new columns; None if only the rows tell them."""
    if pivot.args.get("columns"):
        return [name_of(each) for each in pivot.args["columns"]]
    lists = [each.expressions if isinstance(each, exp.In) else [] for each in keys]
    if not all(lists) or any(isinstance(each, exp.PivotAny) for one in lists for each in one):
        return None
    suffixes = [""]
    if len(items) > 1:
        suffixes = [f"_{each.alias or each.sql('duckdb')}" for each in items]
    return [
        "_".join(name_of(each.alias_or_name) for each in values) + suffix.lower()
        for values in product(*lists)
        for suffix in suffixes
    ]


def _unpivot(pivot: exp.Expression, table: Table, scope: Scope) -> Table:
    into = pivot.args.get("into")
    if into is not None:
        scope.uses.visited.update(id(each) for each in into.walk())
    fields = pivot.args.get("fields") or []
    if fields:
        key_names = [name_of(each.this) for each in fields]
        value_names = [name_of(name) for each in pivot.expressions for name in _each(each)]
        entries = [entry for field in fields for entry in field.expressions]
    else:
        key_names = [name_of(into.this) if into is not None else "name"]
        value_names = (
            [name_of(each) for each in into.expressions] if into is not None else ["value"]
        )
        entries = pivot.expressions
    columns = [_columns(entry, scope) for entry in entries]
    flat = [column for entry in columns for column in entry]
    for column in flat:
        scope.uses.select(column.flow)
    used = {column.name for column in flat}
    kept = tuple(each for each in table.columns if each.name not in used)
    made = [Column(name, Flow()) for name in key_names]
    for place, name in enumerate(value_names):
        if len(value_names) > 1:
            flows = [entry[place].flow for entry in columns if len(entry) > place]
        else:
            flows = [column.flow for column in flat]
        made.append(Column(name, Flow(merged(flows).origins)))
    return Table((*kept, *made), table.rest, table.relations)


def _each(item: exp.Expression) -> list[exp.Expression]:
    return item.expressions if isinstance(item, exp.Tuple) else [item]


def _columns(entry: exp.Expression, scope: Scope) -> list[Column]:
    """The columns of one entry of `unpivot`, which may have an alias."""
    inner = entry.this if isinstance(entry, exp.PivotAlias | exp.Alias) else entry
    if isinstance(inner, exp.Columns):
        return [Column(c.name, c.flow.without("star")) for c in expanded(inner, scope).columns]
    return [Column(name_of(each), flow_of(each, scope)) for each in _each(inner)]
