"""The items of `from`: relations, CTEs, subqueries, joins, table functions, laterals.

Belongs here: what each item offers, and what joins use. Not here: pivots (pivots.py), or the rest
of a query (queries.py).
"""

from __future__ import annotations

from sqlglot import exp

from meshhouse.governance.lineage.expressions import ELEMENTS, flow_of
from meshhouse.governance.lineage.flow import Column, Flow, Table, beyond, merged
from meshhouse.governance.lineage.pivots import pivoted
from meshhouse.governance.lineage.scope import Scope, Source, children, name_of


def add_from(select: exp.Expression, scope: Scope) -> None:
    """Adds everything that `from`, its joins and its laterals offer."""
    from_ = select.args.get("from_")
    if from_ is not None:
        add_item(from_.this, scope)
    for join in select.args.get("joins") or []:
        _add_join(join, scope)
    for lateral in select.args.get("laterals") or []:
        add_item(lateral, scope)


def add_item(item: exp.Expression, scope: Scope, is_hidden: bool = False) -> None:
    """Adds what one item offers, with what is joined to it in parentheses."""
    item = item.this if isinstance(item, exp.Final) else item
    if isinstance(item, exp.Subquery | exp.Paren) and isinstance(
        item.this, exp.Table | exp.Subquery
    ):
        nested = not item.alias and not item.args.get("pivots")
        if nested or isinstance(item.this, exp.Table):
            # Parentheses around joins.
            add_item(item.this, scope, is_hidden)
            for join in item.args.get("joins") or []:
                _add_join(join, scope)
            return
    table, relation = _table_of(item, scope)
    alias = item.args.get("alias")
    names = [name_of(each) for each in alias.columns] if isinstance(alias, exp.TableAlias) else []
    pivots = item.args.get("pivots") or []
    name = name_of(item.alias_or_name)
    if not pivots:
        table = scope.uses.renamed(table, names)
    for pivot in pivots:
        inner = scope.inner(is_from=True)
        inner.sources.append(Source(name, table, relation))
        table = pivoted(pivot, table, inner)
        name = name_of(pivot.alias) or name
    relation = "" if item.alias or pivots else relation
    scope.sources.append(Source(name, table, relation, is_hidden))
    for join in item.args.get("joins") or []:
        _add_join(join, scope)


def _table_of(item: exp.Expression, scope: Scope) -> tuple[Table, str]:
    """What one item offers, and the name of its relation if it is one."""
    if isinstance(item, exp.Table):
        scope.uses.visited.add(id(item))
        if not isinstance(item.this, exp.Identifier):
            return _function(item.this, scope), ""
        parts = [name_of(part) for part in item.parts]
        if len(parts) == 1 and parts[0] in scope.ctes:
            return scope.ctes[parts[0]].with_own_names(), parts[0]
        relation = relation_of(item)
        return scope.catalog(relation), relation
    if isinstance(item, exp.Lateral):
        return _table_of(item.this, scope) if _is_table(item.this) else (
            _function(item.this, scope, item.alias_column_names), "")  # fmt: skip
    if isinstance(item, exp.Unnest):
        return _unnest(item, scope), ""
    if isinstance(item, exp.Query | exp.Pivot | exp.Values):
        inner = item.this if isinstance(item, exp.Subquery) else item
        return scope.query(inner, scope.inner(is_from=True)).with_own_names(), ""
    return _function(item, scope), ""


def relation_of(table: exp.Table) -> str:
    """`schema.table`, without a catalog, in lower case."""
    return ".".join(name_of(part) for part in table.parts[-2:])


def _is_table(item: exp.Expression) -> bool:
    return isinstance(item, exp.Subquery | exp.Unnest | exp.Table)


def _function(function: exp.Expression, scope: Scope, names: list[str] | None = None) -> Table:
    """A table function: each of its columns may come from each argument."""
    arguments = merged([flow_of(each, scope) for each in children(function)])
    flow = arguments if isinstance(function, ELEMENTS) else Flow(arguments.origins)
    return Table(tuple(Column(name.lower(), flow) for name in names or ()), rest=Flow(flow.origins))


def _unnest(item: exp.Unnest, scope: Scope) -> Table:
    names = [name.lower() for name in item.alias_column_names]
    flows = [flow_of(each, scope) for each in item.expressions]
    if not names and item.alias and len(flows) == 1:
        # `unnest(items) as i`: DuckDB calls the column `unnest`, others as the table.
        alias = item.alias.lower()
        columns = (Column("unnest", flows[0]), Column(alias, flows[0]))
        return Table(columns, rest=flows[0])
    columns = tuple(Column(name, flow) for name, flow in zip(names, flows, strict=False))
    rest = merged(flows) if len(names) < len(flows) or not names else None
    if len(names) > len(flows):
        columns += tuple(Column(name, Flow()) for name in names[len(flows) :])
    return Table(columns, rest)


def _add_join(join: exp.Join, scope: Scope) -> None:
    before = scope.visible
    is_hidden = join.is_semi_or_anti_join
    start = len(scope.sources)
    add_item(join.this, scope)
    added = scope.sources[start:]
    on = join.args.get("on")
    if on is not None:
        scope.uses.add(flow_of(on, scope), "join")
    using = [name_of(each) for each in join.args.get("using") or []]
    if join.method == "NATURAL":
        using = _natural(before, added, scope)
    for name in using:
        _share(name, join, before, added, scope)
    for source in added:
        source.is_hidden = is_hidden


def _natural(before: list[Source], added: list[Source], scope: Scope) -> list[str]:
    """The columns that both sides have; which ones is unknown if a side is."""
    right = {column.name for source in added for column in source.table.columns}
    names = [column.name for source in before for column in source.table.columns]
    for source in (*before, *added):
        if source.table.rest is not None:
            relations = frozenset().union(*(each.table.relations for each in (*before, *added)))
            scope.uses.unresolved("`natural join` of a relation of unknown columns", relations)
            break
    for name in right - set(names):
        scope.uses.note_bare(name, [each.table for each in before])
    for name in set(names) - right:
        scope.uses.note_bare(name, [each.table for each in added])
    return [name for name in dict.fromkeys(names) if name in right]


def _share(
    name: str, join: exp.Join, before: list[Source], added: list[Source], scope: Scope
) -> None:
    left = scope.shared.get(name) or _one(name, before, scope)
    scope.uses.note_bare(name, [each.table for each in before])
    right = _one(name, added, scope)
    scope.uses.add(merged([left, right]).without("star"), "join")
    scope.uses.compare(left, right, frozenset({"="}))
    side = join.side
    if join.is_semi_or_anti_join:
        return
    shared = left
    if side == "RIGHT":
        shared = right
    elif side == "FULL":
        shared = merged([left, right])
    scope.shared[name] = shared


def _one(name: str, sources: list[Source], scope: Scope) -> Flow:
    """A shared column on one side of a join."""
    listed = [each.table.find(name) for each in sources]
    found = [each for each in listed if each is not None]
    if len(found) == 1:
        return found[0]
    opened = [each.table.rest for each in sources if each.table.rest is not None]
    if not found and len(opened) == 1:
        return opened[0].get(name)
    relations = frozenset().union(*(each.table.relations for each in sources))
    if not found and opened:
        relations = {origin.relation for rest in opened for origin in beyond(rest).origins}
    state = "ambiguous" if len(found) > 1 else "missing or unknown"
    return scope.uses.unresolved(f"column `{name}` of `using` is {state}", relations)
