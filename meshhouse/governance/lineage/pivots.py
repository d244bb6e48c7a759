"""`pivot` and `unpivot`.

Belongs here: what a pivoted relation offers and uses. Not here: other items of `from` (sources.py).
"""

from __future__ import annotations

from sqlglot import exp

from meshhouse.governance.lineage.flow import Table, beyond, merged, unknown
from meshhouse.governance.lineage.scope import Scope


def pivoted(pivot: exp.Expression, table: Table, scope: Scope) -> Table:
    """What a relation offers after `pivot` or `unpivot`; for now of unknown lineage."""
    flow = merged([unknown(table.relations), *([beyond(table.rest)] if table.rest else [])])
    scope.uses.select(flow)
    return Table((), flow, table.relations)
