"""What reaches a column: origins in base relations, and constants.

Belongs here: facts about columns and relations, and how facts combine. Not here: finding them in
SQL (queries.py, sources.py, expressions.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from sqlglot import exp

SELECT = frozenset({"select"})
STAR = frozenset({"select", "star"})
"""How a column of a base relation reaches a query until an expression names it. So `star` means
that a new column of the relation would come along."""
ANY = "*"
"""As the column of an origin: some column of a relation whose columns are not known."""
ROWS = ""
"""As the column of an origin: the number of rows."""
UNKNOWN = "?"
"""As the column of an origin: lineage could not be found."""


class Origin(NamedTuple):
    """A column of a base relation, or a path inside one."""

    relation: str
    column: str


@dataclass(frozen=True, eq=False)
class Made:
    """An expression of a select list that makes a value; see steps.py."""

    expression: exp.Expression
    parts: tuple[Made, ...] = ()
    """What makes the values that the expression names."""


@dataclass(frozen=True)
class Flow:
    """What reaches a value."""

    origins: Mapping[Origin, frozenset[str]] = field(default_factory=dict)
    """Origin -> how it reaches the value: select, star, window, filter, order; condition if a
    comparison of it decides the value."""
    constants: frozenset[str] = frozenset()
    """Literals that the value may be."""
    fields: Mapping[str, Flow] | None = None
    """Of a struct that the query makes itself."""
    is_direct: bool = False
    """The value is the origin's value, so that a field of it is a field of the origin."""
    made: tuple[Made, ...] = field(default=(), compare=False, repr=False)
    """The expressions that make the value, several after `union`; empty unless they are asked for,
    see `Uses.parts`."""

    def get(self, name: str) -> Flow:
        """The flow of a field of this struct."""
        if self.fields is not None and name in self.fields:
            return self.fields[name]
        if self.is_direct and len(self.origins) == 1:
            (origin, how), *_ = self.origins.items()
            path = name if origin.column == ANY else f"{origin.column}.{name}"
            if origin.column in {UNKNOWN, ROWS}:
                path = origin.column
            return replace(self, origins={Origin(origin.relation, path): how}, made=())
        return replace(self, fields=None, made=())

    def as_(self, *ways: str) -> Flow:
        """The same origins, reaching a value in another way than by their value."""
        return Flow({origin: frozenset(ways) for origin in self.origins})

    def as_condition(self) -> Flow:
        """The same origins, reaching a value by a comparison: it is not their value."""
        by_value = frozenset({"select"})
        return Flow(
            {
                origin: how - by_value | {"condition"} if by_value <= how else how
                for origin, how in self.origins.items()
            }
        )

    def plus(self, *ways: str) -> Flow:
        """The same flow with more ways."""
        origins = {origin: how | frozenset(ways) for origin, how in self.origins.items()}
        return replace(self, origins=origins)

    def without(self, way: str) -> Flow:
        """The same flow without one way."""
        if not any(way in how for how in self.origins.values()):
            return self
        origins = {origin: (how - {way}) or SELECT for origin, how in self.origins.items()}
        return replace(self, origins=origins)

    def having(self, way: str) -> Flow:
        """Only the origins that reach the value in a given way."""
        return Flow({origin: how for origin, how in self.origins.items() if way in how})


NOTHING = Flow()


def merged(flows: Iterable[Flow]) -> Flow:
    """The flow of a value that is computed from several; constants of all of them."""
    each = list(flows)
    if len(each) == 1:
        return each[0]
    origins: dict[Origin, frozenset[str]] = {}
    constants: frozenset[str] = frozenset()
    for flow in each:
        for origin, how in flow.origins.items():
            origins[origin] = origins.get(origin, frozenset()) | how
        constants |= flow.constants
    made = tuple(dict.fromkeys(one for flow in each for one in flow.made))
    return Flow(origins, constants, made=made)


def unknown(relations: Iterable[str]) -> Flow:
    """The flow of a value that comes from these relations in an unknown way."""
    return Flow({Origin(relation, UNKNOWN): SELECT for relation in relations})


@dataclass(frozen=True)
class Column:
    """A column that a query or a relation offers."""

    name: str
    flow: Flow


@dataclass(frozen=True)
class Table:
    """What an item of `from`, or a query, offers."""

    columns: tuple[Column, ...] = ()
    rest: Flow | None = None
    """Where columns that are not listed come from; None if all are listed."""
    relations: frozenset[str] = frozenset()
    """The base relations that decide its rows."""

    def find(self, name: str) -> Flow | None:
        """The flow of a listed column."""
        return next((each.flow for each in self.columns if each.name == name), None)

    def with_own_names(self) -> Table:
        """The same columns, the second of a name with a number, as DuckDB makes them."""
        seen: dict[str, int] = {}
        columns = []
        for each in self.columns:
            times = seen.get(each.name, 0)
            seen[each.name] = times + 1
            columns.append(replace(each, name=f"{each.name}_{times}") if times else each)
        return replace(self, columns=tuple(columns)) if len(seen) < len(columns) else self

    def renamed(self, names: Iterable[str]) -> Table:
        """The same columns under other names, as in `as t (a, b)`."""
        given = list(names)
        if not given:
            return self
        columns = [Column(new, old.flow) for new, old in zip(given, self.columns, strict=False)]
        if len(given) > len(self.columns) and self.rest is not None:
            missing = given[len(self.columns) :]
            columns += [Column(name, beyond(self.rest)) for name in missing]
        return replace(self, columns=(*columns, *self.columns[len(given) :]))


def beyond(rest: Flow) -> Flow:
    """The flow of a column of unknown name."""
    origins = {
        Origin(origin.relation, UNKNOWN) if origin.column == ANY else origin: how
        for origin, how in rest.origins.items()
    }
    return Flow(origins)
