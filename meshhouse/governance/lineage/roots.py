"""Roots: from the columns of a product, through private models, to what comes from outside.

Belongs here: lineage across the models of one domain. Not here: lineage inside one query
(queries.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from meshhouse.governance.lineage.flow import (
    ANY,
    NOTHING,
    ROWS,
    SELECT,
    UNKNOWN,
    Flow,
    Origin,
    Table,
)
from meshhouse.governance.lineage.queries import CannotRead, by_name
from meshhouse.governance.lineage.reads import Frozen, Schemas, base, frozen, offered
from meshhouse.governance.lineage.uses import Uses

_EPHEMERAL = "__dbt__cte__"
_BUILD = "_build"

_LOST = Flow({Origin("", UNKNOWN): SELECT})

Models = Mapping[str, str | Sequence[str]]
Roots = Mapping[str, frozenset[str] | None]


def roots_of(models: Models, product: str, schemas: Schemas, dialect: str = "duckdb") -> Roots:
    """The roots of each column of a product.

    Args:
        models: all models of the domain: name -> compiled SQL, or several renderings of it, as an
            incremental model has. A name may be given as the `schema.table` that it builds.
        product: the name of the product among the models.
        schemas: `schema.table` -> its columns, of raw tables and of other domains' products.
        dialect: of sqlglot.

    Returns:
        Column -> `schema.table.column` of raw tables and of other domains' products, such as
        `sales_raw.transactions.amount`; `schema.table` where only the number of its rows reaches
        the column; empty for a constant. None where lineage is unknown; the column `*` stands for
        columns of unknown names.

    Raises:
        KeyError: the product is not among the models.
    """
    return dict(_roots(_frozen(models), product.lower(), frozen(schemas), dialect))


_Models = tuple[tuple[str, tuple[str, ...]], ...]


def _frozen(models: Models) -> _Models:
    return tuple(
        sorted(
            (name.lower(), (sql,) if isinstance(sql, str) else tuple(sql))
            for name, sql in models.items()
        )
    )


@lru_cache(maxsize=1024)
def _roots(
    models: _Models, product: str, schemas: Frozen, dialect: str
) -> tuple[tuple[str, frozenset[str] | None], ...]:
    table = _domain(models, schemas, dialect).table(product)
    roots: dict[str, frozenset[str] | None] = {}
    for column in table.columns:
        found = _names(column.flow)
        before = roots.get(column.name, frozenset())
        roots[column.name] = None if found is None or before is None else found | before
    if table.rest is not None:
        roots[ANY] = None
    return tuple(roots.items())


def _names(flow: Flow) -> frozenset[str] | None:
    names = set()
    for relation, column in flow.origins:
        if column in {UNKNOWN, ANY}:
            return None
        names.add(relation if column == ROWS else f"{relation}.{column}")
    return frozenset(names)


@lru_cache(maxsize=16)
def _domain(models: _Models, schemas: Frozen, dialect: str) -> _Domain:
    return _Domain(dict(models), dict(schemas), dialect)


@dataclass
class _Domain:
    """What the models of one domain offer; each is read once."""

    models: Mapping[str, Sequence[str]]
    schemas: Mapping[str, Sequence[str]]
    dialect: str
    _made: dict[str, Table] = field(default_factory=dict)
    _in_progress: dict[str, Table] = field(default_factory=dict)

    def table(self, model: str) -> Table:
        """What a model offers.

        Raises:
            KeyError: there is no such model.
        """
        if model not in self._made:
            self._made[model] = self._read(model)
        return self._made[model]

    def _read(self, model: str) -> Table:
        """All renderings of a model together.

        The second round is for renderings that read the model itself, as incremental ones do.
        """
        self._in_progress[model] = Table(rest=NOTHING)
        try:
            for _ in range(2):
                made = [self._query(sql) for sql in self.models[model]]
                table = made[0]
                for other in made[1:]:
                    table = by_name(table, other)
                self._in_progress[model] = table
            return table
        finally:
            del self._in_progress[model]

    def _query(self, sql: str) -> Table:
        try:
            return offered(sql, Uses(), self._relation, self.dialect)
        except CannotRead:
            return Table(rest=_LOST)

    def _relation(self, relation: str) -> Table:
        model = self._model(relation)
        if model is None:
            return base(relation, self.schemas.get(relation, ()))
        return self._in_progress.get(model) or self.table(model)

    def _model(self, relation: str) -> str | None:
        """The private model that a relation is."""
        if relation in self.models:
            return relation
        schema, _, name = relation.rpartition(".")
        name = name.removeprefix(_EPHEMERAL)
        is_private = schema.endswith(_BUILD) if schema else relation.startswith(_EPHEMERAL)
        return name if is_private and name in self.models else None
