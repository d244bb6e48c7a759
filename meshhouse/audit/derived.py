"""Checks that a product's declaration implies, so that its team does not write them.

Belongs here: which checks follow from constraints, grain and promises, and which the mesh adds to
every product. Not here: the complete contract (contract.py), or running it (verify.py).
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from meshhouse.engines.protocol import PREVIOUS_SUFFIX
from meshhouse.repository import Product
from meshhouse.repository.keys import GRAIN, KEEPS_ROWS_PERCENT
from meshhouse.repository.shapes import mapping, mappings
from meshhouse.repository.yaml import Located

ROWS_AGAINST_PREVIOUS = "rows_against_previous"
"""Qualifier of the check that compares the number of rows with the publication before."""
GRAIN_QUALIFIER = "grain"
"""Qualifier of the check of a grain of several columns; the team may write others of its kind."""


class Origin(Enum):
    """What a derived check follows from, in the words that people read."""

    CONSTRAINT = "constraint"
    GRAIN = "grain"
    PROMISE = "promise"
    PLATFORM = "platform default"


@dataclass(frozen=True)
class Derived:
    """One check that nobody wrote."""

    kind: str
    column: str | None
    body: Mapping[str, Any]
    """What Soda reads; with the names of columns and relations as they are declared."""
    origin: Origin
    line: int | None = None
    """The line in the product's YAML file that implies it; None for a default."""


def derived_checks(product: Product, written: Located) -> tuple[Derived, ...]:
    """The checks that the declaration of a product implies, and the defaults of the mesh.

    A written check of the same kind and columns takes the place of a derived one, with its name
    and, for the schema and the number of rows, its threshold. A written check that accepts what
    the derived one excludes stands beside it: see `_is_weaker`. The row count against the previous
    publication is always added.

    Args:
        product: as it is declared.
        written: the content of its checks file; empty if it has none.
    """
    there, weaker = set(), set()
    for kind, columns, body in _written(written):
        (weaker if _is_weaker(kind, body) else there).add((kind, columns))
    derived = (
        Derived("schema", None, {"name": "Columns and types of the contract"}, Origin.PLATFORM),
        *_row_count(product),
        *_missing(product),
        *_duplicate(product),
    )
    kept = (
        _apart(each) if (each.kind, _columns(each)) in weaker else each
        for each in derived
        if (each.kind, _columns(each)) not in there
    )
    return (*kept, _row_count_against_previous(product))


def _written(
    written: Located,
) -> Iterator[tuple[str, frozenset[str], Mapping[str, Any]]]:
    """Kind, columns and body of each check in a checks file."""
    for check in mappings(written.get("checks")):
        for kind, body in check.items():
            columns = mapping(body).get("columns") if kind == "duplicate" else None
            named = frozenset(map(str, columns if isinstance(columns, list) else ()))
            yield kind, named, mapping(body)
    for column in mappings(written.get("columns")):
        for check in mappings(column.get("checks")):
            for kind, body in check.items():
                yield kind, frozenset([str(column.get("name"))]), mapping(body)


_HARMLESS = {
    "row_count": {"name", "qualifier", "attributes", "threshold"},
    "duplicate": {"name", "qualifier", "attributes", "threshold", "columns"},
    # Values that count as missing make the check stricter.
    "missing": {
        "name", "qualifier", "attributes", "threshold", "missing_values", "missing_format",
    },
}  # fmt: skip
"""Kind -> keys that do not make a written check weaker than the derived one."""


def _is_weaker(kind: str, body: Mapping[str, Any]) -> bool:
    """Whether a written check lets pass what the derived one excludes, or only warns of it.

    A key that is not known to be harmless, such as `filter`, counts as weaker: the derived check
    is then evaluated as well, which costs little.
    """
    if kind not in _HARMLESS:
        return False
    threshold = mapping(body.get("threshold"))
    if set(body) - _HARMLESS[kind]:
        return True
    if kind == "row_count":
        return _accepts_no_rows(threshold)
    limits = {key: value for key, value in threshold.items() if key not in ("metric", "level")}
    return not _fails(threshold) or any(each != ("must_be", 0) for each in limits.items())


def _fails(threshold: Mapping[str, Any]) -> bool:
    """Whether a candidate fails by this threshold; otherwise it only warns."""
    return str(threshold.get("level") or "fail").lower() == "fail"


_COMPARED = {
    "be": operator.eq,
    "not_be": operator.ne,
    "be_greater_than": operator.gt,
    "be_greater_than_or_equal": operator.ge,
    "be_less_than": operator.lt,
    "be_less_than_or_equal": operator.le,
}


def _accepts_no_rows(threshold: Mapping[str, Any]) -> bool:
    """Whether a check of the number of rows lets 0 rows pass."""
    failing = [each for each in (threshold, mapping(threshold.get("additional"))) if _fails(each)]
    limits = [limit for each in failing for limit in each.items() if limit[0].startswith("must_")]
    if not limits:  # Soda's threshold is then more than 0
        return not _fails(threshold)
    return any(_accepts_zero(key.removeprefix("must_"), bound) for key, bound in limits)


def _accepts_zero(comparison: str, bound: Any) -> bool:
    """Whether 0 passes one comparison of a threshold; true if that cannot be decided."""
    if comparison in ("be_between", "be_not_between"):
        bounds = [_accepts_zero(f"be_{key}", each) for key, each in mapping(bound).items()]
        return all(bounds) if comparison == "be_between" else not bounds or any(bounds)
    if comparison not in _COMPARED or not isinstance(bound, int | float):
        return True
    return bool(_COMPARED[comparison](0, bound))


def _apart(derived: Derived) -> Derived:
    """A derived check with a qualifier, because a written one has its kind and columns."""
    return replace(derived, body={"qualifier": derived.origin.value, **derived.body})


def _columns(derived: Derived) -> frozenset[str]:
    columns = derived.body.get("columns") or filter(None, [derived.column])
    return frozenset(columns)


def _row_count(product: Product) -> Iterator[Derived]:
    if not product.may_be_empty:
        body = {"name": "Rows", "threshold": {"must_be_greater_than": 0}}
        yield Derived("row_count", None, body, Origin.PLATFORM)


def _missing(product: Product) -> Iterator[Derived]:
    for column in product.columns:
        if column.required:
            line = column.required_line or column.line
            yield Derived(
                "missing", column.name, {"name": "Rows without a value"}, Origin.CONSTRAINT, line
            )


def _duplicate(product: Product) -> Iterator[Derived]:
    line, name = product.meta_lines.get(GRAIN.name), "Rows that repeat the grain"
    if len(product.grain) == 1:
        yield Derived("duplicate", product.grain[0], {"name": name}, Origin.GRAIN, line)
    elif product.grain:
        body = {
            "name": f"{name} {', '.join(product.grain)}",
            "qualifier": GRAIN_QUALIFIER,
            "columns": list(product.grain),
        }
        yield Derived("duplicate", None, body, Origin.GRAIN, line)


def _row_count_against_previous(product: Product) -> Derived:
    least = KEEPS_ROWS_PERCENT.of(product.promises)
    published = f"{product.domain}{PREVIOUS_SUFFIX}.{product.name}"
    body = {
        "qualifier": ROWS_AGAINST_PREVIOUS,
        "name": "Rows, as percent of the previous publication",
        "query": (
            f"select coalesce(100.0 * (select count(*) from {product.relation}) / "
            f"nullif((select count(*) from {published}), 0), 100.0)"
        ),
        "threshold": {"must_be_greater_than_or_equal": float(least)},
    }
    line = product.meta_lines.get(KEEPS_ROWS_PERCENT.name)
    origin = Origin.PLATFORM if line is None else Origin.PROMISE
    return Derived("metric", None, body, origin, line)
