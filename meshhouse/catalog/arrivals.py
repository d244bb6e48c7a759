"""Where the values of a product's columns go: columns of other products, and mere filters.

Belongs here: looking forward from a product. Not here: the way back to topics (traces.py), or
markup (pages/columns.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meshhouse.catalog.documents import ProductFacts, Step

SAME, COMPUTED, COUNTED, NOT_KNOWN = "same value", "computed", "counted", "unknown"
FILTER = "filter only"

Traces = Mapping[str, Sequence[Step]]


@dataclass(frozen=True)
class Use:
    """Where the values of a column go."""

    relation: str
    how: str
    columns: tuple[str, ...] = ()
    """Empty if the reader only filters by it."""


def split(at: str) -> tuple[str, str]:
    """The relation of a step and its column, which is empty for rows."""
    schema, _, rest = at.partition(".")
    table, _, column = rest.partition(".")
    return f"{schema}.{table}" if table else schema, column


def uses_of(
    product: ProductFacts, readers: Sequence[tuple[str, Sequence[str]]], traces: Traces
) -> dict[str, list[Use]]:
    """Where the values of each column go, and which models only filter by it.

    Args:
        product: whose columns.
        readers: relation and columns of the products that read it.
        traces: of the columns of the readers.

    Returns:
        Column in lower case -> its uses; columns without any are left out.
    """
    arrived: dict[str, dict[tuple[str, str], list[str]]] = {}
    for reader, columns in readers:
        for column in columns:
            steps = traces.get(f"{reader}.{column}".lower(), ())
            for own, how in _arrivals(product.relation.lower(), steps).items():
                arrived.setdefault(own, {}).setdefault((reader, how), []).append(column.lower())
    found = {
        own: [Use(reader, how, tuple(names)) for (reader, how), names in uses.items()]
        for own, uses in arrived.items()
    }
    for facts in product.columns:
        for use in facts.readers:
            if not use.into and "select" not in use.how:
                found.setdefault(facts.name.lower(), []).append(Use(use.reader, FILTER))
    return {name: list(dict.fromkeys(uses)) for name, uses in found.items()}


def _arrivals(relation: str, steps: Sequence[Step]) -> dict[str, str]:
    """The columns of a relation that arrive at the last step, and how."""
    arrived: dict[str, dict[str, str]] = {}
    for step in steps:
        at, column = split(step.at)
        if at == relation:
            arrived[step.at] = {column: SAME} if column else {}
            continue
        here: dict[str, str] = {}
        for before in step.inputs:
            for own, how in arrived.get(before, {}).items():
                here[own] = together(how, step.how)
        for before in step.filters:
            for own in arrived.get(before, {}):
                here.setdefault(own, FILTER)
        is_other = step.kind == "product" and step is not steps[-1]
        # What comes through a third product is shown on the page of that one.
        arrived[step.at] = {} if is_other else here
    return arrived[steps[-1].at] if steps else {}


def together(one: str, other: str) -> str:
    """How a value is made by two steps, one after the other."""
    for each in (NOT_KNOWN, FILTER):
        if each in (one, other):
            return each
    if SAME in (one, other):
        return other if one == SAME else one
    return COMPUTED
