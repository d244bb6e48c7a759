"""The names that an expression may use: columns of the items of `from`, aliases, outer queries.

Belongs here: resolving a name. Not here: adding sources (sources.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sqlglot import exp

from meshhouse.governance.lineage.flow import NOTHING, Flow, Table, merged
from meshhouse.governance.lineage.uses import Uses, all_of


def name_of(identifier: exp.Expression | str) -> str:
    """The name as lineage compares it: in lower case, quoted or not."""
    return (identifier if isinstance(identifier, str) else identifier.name).lower()


def parts_of(column: exp.Column) -> list[str]:
    """The parts of a name, outermost first, in lower case."""
    return [name_of(part) for part in column.parts]


def children(expression: exp.Expression) -> Iterator[exp.Expression]:
    """The expressions inside, without types and names."""
    for child in expression.iter_expressions():
        if not isinstance(child, exp.DataType | exp.Identifier | exp.Var | exp.TableAlias):
            yield child


@dataclass
class Source:
    """One item of `from`."""

    name: str
    table: Table
    relation: str = ""
    """`schema.table` if it is a relation without an alias."""
    is_hidden: bool = False
    """On the right of a semi or anti join: visible in its condition only."""


@dataclass
class Scope:
    """What one query can see."""

    uses: Uses
    catalog: Callable[[str], Table]
    query: Callable[[exp.Expression, Scope], Table]
    """Evaluates a query inside this one."""
    flow: Callable[[exp.Expression | None, Scope], Flow]
    """Evaluates an expression of this query."""
    dialect: str
    parent: Scope | None = None
    is_from: bool = False
    """A query in `from`: it sees the items before it, after what it has itself."""
    ctes: dict[str, Table] = field(default_factory=dict)
    sources: list[Source] = field(default_factory=list)
    shared: dict[str, Flow] = field(default_factory=dict)
    """Columns that joins share: `using` and `natural`."""
    aliases: dict[str, Flow] = field(default_factory=dict)
    windows: dict[str, Flow] = field(default_factory=dict)
    locals: Mapping[str, Flow] = field(default_factory=dict)
    """Parameters of lambdas and comprehensions."""

    def inner(self, is_from: bool = False) -> Scope:
        """The scope of a query inside this one."""
        return Scope(
            self.uses,
            self.catalog,
            self.query,
            self.flow,
            self.dialect,
            self,
            is_from,
            dict(self.ctes),
        )

    @property
    def visible(self) -> list[Source]:
        """The sources that expressions and stars see."""
        return [each for each in self.sources if not each.is_hidden]

    @property
    def relations(self) -> frozenset[str]:
        """The base relations that decide the rows."""
        return frozenset().union(*(each.table.relations for each in self.sources))

    def column(self, parts: Sequence[str], alias_first: bool = False) -> Flow:
        """The flow of a name such as `amount`, `o.amount`, `o.address.city`, `address.city`."""
        name = parts[0]
        if name in self.locals:
            return _inside(self.locals[name], parts[1:])
        if alias_first and len(parts) == 1 and name in self.aliases:
            return self.aliases[name]
        found = self._find(parts)
        if found is None:
            problem = f"column `{'.'.join(parts)}` is in none of the relations that are read"
            found = self.uses.unresolved(problem, self._meant(parts))
        self.uses.named(found)
        return found if parts[-1:] == [name] and self._is_row(name) else found.without("star")

    def _is_row(self, name: str) -> bool:
        return any(each.name == name and each.table.find(name) is None for each in self.visible)

    def _meant(self, parts: Sequence[str]) -> frozenset[str]:
        """The base relations that a name which is not found may mean."""
        chain = self._chain()
        named = [
            source
            for scope in chain
            for source in scope.sources
            if len(parts) > 1 and source.name == parts[0]
        ]
        if named:
            return named[0].table.relations
        return frozenset().union(*(each.relations for each in chain))

    def _chain(self) -> list[Scope]:
        return [self, *(self.parent._chain() if self.parent else [])]

    def _find(self, parts: Sequence[str]) -> Flow | None:
        found = self._in_source(parts)
        if found is None:
            found = self._in_columns(parts)
        if found is None and self.parent is not None:
            if parts[0] in self.parent.locals:
                return self.parent.column(parts)
            found = self.parent._find(parts)
        return found

    def _in_source(self, parts: Sequence[str]) -> Flow | None:
        """A name that begins with a source: `o.amount`, `sales.orders.amount`."""
        for source in reversed(self.sources):
            for length in (1, 2, 3):
                if len(parts) > length and _names(source, parts[:length]):
                    flow = self._of(source, parts[length])
                    if flow is not None:
                        return _inside(flow, parts[length + 1 :])
        return None

    def _of(self, source: Source, name: str) -> Flow | None:
        flow = source.table.find(name)
        if flow is None and source.table.rest is not None:
            flow = source.table.rest.get(name)
        return flow

    def _in_columns(self, parts: Sequence[str]) -> Flow | None:
        name, path = parts[0], parts[1:]
        self.uses.note_bare(name, [each.table for each in self.visible])
        if name in self.shared:
            return _inside(self.shared[name], path)
        having = [each for each in self.visible if each.table.find(name) is not None]
        if len(having) > 1:
            places = ", ".join(f"`{each.name}`" for each in having)
            relations = frozenset().union(*(each.table.relations for each in having))
            return self.uses.unresolved(f"column `{name}` is ambiguous: in {places}", relations)
        if having:
            return _inside(having[0].table.find(name) or NOTHING, path)
        open_ = [each for each in self.visible if each.table.rest is not None]
        return self._in_open(open_, name, path)

    def _in_open(self, sources: list[Source], name: str, path: Sequence[str]) -> Flow | None:
        """A name that may be in a source whose columns are not known."""
        alias = self.aliases.get(name)
        flows = [each.table.rest.get(name) for each in sources if each.table.rest is not None]
        if not flows:
            return _inside(alias, path) if alias is not None else self._row(name, path)
        outside = None if self.is_from or not self.parent else self.parent._known(name)
        candidates = [each for each in (alias, outside, *flows) if each is not None]
        traced = [each for each in candidates if each.origins]
        if not candidates:
            return None
        if len(candidates) == 1 or traced in ([alias], [outside]):
            return _inside((traced or candidates)[0], path)
        if not traced:
            return NOTHING
        relations = {origin.relation for each in traced for origin in each.origins}
        problem = f"column `{name}` may be in several relations whose columns are not known"
        return self.uses.unresolved(problem, relations)

    def _row(self, name: str, path: Sequence[str]) -> Flow | None:
        """The name of a source where SQL expects a value: its row as a struct."""
        for source in self.visible:
            if source.name == name:
                fields = {each.name: each.flow for each in source.table.columns}
                if path and path[0] not in fields:
                    return None
                every = merged([*fields.values(), source.table.rest or NOTHING])
                row = Flow(every.origins, fields=fields)
                return _inside(row, path)
        return None

    def _known(self, name: str) -> Flow | None:
        for source in self.visible:
            flow = source.table.find(name)
            if flow is not None:
                return flow
        return self.parent._known(name) if self.parent else None


def _names(source: Source, parts: Sequence[str]) -> bool:
    if len(parts) == 1:
        return source.name == parts[0]
    return bool(source.relation) and source.relation == ".".join(parts[-2:])


def _inside(flow: Flow, path: Sequence[str]) -> Flow:
    for name in path:
        flow = flow.get(name)
    return flow


def answer(query: exp.Expression, scope: Scope) -> tuple[Table, Flow]:
    """What a subquery offers, and what decides its rows."""
    with scope.uses.captured() as captured:
        table = scope.query(query, scope.inner())
    return table, all_of(captured)
