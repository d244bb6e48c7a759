"""Notes of which columns a query uses, and how.

Belongs here: collecting uses while a query is read. Not here: finding them (queries.py,
expressions.py), or making reads of them (reads.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from sqlglot import exp

from meshhouse.governance.lineage.flow import (
    ROWS,
    SELECT,
    Flow,
    Made,
    Origin,
    Table,
    merged,
    unknown,
)
from meshhouse.governance.lineage.operators import flipped


@dataclass
class Use:
    """How one column is used."""

    how: set[str] = field(default_factory=set)
    into: list[str] = field(default_factory=list)
    literals: set[str] = field(default_factory=set)
    operators: set[str] = field(default_factory=set)
    """How it is compared with the literals, see `operators_of`."""


@dataclass
class Uses:
    """All uses that were found in one query."""

    found: dict[Origin, Use] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    """Base relations that the query names."""
    problems: list[str] = field(default_factory=list)
    """What cannot be resolved, in sentences."""
    bare: set[Origin] = field(default_factory=set)
    """Names that are used without a table and found elsewhere: if the relation gets such a column,
    the name becomes ambiguous."""
    visited: set[int] = field(default_factory=set)
    """Identities of the nodes of the tree that were looked at."""
    parts: list[list[Made]] | None = None
    """What makes the values that each open expression names, innermost last; None if nobody asks
    which expressions make a value."""
    _captures: list[list[Flow]] = field(default_factory=list)

    def add(self, flow: Flow, *ways: str) -> None:
        """Notes that a value decides rows, their order or their groups.

        Its origins may have reached it in other ways before, such as by a window.
        """
        for origin, how in flow.origins.items():
            use = self.found.setdefault(origin, Use())
            use.how.update(ways, how - {"select", "condition"})
        for capture in self._captures:
            capture.append(flow.as_(*ways))

    def select(self, flow: Flow) -> None:
        """Notes that a select list names a value, whether or not it reaches the result."""
        for origin, how in flow.origins.items():
            self.found.setdefault(origin, Use()).how.update(_reported(how) - {"star"})

    def by_place(self, table: Table, most: int | None = None) -> None:
        """Notes that the places of columns matter, as in `union`; only of those from a star."""
        flows = [each.flow for each in table.columns[:most]]
        for flow in [*flows, table.rest] if table.rest else flows:
            self.add(flow.having("star"), "star", "position")

    def renamed(self, table: Table, names: Sequence[str]) -> Table:
        """The table with other names by place, as in `as t (a, b)`."""
        if names:
            self.by_place(table, len(names))
        return table.renamed(names)

    def reach(self, name: str, flow: Flow) -> None:
        """Notes that a value reaches a column of the result."""
        for origin, how in flow.origins.items():
            use = self.found.setdefault(origin, Use())
            use.how.update(_reported(how))
            if name not in use.into:
                use.into.append(name)

    def compare(self, left: Flow, right: Flow, operators: frozenset[str]) -> None:
        """Notes that two values are compared."""
        for one, other, seen in ((left, right, operators), (right, left, flipped(operators))):
            if other.constants:
                for origin, how in one.origins.items():
                    if "select" in how and origin.column != ROWS:
                        use = self.found.setdefault(origin, Use())
                        use.literals.update(other.constants)
                        use.operators.update(seen)

    def note_bare(self, name: str, tables: Iterable[Table]) -> None:
        """Notes a name that means something else if one of these gets a column of that name.

        Only a relation that passes all its columns can get one: by a star.
        """
        for table in tables:
            if table.rest is None and table.find(name) is None:
                flows = [each.flow.having("star") for each in table.columns]
                relations = {origin.relation for flow in flows for origin in flow.origins}
                self.bare |= {Origin(each, name) for each in relations}

    def unresolved(self, problem: str, relations: Iterable[str]) -> Flow:
        """Notes that a name cannot be resolved; its flow is unknown."""
        self.problems.append(problem)
        flow = unknown(relations)
        self.select(flow)
        return flow

    def named(self, flow: Flow) -> None:
        """Notes that the open expression names a value."""
        if self.parts:
            self.parts[-1].extend(flow.made)

    def made(self, item: exp.Expression, find: Callable[[], Flow]) -> Flow:
        """The flow of an item of a select list, with the expressions that make it if asked for."""
        if self.parts is None:
            return find()
        self.parts.append([])
        try:
            flow = find()
        finally:
            parts = self.parts.pop()
        if self.parts:
            self.parts[-1].extend(parts)  # of a subquery inside an expression
        inner = item.unalias()
        if flow.made and isinstance(inner.unnest(), exp.Column):
            return flow  # it only passes the value on
        return replace(flow, made=(Made(item, tuple(dict.fromkeys(parts))),))

    @contextmanager
    def captured(self) -> Iterator[list[Flow]]:
        """What is noted inside, in addition to noting it."""
        capture: list[Flow] = []
        self._captures.append(capture)
        try:
            yield capture
        finally:
            self._captures.pop()


def all_of(capture: list[Flow]) -> Flow:
    """Everything captured, as what decides a value."""
    return merged(capture)


def _reported(how: frozenset[str]) -> frozenset[str]:
    return how - {"condition"} | SELECT if "condition" in how else how
