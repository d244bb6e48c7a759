"""Columns whose values may leave the mesh, or be shown to a person.

Belongs here: which columns were never declared personal. Not here: the classes
(repository/classes.py), or who may see what (runs/two_states.py, sinks/, lint/sinks.py).
"""

from __future__ import annotations

from collections.abc import Iterable

from meshhouse.governance.contract import Contract
from meshhouse.repository import Product
from meshhouse.repository.classes import is_personal


def clear_columns(product: Product, contracts: Iterable[Contract | None]) -> frozenset[str]:
    """Columns, in lower case, whose values may be shown: those that are never declared personal."""
    declared = [{"name": each.name, "classification": each.classification}
                for each in product.columns]  # fmt: skip
    recorded = [each for contract in contracts if contract for each in contract.columns.values()]
    columns = [*declared, *recorded]
    personal = {str(each["name"]).lower() for each in columns if is_personal(each)}
    return frozenset(str(each["name"]).lower() for each in columns) - personal
