"""Stars: which columns `*`, `o.*` and `columns(...)` stand for.

Belongs here: the columns that a star stands for, by name. Not here: select lists (projections.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from sqlglot import exp

from meshhouse.governance.lineage.flow import Column, Flow, merged
from meshhouse.governance.lineage.scope import Scope, Source, name_of, parts_of


@dataclass(frozen=True)
class Expanded:
    """What a star stands for."""

    columns: tuple[Column, ...]
    rest: Flow | None = None
    """Where columns of unknown name come from."""


def sources_of(star: exp.Expression, scope: Scope) -> list[Source]:
    """The sources of `*` or `o.*`; empty if `o` is not a source."""
    if isinstance(star, exp.Column):
        name = parts_of(star)[-2]
        return [each for each in scope.sources if each.name == name]
    return scope.visible


def listed(sources: list[Source], scope: Scope) -> Expanded:
    """All columns of these sources; a column that joins share once."""
    columns: list[Column] = []
    shared: set[str] = set()
    for source in sources:
        for column in source.table.columns:
            name = column.name
            if name in scope.shared and len(sources) > 1:
                if name not in shared:
                    shared.add(name)
                    columns.append(Column(name, scope.shared[name]))
            else:
                columns.append(column)
    rests = [each.table.rest for each in sources if each.table.rest is not None]
    return Expanded(tuple(columns), merged(rests) if rests else None)


def expanded(columns: exp.Columns, scope: Scope) -> Expanded:
    """What DuckDB's `columns(...)` stands for."""
    chosen = columns.this
    scope.uses.visited.update(id(each) for each in chosen.walk())
    star = chosen if isinstance(chosen, exp.Star | exp.Column) else None
    every = listed(sources_of(star, scope) if star is not None else scope.visible, scope)
    if star is not None:
        inner = star.this if isinstance(star, exp.Column) else star
        left_out = {name_of(each) for each in inner.args.get("except_") or []}
        for each in every.columns:
            if each.name in left_out:
                scope.uses.add(each.flow, "star")
        kept = tuple(each for each in every.columns if each.name not in left_out)
        return Expanded(kept, every.rest)
    is_meant = _choice(chosen)
    if is_meant is None:
        relations = frozenset().union(*(each.table.relations for each in scope.visible))
        scope.uses.unresolved(f"`{columns.sql(scope.dialect)}` chooses unknown columns", relations)
        return every
    return Expanded(tuple(each for each in every.columns if is_meant(each.name)), every.rest)


def like(item: exp.Expression, scope: Scope) -> Expanded | None:
    """What `* like '%_id'` or `o.* like '%_id'` stands for; None if it is something else."""
    is_meant = _pattern(item, exp.Star | exp.Column)
    if is_meant is None:
        return None
    scope.uses.visited.update(id(each) for each in item.walk())
    every = listed(sources_of(item.this, scope), scope)
    return Expanded(tuple(each for each in every.columns if is_meant(each.name)), every.rest)


def _choice(chosen: exp.Expression) -> Callable[[str], bool] | None:
    if isinstance(chosen, exp.Literal):
        pattern = re.compile(chosen.name, re.IGNORECASE)
        return lambda name: pattern.search(name) is not None
    if isinstance(chosen, exp.Array):
        names = {name_of(each) for each in chosen.expressions}
        return lambda name: name in names
    if isinstance(chosen, exp.Lambda):
        return _pattern(chosen.this, exp.Identifier)
    return None


def _pattern(test: exp.Expression, subject: Any) -> Callable[[str], bool] | None:
    """A test of a name with a literal."""
    if not isinstance(test.this, subject) or not isinstance(
        test.args.get("expression"), exp.Literal
    ):
        return None
    text = test.expression.name
    if isinstance(test, exp.Like | exp.ILike):
        return is_like(text)
    if isinstance(test, exp.Glob):
        return lambda name: fnmatchcase(name, text.lower())
    if isinstance(test, exp.EQ):
        return lambda name: name == text.lower()
    if isinstance(test, exp.StartsWith):
        return lambda name: name.startswith(text.lower())
    return None


def is_like(pattern: str) -> Callable[[str], bool]:
    """A test of a name with a pattern of `like`, without regard to letter case."""
    glob = _glob(pattern.lower())
    return lambda name: fnmatchcase(name, glob)


def _glob(pattern: str) -> str:
    signs = {"%": "*", "_": "?", "[": "[[]", "*": "[*]", "?": "[?]"}
    return "".join(signs.get(each, each) for each in pattern)
