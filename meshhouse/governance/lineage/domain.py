"""Lineage across the models of one domain, up to what comes from outside.

Belongs here: what each model offers and uses, in columns of raw tables and of other domains'
products. Not here: lineage inside one query (queries.py), or what follows from it
(roots.py, through.py).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from meshhouse.governance.lineage.flow import (
    NOTHING,
    SELECT,
    UNKNOWN,
    Flow,
    Origin,
    Table,
    merged,
    unknown,
)
from meshhouse.governance.lineage.queries import CannotRead, by_name
from meshhouse.governance.lineage.reads import Frozen, base, frozen, is_named, offered
from meshhouse.governance.lineage.uses import Uses
from meshhouse.governance.readers import EVERY

_EPHEMERAL = "__dbt__cte__"
_BUILD = "_build"
_LOST = Flow({Origin("", UNKNOWN): SELECT})

Models = Mapping[str, str | Sequence[str]]
"""Name, or the `schema.table` that is built -> compiled SQL, or several renderings of it."""


_Texts = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Walk:
    """What one query offers and uses; its uses are `reach`ed."""

    table: Table
    uses: Uses


def domain_of(models: Models, schemas: Mapping[str, Sequence[str]], dialect: str) -> Domain:
    """The models of a domain; what was found of them is remembered.

    Args:
        models: the models whose SQL is known.
        schemas: `schema.table` -> its columns, of raw tables and of other domains' products.
        dialect: of sqlglot.
    """
    texts = sorted(
        (name.lower(), (sql,) if isinstance(sql, str) else tuple(sql))
        for name, sql in models.items()
    )
    return _domain(tuple(texts), frozen(schemas), dialect)


@lru_cache(maxsize=64)
def _domain(texts: _Texts, schemas: Frozen, dialect: str) -> Domain:
    return Domain(dict(texts), dict(schemas), dialect)


@dataclass
class Domain:
    """What the models of one domain offer; each is read once."""

    models: Mapping[str, Sequence[str]]
    schemas: Mapping[str, Sequence[str]]
    dialect: str
    _made: dict[str, Table] = field(default_factory=dict)
    _walks: dict[str, Walk] = field(default_factory=dict)
    _in_progress: dict[str, Table] = field(default_factory=dict)
    _looped: set[str] = field(default_factory=set)

    def table(self, model: str) -> Table:
        """What a model offers.

        Raises:
            KeyError: there is no such model.
        """
        if model not in self._made:
            self._made[model] = self._read(model)
        return self._made[model]

    def walk(self, sql: str) -> Walk:
        """What a query over these models offers and uses."""
        if sql not in self._walks:
            found = self._walk(sql)
            if self._in_progress:
                return found  # a model that reads itself is not known in full yet
            self._walks[sql] = found
        return self._walks[sql]

    def _read(self, model: str) -> Table:
        """All renderings of a model together.

        The second round is for renderings that read the model itself, as incremental ones do.
        """
        self._in_progress[model] = Table(rest=NOTHING)
        self._looped.discard(model)
        try:
            for _ in range(2):
                walks = {sql: self._walk(sql) for sql in self.models[model]}
                table, *others = [each.table for each in walks.values()]
                for other in others:
                    table = by_name(table, other)
                if model not in self._looped:
                    self._walks |= walks
                    break
                self._in_progress[model] = table
            return table
        finally:
            del self._in_progress[model]

    def _walk(self, sql: str) -> Walk:
        uses = Uses()

        def catalog(relation: str) -> Table:
            table = self._relation(relation)
            if relation in self.schemas:
                uses.touched.add(relation)
            return table

        try:
            table = offered(sql, uses, catalog, self.dialect)
        except CannotRead as error:
            uses = Uses(problems=[str(error)])
            table = Table(rest=self._lost(sql))
            uses.reach(EVERY, table.rest or NOTHING)
            return Walk(table, uses)
        for column in table.columns:
            uses.reach(column.name, column.flow)
        if table.rest is not None:
            uses.reach(EVERY, table.rest)
        return Walk(table, uses)

    def _lost(self, sql: str) -> Flow:
        """Everything that a query which cannot be read may read."""
        relations = {each for each in self.schemas if is_named(each, sql)}
        for model in self.models:
            if is_named(model, sql):
                relations |= self._relation_of(model)
        return merged([_LOST, unknown(sorted(relations))])

    def _relation_of(self, model: str) -> set[str]:
        """The outside relations that reach a model's rows or columns."""
        table = self._in_progress.get(model) or self.table(model)
        flows = [each.flow for each in table.columns] + ([table.rest] if table.rest else [])
        origins = {origin.relation for flow in flows for origin in flow.origins}
        return (origins | table.relations) - {""}

    def _relation(self, relation: str) -> Table:
        model = model_among(self.models, relation)
        if model is None:
            return base(relation, self.schemas.get(relation, ()))
        if model in self._in_progress:
            self._looped.add(model)
            return self._in_progress[model]
        return self.table(model)


def model_among(models: Collection[str], relation: str) -> str | None:
    """The model of a domain that a relation is; None if it comes from outside."""
    if relation in models:
        return relation
    schema, _, name = relation.rpartition(".")
    name = name.removeprefix(_EPHEMERAL)
    is_private = schema.endswith(_BUILD) if schema else relation.startswith(_EPHEMERAL)
    return name if is_private and name in models else None
