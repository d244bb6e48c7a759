"""Roots: from the columns of a product, through private models, to what comes from outside.

Belongs here: the roots of columns. Not here: lineage across models (domain.py).
"""

from __future__ import annotations

from collections.abc import Mapping

from meshhouse.governance.lineage.domain import Models, domain_of
from meshhouse.governance.lineage.flow import ANY, ROWS, UNKNOWN, Flow
from meshhouse.governance.lineage.reads import Schemas

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
    table = domain_of(models, schemas, dialect).table(product.lower())
    roots: dict[str, frozenset[str] | None] = {}
    for column in table.columns:
        found = _names(column.flow)
        before = roots.get(column.name, frozenset())
        roots[column.name] = None if found is None or before is None else found | before
    if table.rest is not None:
        roots[ANY] = None
    return roots


def _names(flow: Flow) -> frozenset[str] | None:
    names = set()
    for relation, column in flow.origins:
        if column in {UNKNOWN, ANY}:
            return None
        names.add(relation if column == ROWS else f"{relation}.{column}")
    return frozenset(names)
